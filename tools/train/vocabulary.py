"""The tokenizer: Gemma's style (BPE with byte fallback, spaces as U+2581), a small vocabulary, PaliGemma's tokens last."""
import json
import string

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors, trainers
from tokenizers import pre_tokenizers

from scenes import COLORS, PLURALS, SHAPES

PAD, EOS, BOS, UNK = range(4)
LOCATIONS, SEGMENTS = 1024, 128
# Words beside those of the questions give other prompts a short tokenization; no task trains them.
OTHER = "big small large color size segment describe picture image scene this which nothing where object".split()


def words():
    first = ["a", "an", "yes", "no", "left", "right", "above", "below", "caption", "answer", "detect",
             *"01234", *COLORS, *SHAPES]
    later = ["a", "an", "and", "en", ";", "what", "color", "shape", "is", "the", "how", "many", "are", "there",
             "object", "objects", "left", "or", "right", "of", "above", "below", "yes", "no", *"01234",
             *COLORS, *SHAPES, *PLURALS.values(), *OTHER]
    return first + ["▁" + w for w in later]


def build():
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    byte_tokens = [f"<0x{b:02X}>" for b in range(256)]
    # A learned merge never leaves its word, so each word below becomes one token wherever it stands.
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    trainer = trainers.BpeTrainer(vocab_size=100000, min_frequency=1, show_progress=False,
                                  initial_alphabet=sorted(set(string.printable[:95]) - {" "}) + ["▁"])
    learner.train_from_iterator(sorted(set(words())), trainer)
    learned = json.loads(learner.to_str())["model"]
    vocabulary = {}
    for token in special + byte_tokens + ["\n"] + sorted(learned["vocab"], key=learned["vocab"].get):
        vocabulary.setdefault(token, len(vocabulary))
    extra = [f"<loc{i:04d}>" for i in range(LOCATIONS)] + [f"<seg{i:03d}>" for i in range(SEGMENTS)]
    for token in extra + ["<image>"]:
        vocabulary[token] = len(vocabulary)
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in learned["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True,
                                     byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", BOS)])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in special + ["<image>"]])
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=False) for t in extra])
    return tokenizer


class Vocabulary:
    def __init__(self):
        self.tokenizer = build()
        self.size = self.tokenizer.get_vocab_size()
        self.first_location = self.tokenizer.token_to_id("<loc0000>")
        self.image = self.tokenizer.token_to_id("<image>")
        assert self.image == self.size - 1
        for word in words():
            assert len(self.encode(word)) == 1, word

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def prompt(self, text):
        return [BOS] + self.encode(text + "\n")

    def answer(self, text):
        return self.encode(text) + [EOS]

    def decode(self, ids):
        return self.tokenizer.decode([i for i in ids if i > UNK], skip_special_tokens=False)
