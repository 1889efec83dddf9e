/**
 * What looks into a model while it answers: probes, spans of a prompt, flows between them.
 *
 * <p>Whatever looks into a model is a {@link stormsight.probe.Probe}: it rewrites the programs before they are prepared and reads what it added
 * after each run. An ordinary session holds none, so it computes what it always did. {@link stormsight.probe.AttentionMaps} is one; a new one is
 * a class of its own. This one keeps the decoder's hidden states of a prompt, [layers, tokens, hiddenSize]:
 *
 * {@snippet :
 * final class States implements Probe {
 *     Probes.Probed states;
 *     float[] values;
 *
 *     @Override
 *     public Program add(Pass pass, Program program, PaliGemma model) {
 *         if (pass != Pass.PREFILL) {
 *             return program;
 *         }
 *         states = Probes.copy(program, model.decoderLayers().segment(), model.decoderLayers().result(), "states");
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
 * try (ModelDirectory directory = ModelDirectory.open(path, Optional.empty());
 *         Backend backend = Backends.open("cpu", BackendOptions.DEFAULT)) {
 *     PaliGemmaPrompt prompt = directory.prompt("caption en");
 *     try (ModelRun run = ModelRun.open(directory, backend, new PaliGemma.Limits(prompt.length(), 20), PaliGemma.Options.DEFAULT,
 *             RunListener.NONE, List.of(states))) {
 *         run.encode(new ImageDecoder().decode(image));
 *         List<Integer> answer = run.answer(prompt, 20);
 *     }
 * }
 * }
 *
 * <p>{@link stormsight.probe.Probes} has the rewrites: copies of any tensor, attention weights reduced on the device, blocked edges, reading
 * states through the model's head. The stages of a model that they can be put at are methods of {@link stormsight.model.PaliGemma}.
 */
package stormsight.probe;
