"""What the dual encoder is told about a scene: captions, labels, and the tokenizer in SigLIP's style that reads them.

A caption names every object from left to right and is true of that scene alone. A label says that something is there:
it is true of every scene that has it, whatever else the scene shows.
"""
import string

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from scenes import COLORS, SHAPES, article, pick

TEXT_TOKENS = 64   # transformers' zero-shot pipeline pads SigLIP's texts to 64, whatever the tokenizer says
PUNCTUATION = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]\^_`{|}~]"""
EOS, UNK = 1, 2    # SigLIP pads with </s>
NAMES = tuple(f"{color} {shape}" for color in COLORS for shape in SHAPES)
CONCEPTS = NAMES + tuple(COLORS) + SHAPES   # what a label may ask for: object, colour, shape
# {} is what is asked for, {a} the same with its article.
TEMPLATES = ("{}", "{}", "this is a photo of {}", "this is a photo of {a}", "a photo of {}", "a photo of {a}", "a photo of the {}",
             "a picture of {a}", "an image of {a}", "a picture with {a}", "an image with {a}", "a scene with {a}",
             "there is {a}", "there is {a} in the picture", "the picture shows {a}", "a drawing of {a}")
NOUNS = ("", " object", " shape", " thing")   # after a colour
OTHERS = ("cat dog bird horse car train house tree person child boat flower table chair apple pizza ball clock phone book street "
          "river cloud sun moon hexagon oval heart arrow line cube spiral pink brown gray cyan gold silver").split()
WORDS = sorted({w for t in TEMPLATES + NOUNS for w in t.replace("{a}", "").replace("{}", "").split()} | {"a", "an", "and"}
               | set(COLORS) | set(SHAPES))


def build_tokenizer():
    """Unigram: one piece a known word, letters and digits for the rest; the text is cleaned as SigLIP cleans it."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -8.0)]
    pieces += [("▁" + w, -1.0) for w in WORDS]
    pieces += [(c, -8.0) for c in string.ascii_lowercase + string.digits]
    tokenizer = Tokenizer(models.Unigram(pieces, UNK, False))
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.Lowercase(), normalizers.Replace(Regex(PUNCTUATION), ""), normalizers.Replace(Regex(r"\s+"), " "),
        normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", EOS)])
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in ("<pad>", "</s>", "<unk>")])
    return tokenizer


def label(rng, concept):
    """A text that asks for a concept; colours with a noun or without."""
    what = concept + pick(rng, NOUNS) if concept in COLORS else concept
    return pick(rng, TEMPLATES).replace("{a}", article(what)).replace("{}", what)


def pair_label(rng, first, second):
    return pick(rng, TEMPLATES[2:]).replace("{a}", "{}").replace("{}", f"{article(first)} and {article(second)}")
