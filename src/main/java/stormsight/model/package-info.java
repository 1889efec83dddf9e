/**
 * The doors that every model stands behind, and what families share. All other code asks a {@link
 * stormsight.model.VisionLanguageModel}, a {@link stormsight.model.DualEncoder} or a {@link
 * stormsight.model.Classifier}, and never a family.
 *
 * <p>A family is a folder of this package: what one {@code model_type} of config.json means. To add one, write the
 * folder, one line in {@code family/Families}, and a test. Nothing else changes. A folder holds:
 *
 * <ul>
 * <li><b>The family</b>: a {@link stormsight.model.Family}, its {@code model_type}, how its files are read and which
 * sizes {@code synthesize} imitates.
 * <li><b>The configuration</b>: config.json as data of the shared blocks, with the defaults of transformers for what it
 * leaves out. {@code nn} reads the parts that several families have: {@code VisionConfig} the towers of SigLIP, CLIP,
 * ViT and BLIP-2, {@code GemmaConfig}, {@code LlamaConfig} and {@code OptConfig} the decoders. Refuse with {@link
 * stormsight.checkpoint.ConfigFile#invalid} what the model would compute wrongly.
 * <li><b>The model</b>: implements {@code VisionLanguageModel}. Its {@code build} writes three programs of operations
 * ({@link stormsight.program.Op}), mostly through {@code nn}: {@code VisionTower} for encode, {@code Decoder} for
 * prefill and decode.
 * <li><b>The processor</b>: implements {@link stormsight.model.Processor}: what becomes of an image ({@link
 * stormsight.model.Views}) and of a text ({@link stormsight.model.Prompt}, which {@code nn/PromptWriter} makes).
 * <li><b>Presets</b>, if {@code synthesize} is to make checkpoints, a tiny one at least: the files of a checkpoint but
 * for its weights, which follow from {@code build}. {@link stormsight.tokenizer.SyntheticTokenizer} makes a
 * tokenizer.json.
 * </ul>
 *
 * <p><b>Weights</b> are asked for where an operation uses them, by the checkpoint's names: {@link
 * stormsight.model.Weights}. The same {@code build} runs without values to plan, to estimate memory, to check a
 * checkpoint and to synthesize one, so it must ask for the same weights whatever the limits. Stacks of identical layers
 * have {@code {i}} in their names. What is not stored as it is used is {@link stormsight.model.Weights#computed
 * computed}; rows that a {@link stormsight.program.Op.Gather} takes are {@link stormsight.model.Weights#indices
 * indices}.
 *
 * <p><b>Names</b> are those of the files, with one exception. Versions of transformers store a SigLIP or CLIP tower and
 * a decoder under different names, which are brought to one form before a model sees them, in files of every family:
 * the tower's parts are at {@code vision_tower.vision_model.}, a decoder's at {@code language_model.model.}, and its
 * head is {@code language_model.lm_head.weight}. {@code inspect} of a synthesized checkpoint tells of names that do not
 * fit.
 *
 * <p><b>Settled.</b> config.json does not always say whether the embedding table is the head: {@code settled} asks
 * {@code Decoder.tied}. Where it is, {@code build} {@link stormsight.model.Weights#ignore ignores} a stored head.
 *
 * <p><b>Features.</b> Encode runs once a view and writes its rows into one buffer, those of view v at row {@code v *
 * rowsPerView}: end the program with a {@link stormsight.program.Op.Store} into a tensor of kind CACHE of {@code [views
 * * rowsPerView, hiddenSize]}. A prompt names rows by negative ids, in any order, so a class token's row is simply not
 * named, and unpadding is an order of rows. {@link stormsight.model.Views.Layout} says what a row shows: a patch, or a
 * square of several where the model averages them. Pictures and {@code --box} depend on it, so it must be right.
 *
 * <p><b>Stages.</b> Probes find their way by the names in {@link stormsight.model.Stage}: towers and decoders of {@code
 * nn} have them, {@code PROJECTOR} is the family's to add. A family adds others under names of its own, {@code
 * vision.NAME}; {@code verify} compares all of them, in order.
 *
 * <p><b>What sees what.</b> {@code prefixLength} is the prompt's length where its tokens all see each other, 0 where
 * each sees what came before; {@link stormsight.model.Description#causal} says the same of the family.
 *
 * <p>Here is a made-up family: a ViT tower whose patches are averaged in squares of 2 x 2, and a Gemma decoder.
 *
 * {@snippet :
 * public final class Averaged implements VisionLanguageModel {
 *     public static final Family FAMILY = new Family("averaged", "Averaged ViT and Gemma", Averaged::open, List.of());
 *
 *     // VisionConfig.vit(config, "vision_config.")
 *     private final VisionTower.Config vision;
 *     // GemmaConfig.read(config, "text_config.").decoder(Options.DEFAULT)
 *     private final Decoder.Config text;
 *     // Views.single(.., Views.Layout.ofSquares(patchSize, vision.firstPatch(), 2, squares), ..)
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
 *         int width = vision.width();
 *         int squares = vision.patches() / 4;
 *         Tensor around = Tensor.activation("vision.around", squares, 4 * width);
 *         Tensor mean = Tensor.activation("vision.mean", squares, width);
 *         Tensor projected = Tensor.activation("vision.projected", squares, text.width());
 *         Tensor features = new Tensor("features", DType.F32, Shape.of(limits.views() * squares, text.width()),
 *                 Tensor.Kind.CACHE, 1);
 *         List<Segment> segments = new ArrayList<>(tower.segments());
 *         // A row of four patches side by side, and a product that adds a quarter of each.
 *         segments.add(Segment.once("vision.means", List.of(
 *                 new Op.Gather(tower.output(), weights.indices("vision.squares", patchesOfSquares()), around),
 *                 new Op.MatMul(around, weights.computed("vision.averaging", Shape.of(width, 4 * width), List.of(),
 *                         _ -> quarters(width)), Optional.empty(), Op.Activation.NONE, Optional.empty(), mean))));
 *         segments.add(Segment.once(Stage.PROJECTOR, List.of(
 *                 Linear.op(weights, "connector", true, mean, Op.Activation.NONE, projected),
 *                 new Op.Store(projected, features))));
 *         List<Stage> stages = new ArrayList<>(tower.stages());
 *         stages.add(new Stage("vision.means", "means of squares", "vision.means", mean));
 *         stages.add(new Stage(Stage.PROJECTOR, "projector", Stage.PROJECTOR, projected));
 *         return new Decoder(text, weights, limits, options)
 *                 .passes(new Pass(new Program("encode", segments), tower.patches(), features), stages);
 *     }
 *     // describe(), parts(), processor() and settled() say what the other doors ask.
 * }
 * }
 *
 * <p>{@code paligemma} is the shortest real one. Try a new one with {@code synthesize}, {@code inspect}, {@code
 * generate} and {@code verify --model}, which compares the processor's two paths or a device. {@code verify --golden}
 * compares every stage with what transformers computed: a stage's name is the name of its tensor in {@code
 * expected.safetensors}.
 */
package stormsight.model;
