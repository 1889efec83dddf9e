"""Exports a training state as a Hugging Face SigLIP folder and measures it with transformers.

    python evaluate_dual.py export  --state DIR --model MODEL
    python evaluate_dual.py check   --state DIR --model MODEL      the training forward against transformers
    python evaluate_dual.py measure --model MODEL --out FILE       held-out scenes
    python evaluate_dual.py sample  --model MODEL --out FOLDER     one object of every name, in a folder for each shape
    python evaluate_dual.py golden  --model MODEL --out FOLDER     inputs and every number of a few images and texts
"""
import argparse
import json
import re
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoProcessor, SiglipModel, pipeline

from captions import CONCEPTS, EOS, NAMES, TEXT_TOKENS
from dual_encoder import DualEncoder
from scenes import COLORS, SHAPES, caption, make_scene, scene_rng
from scene_cache import states_of
from train_dual import HERE, Texts, positions, shows, swapped

CONFIG = json.loads((HERE / "config_dual.json").read_text())
HELD_OUT, RETRIEVED, SINGLE = 320, 256, 256
TEMPLATE = "This is a photo of {}."   # the default of transformers' zero-shot pipeline


def write_json(path, value, indent=2):
    """Lists of numbers on one line."""
    lines = json.dumps(value, indent=indent, ensure_ascii=False)
    lines = re.sub(r"\[\s+([-\d.,\s]+?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]", lines)
    Path(path).write_text(lines + "\n")


# ---------------------------------------------------------------- export

def load_state(state):
    model = DualEncoder(Texts().size, CONFIG["model"])
    model.load_state_dict(torch.load(Path(state) / "state.pt")["model"])
    return model.eval()


