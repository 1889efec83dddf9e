package stormsight.tornado;

import uk.ac.manchester.tornado.api.common.TaskPackage;

/** Makes a task of that name: {@code name -> createPackage(name, MatMul::f32, context, step, ...)}. */
@FunctionalInterface
public interface TaskFactory {
    TaskPackage create(String name);
}
