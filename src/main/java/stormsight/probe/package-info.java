/**
 * What looks into a model while it answers: probes, spans of a prompt, flows between them.
 *
 * <p>Whatever looks into a model is a {@link stormsight.probe.Probe}: it rewrites the programs before they are prepared
 * and reads what it added after each run. A generator without any holds none, so it computes what it always did. {@link
 * stormsight.probe.AttentionMaps} is one; a new one is a class of its own. This one keeps the decoder's hidden states
 * of a prompt, [layers, tokens, hiddenSize]:
 *
 * {@snippet :
 * final class States implements Probe {
 *     Probes.Probed states;
 *     float[] values;
 *
 *     @Override
 *     public Program add(Pass pass, Program program, Passes passes) {
 *         if (pass != Pass.PREFILL) {
 *             return program;
 *         }
 *         Stage layers = passes.stage(Stage.DECODER_LAYERS);
 *         states = Probes.copy(program, layers.segment(), layers.result(), "states");
 *         return states.program();
 *     }
 *
 *     @Override
 *     public void read(Pass pass, Outputs outputs) {
 *         if (pass == Pass.PREFILL) {
 *             values = outputs.read(states.output());
 *         }
 *     }
 * }
 *
 * States states = new States();
 * try (ModelDirectory directory = Families.open(path, Optional.empty());
 *         Backend backend = Backends.open("cpu", BackendOptions.DEFAULT)) {
 *     List<Views> images = List.of(directory.processor().views(new ImageDecoder().decode(image)));
 *     Prompt prompt = directory.prompt("caption en", images);
 *     try (Generator generator = Generator.open(directory, backend, new Limits(prompt.length(), 20,
 *     images.getFirst().count()), Options.DEFAULT, RunListener.NONE, List.of(states))) { generator.encodeViews(images);
 *     List<Integer> answer = generator.greedy(prompt, 20);
 *     }
 * }
 * }
 *
 * <p>{@link stormsight.probe.Probes} has the rewrites: copies of any tensor, attention weights reduced on the device,
 * blocked edges, reading states through the model's head. The stages of a model that they can be put at are in {@link
 * stormsight.model.Passes}.
 */
package stormsight.probe;