def export(state, folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model, texts = load_state(state), Texts()
    c = model.c
    save_file(model.exported(), folder / "model.safetensors", metadata={"format": "pt"})
    common = {"hidden_act": "gelu_pytorch_tanh", "hidden_size": c["width"], "layer_norm_eps": 1e-6,
              "num_attention_heads": c["heads"], "torch_dtype": "bfloat16"}
    write_json(folder / "config.json", {
        "architectures": ["SiglipModel"], "model_type": "siglip", "torch_dtype": "bfloat16",
        "text_config": {
            "model_type": "siglip_text_model", **common, "bos_token_id": EOS, "eos_token_id": EOS, "pad_token_id": EOS,
            "intermediate_size": c["text_mlp"], "max_position_embeddings": TEXT_TOKENS,
            "num_hidden_layers": c["text_layers"], "projection_size": c["width"], "vocab_size": texts.size},
        "vision_config": {
            "model_type": "siglip_vision_model", **common, "image_size": c["image_size"], "intermediate_size": c["vision_mlp"],
            "num_channels": 3, "num_hidden_layers": c["vision_layers"], "patch_size": c["patch"]}})
    write_json(folder / "preprocessor_config.json", {
        "do_convert_rgb": None, "do_normalize": True, "do_rescale": True, "do_resize": True,
        "image_mean": [.5] * 3, "image_processor_type": "SiglipImageProcessor", "image_std": [.5] * 3,
        "processor_class": "SiglipProcessor", "resample": 3, "rescale_factor": 0.00392156862745098,
        "size": {"height": c["image_size"], "width": c["image_size"]}})
    write_json(folder / "special_tokens_map.json", {"eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"})
    write_json(folder / "tokenizer_config.json", {
        "clean_up_tokenization_spaces": False, "do_lower_case": True, "eos_token": "</s>", "model_input_names": ["input_ids"],
        "model_max_length": TEXT_TOKENS, "pad_token": "</s>", "padding_side": "right", "processor_class": "SiglipProcessor",
        "tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>"})
    texts.tokenizer.no_padding()
    texts.tokenizer.no_truncation()
    (folder / "tokenizer.json").write_text(texts.tokenizer.to_str(pretty=False) + "\n")


# ---------------------------------------------------------------- embeddings by transformers

class Transformers:
    """SiglipModel in float32 from the stored bfloat16 weights, its own processor, texts padded to 64."""

    def __init__(self, folder):
        self.model = SiglipModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        self.processor = AutoProcessor.from_pretrained(folder)

    def inputs(self, images, texts):
        return self.processor(images=images, text=texts, padding="max_length", return_tensors="pt")

    @torch.no_grad()
    def images(self, arrays, batch=64):
        """[n, width] of unit length."""
        parts = []
        for a in range(0, len(arrays), batch):
            pixels = self.processor(images=[Image.fromarray(x) for x in arrays[a:a + batch]], return_tensors="pt")
            parts.append(self.model.vision_model(**pixels).pooler_output)
        return F.normalize(torch.cat(parts), dim=-1)

    @torch.no_grad()
    def texts(self, texts):
        ids = self.processor(text=texts, padding="max_length", return_tensors="pt")["input_ids"]
        assert ids.shape[1] == TEXT_TOKENS
        return F.normalize(self.model.text_model(input_ids=ids).pooler_output, dim=-1)

    def logits(self, images, texts):
        return (self.model.logit_scale.exp() * images @ texts.T + self.model.logit_bias).detach()


# ---------------------------------------------------------------- figures

def names(scene):
    return [t.name for t in scene.things]


def share(right):
    return round(float(np.mean(np.asarray(right))), 4)


def ranks(similarity):
    """At which place, from 0, the right column of every row stands; a tie counts against it."""
    right = similarity.diagonal()[:, None]
    return ((similarity >= right).sum(1) - 1).numpy()


def retrieval(images, texts):
    """Of embeddings, each image with its text."""
    similarity = images @ texts.T
    result = {}
    for key, s in (("imageToText", similarity), ("textToImage", similarity.T)):
        place = ranks(s)
        result[key] = {"recallAt1": share(place < 1), "recallAt5": share(place < 5), "right": int((place < 1).sum()), "of": len(place)}
    return result


def zero_shot(engine, single):
    """Names for scenes of one object: the highest of the labels' logits."""
    images = engine.images([s.image for s in single])
    result = {}
    for key, words, wanted in (("shape", SHAPES, [s.things[0].shape for s in single]),
                               ("color", tuple(COLORS), [s.things[0].color for s in single]),
                               ("name", NAMES, [s.things[0].name for s in single])):
        for kind, template in (("", TEMPLATE), ("Bare", "{}")):
            best = (images @ engine.texts([template.format(w) for w in words]).T).argmax(1)
            right = [words[b] == w for b, w in zip(best, wanted)]
            result[key + kind] = {"share": share(right), "right": sum(right), "of": len(right)}
    return result


def present(engine, held, images):
    """Does a scene of one to four objects show a red star, red, a star? Yes where the probability is one half or more."""
    truth = np.stack([shows(names(s)) for s in held])
    logits = engine.logits(images, engine.texts([TEMPLATE.format(c) for c in CONCEPTS])).numpy()
    said = logits >= 0
    result = {}
    for key, columns in (("names", slice(0, len(NAMES))), ("colors", slice(len(NAMES), len(NAMES) + len(COLORS))),
                         ("shapes", slice(len(NAMES) + len(COLORS), None))):
        t, s = truth[:, columns], said[:, columns]
        result[key] = {"right": share(t == s), "found": share(s[t]), "foundRightly": share(t[s]), "allOfASceneRight": share((t == s).all(1))}
    return result


def preferred(engine, held, images, change):
    """How often the caption is nearer to its scene than the changed caption."""
    chosen = [(s, image, other) for s, image in zip(held, images) if (other := change(names(s)))]
    images = torch.stack([image for _, image, _ in chosen])
    right = engine.texts([caption(names(s)) for s, _, _ in chosen])
    wrong = engine.texts([caption(other) for _, _, other in chosen])
    better = ((images * right).sum(1) > (images * wrong).sum(1)).tolist()
    return {"share": share(better), "right": sum(better), "of": len(better)}


def scene_set(stream, count, objects=None, first=0):
    return [make_scene(scene_rng(CONFIG["seed"], stream, first + i), count=objects) for i in range(count)]


def distinct(held):
    """Where the first scene of each caption stands."""
    first = {}
    for i, scene in enumerate(held):
        first.setdefault(caption(names(scene)), i)
    return list(first.values())


def measure(folder, out):
    engine = Transformers(folder)
    held = scene_set(2, HELD_OUT)
    images = engine.images([s.image for s in held])
    chosen = distinct(held)[:RETRIEVED]
    assert len(chosen) == RETRIEVED
    rng = np.random.default_rng(0)
    result = {"retrieval": retrieval(images[chosen], engine.texts([caption(names(held[i])) for i in chosen])),
              "zeroShot": zero_shot(engine, scene_set(5, SINGLE, objects=1)),
              "present": present(engine, held, images),
              "coloursExchanged": preferred(engine, held, images, lambda n: swapped(rng, n)),
              "orderReversed": preferred(engine, held, images, lambda n: n[::-1] if n[::-1] != n else None)}
    write_json(out, result)
    print(json.dumps(result, indent=1), flush=True)


# ---------------------------------------------------------------- samples and goldens

def save_png(path, image):
    """Those that compress badly keep 64 colours. Returns the image as others will decode it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(image)
    picture.save(path, optimize=True)
    if path.stat().st_size > 30000:
        picture.quantize(64, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)
    return np.asarray(Image.open(path).convert("RGB"))


def sample(model, out):
    """One held-out scene of every name, <shape>/<color>.png, and what transformers says of them and of ../shapes/heldout."""
    engine, folder = Transformers(model), Path(out)
    wanted, files, index = set(NAMES), {}, 0
    while wanted:
        scene = scene_set(5, 1, objects=1, first=100000 + index)[0]
        index += 1
        thing = scene.things[0]
        if thing.name in wanted:
            wanted.remove(thing.name)
            files[thing.shape, thing.color] = save_png(folder / thing.shape / f"{thing.color}.png", scene.image)
    keys = sorted(files)
    images = engine.images([files[k] for k in keys])
    figures = {}
    for kind, words, right in (("shape", SHAPES, [k[0] for k in keys]), ("color", tuple(COLORS), [k[1] for k in keys])):
        best = [words[i] for i in (images @ engine.texts([TEMPLATE.format(w) for w in words]).T).argmax(1)]
        figures[kind] = {"right": sum(a == b for a, b in zip(best, right)), "of": len(keys),
                         "wrong": {f"{s}/{c}.png": said for (s, c), said, b in zip(keys, best, right) if said != b}}
    shapes = HERE.parent.parent / "models" / "shapes" / "heldout"
    pairs = {}
    for entry in json.loads((shapes / "answers.json").read_text())["scenes"]:
        pairs.setdefault(caption([o["name"] for o in entry["objects"]]), entry["image"])
    arrays = [np.asarray(Image.open(shapes / name).convert("RGB")) for name in pairs.values()]
    figures["retrieval"] = retrieval(engine.images(arrays), engine.texts(list(pairs)))
    lines = [json.dumps({"image": f"../../shapes/heldout/{name}", "text": text}) for text, name in pairs.items()]
    (folder / "captions.jsonl").write_text("\n".join(lines) + "\n")
    write_json(folder / "answers.json", {"template": TEMPLATE, "figures": figures})
    print(json.dumps(figures, indent=1))


TEMPLATES = ("This is a photo of {}.", "a photo of a {}.", "{}")
LABELS = ("star", "Blue Ring", "orange", "red cross, white circle", "cat")


@torch.no_grad()
def golden(model, out):
    """Three held-out scenes (224 and 448 px) and one of one object, labels by template, and the pairs with their captions."""
    engine, folder = Transformers(model), Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = [make_scene(scene_rng(CONFIG["seed"], 6, i), size=size, count=count)
             for i, (size, count) in enumerate(((224, 3), (448, 2), (224, 4), (112, 1)))]
    images = [Image.fromarray(save_png(folder / f"input_{i}.png", s.image)) for i, s in enumerate(drawn)]
    captions = [caption(names(s)) for s in drawn]
    tensors, templates = {}, []
    for k, template in enumerate(TEMPLATES):
        texts = [template.format(label) for label in LABELS]
        inputs = engine.inputs(images, texts)
        result = engine.model(**inputs)
        tensors |= {"pixel_values": inputs["pixel_values"], "image_embeds": result.image_embeds, f"t{k}.text_embeds": result.text_embeds,
                    f"t{k}.logits_per_image": result.logits_per_image, f"t{k}.probabilities": result.logits_per_image.sigmoid()}
        templates.append({"template": template, "texts": texts, "input_ids": inputs["input_ids"].tolist(),
                          "best": [LABELS[i] for i in result.logits_per_image.argmax(1)]})
    classifier = pipeline("zero-shot-image-classification", model=engine.model, tokenizer=engine.processor.tokenizer,
                          image_processor=engine.processor.image_processor)
    for image, row in zip(images, tensors["t0.probabilities"]):
        scores = {r["label"]: r["score"] for r in classifier(image, candidate_labels=list(LABELS))}
        assert all(abs(scores[label] - p) < 1e-5 for label, p in zip(LABELS, row.tolist()))
    inputs = engine.inputs(images, captions)
    result = engine.model(**inputs, return_loss=True)
    vision, text = result.vision_model_output, result.text_model_output
    tensors |= {"vision.pooled": vision.pooler_output, "text.pooled": text.pooler_output,
                "captions.text_embeds": result.text_embeds, "captions.logits_per_image": result.logits_per_image,
                "captions.probabilities": result.logits_per_image.sigmoid(), "captions.loss": result.loss.view(1)}
    tensors = {k: v.float().contiguous() for k, v in tensors.items()}
    save_file(tensors, folder / "expected.safetensors")
    write_json(folder / "expected.json", {
        "model": "models/shapes-dual", "labels": LABELS, "templates": templates,
        "captions": {"texts": captions, "input_ids": inputs["input_ids"].tolist()},
        "meaning": {"pixel_values": "[images,3,S,S]", "image_embeds": "L2-normalised [images,D]",
                    "t0.text_embeds": "L2-normalised [labels,D]", "t0.logits_per_image": "[images,labels]",
                    "t0.probabilities": "score of each label as the zero-shot pipeline gives it [images,labels]",
                    "vision.pooled, text.pooled": "images and captions before L2 [B,D]", "captions.logits_per_image": "[images,captions]",
                    "captions.loss": "sigmoid loss of the pairs, summed and divided by the images [1]"},
        "tensors": {k: {"shape": list(v.shape), "absmax": float(v.abs().max())} for k, v in tensors.items()}}, 1)
    print({k: tuple(v.shape) for k, v in tensors.items()}, result.loss, result.logits_per_image)


@torch.no_grad()
def check(state, folder, count=64):
    """The training forward (bfloat16 products) with the trained weights against transformers in float32."""
    engine, model = Transformers(folder), load_state(state)
    held = scene_set(1, count)
    texts = [caption(names(s)) for s in held]
    where = positions(None)
    ids = Texts().ids(texts)
    assert torch.equal(ids, engine.processor(text=texts, padding="max_length", return_tensors="pt")["input_ids"])
    images = model.images(states_of(model, held).float())
    theirs = engine.images([s.image for s in held])
    for kind, a, b in (("images", images, theirs), ("texts", model.texts(ids, where), engine.texts(texts))):
        print(f"{kind}: least cosine {float((a * b).sum(1).min()):.5f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("export", "check", "measure", "sample", "golden"))
    parser.add_argument("--state")
    parser.add_argument("--model", required=True)
    parser.add_argument("--out")
    args = parser.parse_args()
    torch.set_num_threads(2)
    if args.what in ("export", "check"):
        globals()[args.what](args.state, args.model)
    else:
        globals()[args.what](args.model, args.out)
