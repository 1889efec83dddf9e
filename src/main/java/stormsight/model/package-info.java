/**
 * The doors that every model stands behind, and what families share. All other code asks a {@link
 * stormsight.model.VisionLanguageModel}, a {@link stormsight.model.DualEncoder} or a {@link
 * stormsight.model.Classifier}, and never a family.
 *
 * <p>A family is a folder of this package: what one {@code model_type} of config.json means. To add one, write the
 * folder and one line in {@code family/Families}; let the import test know the new package; put a golden folder beside
 * the others. Nothing else changes. A folder holds:
 *
 * <ul>
 * <li><b>The family</b>: a {@link stormsight.model.Family}, its {@code model_type}, how its files are read and which
 * sizes {@code synthesize} imitates.
 * <li><b>The configuration</b>: config.json as data of the shared blocks, with the defaults of transformers for what it
 * leaves out. Refuse with
 *     {@link stormsight.checkpoint.ConfigFile#invalid} what the model would compute wrongly.
 * <li><b>The model</b>: implements {@code VisionLanguageModel}. Its {@code build} writes three programs of operations
 *     ({@link stormsight.program.Op}), mostly through {@code nn}: {@code VisionTower} for encode, {@code Decoder} for
 *     prefill and decode.
 * <li><b>The processor</b>: implements {@link stormsight.model.Processor}: what becomes of an image ({@link
 * stormsight.model.Views}) and of a text
 *     ({@link stormsight.model.Prompt}).
 * </ul>
 *
 * <p><b>Weights</b> are asked for where an operation uses them, by the checkpoint's names: {@link
 * stormsight.model.Weights}. The same {@code build} runs without values to plan, to estimate memory, to check a
 * checkpoint and to synthesize one, so it must ask for the same weights whatever the limits. Stacks of identical layers
 * have {@code {i}} in their names. What is not stored as it is used is {@link stormsight.model.Weights#computed
 * computed}.
 *
 * <p><b>Features.</b> Encode runs once a view and writes its rows into one buffer, those of view v at row {@code v *
 * rowsPerView}: end the program with a {@link stormsight.program.Op.Store} into a tensor of kind CACHE of {@code [views
 * * rowsPerView, hiddenSize]}. A prompt names rows by negative ids, in any order, so a class token's row is simply not
 * named, and unpadding is an order of rows.
 *
 * <p><b>What sees what.</b> {@code prefixLength} is the prompt's length where its tokens all see each other, 0 where
 * each sees what came before.
 *
 * <p>Here is a made-up family: a ViT tower whose patches are averaged to one row, and a Gemma decoder.
 *
 * {@snippet :
 * public final class Averaged implements VisionLanguageModel {
 *     public static final Family FAMILY = new Family("averaged", "Averaged ViT and Gemma", Averaged::open, List.of());
 *
 *     // Read from vision_config: width, image and patch size, layers, one TransformerLayer, names.
 *     private final VisionTower.Config vision;
 *     // Read from text_config: groups of layers that differ in their windows at most, norms, rotation, names.
 *     private final Decoder.Config text;
 *     // Views.single(..) with one row: new int[] {0}; "Describe: " before the text; causal.
 *     private final AveragedProcessor processor;
 *
 *     private static Averaged open(
 *             Path directory, ConfigFile config, Optional<Resampling> resize, Strictness strictness) {
 *         ...
 *     }
 *
 *     @Override
 *     public Passes build(Weights weights, Limits limits, Options options) {
 *         VisionTower tower = new VisionTower(vision, weights.in("vit."));
 *         Tensor mean = Tensor.activation("vision.mean", 1, vision.width());
 *         Tensor projected = Tensor.activation("vision.projected", 1, text.width());
 *         Tensor features = new Tensor(
 *                 "features", DType.F32, Shape.of(limits.views(), text.width()), Tensor.Kind.CACHE, 1);
 *         List<Segment> segments = new ArrayList<>(tower.segments());
 *         segments.add(Segment.once(Stage.PROJECTOR, List.of(
 *                 new Op.MeanRows(tower.output(), mean),
 *                 Linear.op(weights, "connector", true, mean, Op.Activation.NONE, projected),
 *                 new Op.Store(projected, features))));
 *         List<Stage> stages = new ArrayList<>(tower.stages());
 *         stages.add(new Stage(Stage.PROJECTOR, "projector", Stage.PROJECTOR, projected));
 *         return new Decoder(text, weights, limits, options)
 *                 .passes(new Pass(new Program("encode", segments), tower.patches(), features), stages);
 *     }
 *     // describe(), parts(), processor() and settled() say what the other doors ask.
 * }
 * }
 *
 * <p>{@code paligemma} is the shortest real one. {@code verify --golden} compares every stage with what transformers
 * computed: a stage's name is the name of its tensor in {@code expected.safetensors}.
 */
package stormsight.model;
