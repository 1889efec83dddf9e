"""Exports a training state as a Hugging Face PaliGemma folder and measures it with transformers.

    python evaluate.py export   --state DIR --model MODEL
    python evaluate.py check    --state DIR --model MODEL      the training forward against transformers
    python evaluate.py measure  --model MODEL --out FILE       held-out and shifted scenes
    python evaluate.py sample   --model MODEL --out FOLDER     scenes, questions and answers for other implementations
    python evaluate.py dataset  --out FOLDER                   the sample's questions as a data set with boxes (sample does it too)
    python evaluate.py examples --model MODEL --out FOLDER     example images and their answers
"""
import argparse
import json
import math
import re
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoProcessor, PaliGemmaForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutputWithPooling

import scenes
from model import PaliGemma
from scenes import SHIFTS, TASKS, Style, make_scene, one_of_each, scene_rng
from train import IMAGE_TOKENS, build_mask, to_patches
from vocabulary import BOS, EOS, PAD, Vocabulary

HERE = Path(__file__).parent
CONFIG = json.loads((HERE / "config.json").read_text())
HELD_OUT, SHIFTED, SAMPLE = 512, 200, 96
MAX_NEW_TOKENS = 40  # four boxes with their labels take 30


# ---------------------------------------------------------------- export

def load_state(state, vocabulary):
    model = PaliGemma(vocabulary.size, vocabulary.first_location, CONFIG["model"])
    saved = torch.load(Path(state) / "state.pt")
    model.load_state_dict(saved["model"])
    return model.eval()


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def export(state, folder):
    vocabulary, folder = Vocabulary(), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model = load_state(state, vocabulary)
    c = model.c
    save_file(model.exported(), folder / "model.safetensors", metadata={"format": "pt"})
    ids = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD}
    write_json(folder / "config.json", {
        "architectures": ["PaliGemmaForConditionalGeneration"], "model_type": "paligemma", **ids,
        "hidden_size": c["width"], "image_token_index": vocabulary.image, "projection_dim": c["width"],
        "tie_word_embeddings": True, "torch_dtype": "bfloat16", "vocab_size": vocabulary.size,
        "text_config": {
            "model_type": "gemma", "attention_bias": False, **ids, "head_dim": c["head_dim"],
            "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh", "hidden_size": c["width"],
            "intermediate_size": c["mlp"], "max_position_embeddings": 512, "num_attention_heads": c["heads"],
            "num_hidden_layers": c["layers"], "num_image_tokens": IMAGE_TOKENS, "num_key_value_heads": 1,
            "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
            "vocab_size": vocabulary.size},
        "vision_config": {
            "model_type": "siglip_vision_model", "hidden_act": "gelu_pytorch_tanh", "hidden_size": c["vision_width"],
            "image_size": scenes.SIZE, "intermediate_size": c["vision_mlp"], "layer_norm_eps": 1e-6,
            "num_attention_heads": c["vision_heads"], "num_channels": 3, "num_hidden_layers": c["vision_layers"],
            "num_image_tokens": IMAGE_TOKENS, "patch_size": c["patch"], "projection_dim": c["width"],
            "torch_dtype": "bfloat16", "vision_use_head": False}})
    write_json(folder / "generation_config.json", {**ids, "do_sample": False})
    write_json(folder / "preprocessor_config.json", {
        "do_convert_rgb": None, "do_normalize": True, "do_rescale": True, "do_resize": True,
        "image_mean": [.5] * 3, "image_processor_type": "SiglipImageProcessor", "image_seq_length": IMAGE_TOKENS,
        "image_std": [.5] * 3, "processor_class": "PaliGemmaProcessor", "resample": 3,
        "rescale_factor": 0.00392156862745098, "size": {"height": scenes.SIZE, "width": scenes.SIZE}})
    write_json(folder / "tokenizer_config.json", {
        "add_bos_token": True, "add_eos_token": False, "bos_token": "<bos>", "eos_token": "<eos>",
        "pad_token": "<pad>", "unk_token": "<unk>", "extra_special_tokens": {"image_token": "<image>"},
        "clean_up_tokenization_spaces": False, "model_max_length": 512, "padding_side": "left",
        "processor_class": "PaliGemmaProcessor", "tokenizer_class": "GemmaTokenizerFast"})
    (folder / "tokenizer.json").write_text(vocabulary.tokenizer.to_str(pretty=False) + "\n")


# ---------------------------------------------------------------- answers by transformers

class RememberingTower(torch.nn.Module):
    """The vision tower, run once an image however many questions are asked about it."""

    def __init__(self, tower):
        super().__init__()
        self.tower, self.seen = tower, {}

    def forward(self, pixel_values, **options):
        keys = [hash(p.numpy().tobytes()) for p in pixel_values]
        new = [i for i, k in enumerate(keys) if k not in self.seen]
        if new:
            for i, state in zip(new, self.tower(pixel_values[new], **options).last_hidden_state):
                self.seen[keys[i]] = state
        return BaseModelOutputWithPooling(last_hidden_state=torch.stack([self.seen[k] for k in keys]))


class Transformers:
    """Greedy answers of PaliGemmaForConditionalGeneration, bfloat16 weights computed in float32."""

    def __init__(self, folder):
        self.vocabulary = Vocabulary()
        self.model = PaliGemmaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        self.model.model.vision_tower = RememberingTower(self.model.model.vision_tower)

    @torch.no_grad()
    def answer(self, items, batch=96):
        """items: [(image array, prompt)] -> list of token lists without <eos>.

        A batch has prompts of one length, which need no padding, and of one task, whose answers end together.
        """
        answers, groups = [None] * len(items), {}
        for i, (_, prompt) in enumerate(items):
            ids = self.vocabulary.prompt(prompt)
            groups.setdefault((len(ids), prompt.split()[0]), []).append((i, ids))
        for group in groups.values():
            for a in range(0, len(group), batch):
                part = group[a:a + batch]
                ids = torch.tensor([[self.vocabulary.image] * IMAGE_TOKENS + ids for _, ids in part])
                pixels = torch.from_numpy(np.stack([items[i][0] for i, _ in part])).permute(0, 3, 1, 2)
                pixels = ((pixels.float() / 255) - .5) / .5
                out = self.model.generate(input_ids=ids, pixel_values=pixels, attention_mask=torch.ones_like(ids),
                                          token_type_ids=torch.zeros_like(ids), do_sample=False,
                                          max_new_tokens=MAX_NEW_TOKENS)[:, ids.shape[1]:].tolist()
                for (i, _), tokens in zip(part, out):
                    answers[i] = tokens[:tokens.index(EOS)] if EOS in tokens else tokens
        return answers


def parse(text):
    """[(y1, x1, y2, x2, label)] with coordinates in 0..1."""
    found = re.findall(r"<loc(\d{4})><loc(\d{4})><loc(\d{4})><loc(\d{4})> ([^;<]*)", text)
    return [(*(int(v) / 1023 for v in f[:4]), f[4].strip()) for f in found]


def overlap(a, b):
    inner = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    area = lambda r: max(0, r[2] - r[0]) * max(0, r[3] - r[1])
    return inner / max(1e-9, area(a) + area(b) - inner)


def score(questions, answers):
    """Whole answers; boxes are compared in order, an expected box without its partner counts 0."""
    right, overlaps, labels, absent = {}, [], [], []
    for question, answer in zip(questions, answers):
        if question.task != "detect":
            right.setdefault(question.task, []).append(answer == question.answer)
        elif not question.answer:
            absent.append(answer == "")
        else:
            wanted, got = parse(question.answer), parse(answer)
            labels.append([w[4] for w in wanted] == [g[4] for g in got])
            for i, w in enumerate(wanted):
                overlaps.append(overlap(w, got[i]) if i < len(got) and got[i][4] == w[4] else 0.0)
    figures = {t: {"right": sum(right[t]), "of": len(right[t]), "share": round(sum(right[t]) / len(right[t]), 4)}
               for t in TASKS if t in right}
    figures["detect"] = {"boxes": len(overlaps), "meanIoU": round(float(np.mean(overlaps)), 4),
                         "recallAtHalf": round(float(np.mean([o >= .5 for o in overlaps])), 4),
                         "labelsRight": sum(labels), "of": len(labels), "absentRight": sum(absent), "absentOf": len(absent)}
    return figures


def scene_set(stream, count, style_of=lambda i: Style()):
    for i in range(count):
        rng = scene_rng(CONFIG["seed"], stream, i)
        scene = make_scene(rng, style_of(i))
        yield scene, one_of_each(rng, scene.things)


def measure(folder, out):
    engine = Transformers(folder)

    def run(pairs):
        items = [(s.image, q.prompt) for s, qs in pairs for q in qs]
        questions = [q for _, qs in pairs for q in qs]
        return questions, [engine.vocabulary.decode(t) for t in engine.answer(items)]

    start = time.time()
    held = list(scene_set(2, HELD_OUT))
    questions, answers = run(held)
    result = {"heldOut": {"scenes": HELD_OUT, "questions": len(questions), **score(questions, answers)}}
    counts = [len(s.things) for s, qs in held for _ in qs]
    captions = [(n, a == q.answer) for n, q, a in zip(counts, questions, answers) if q.task == "caption"]
    result["heldOut"]["captionByObjects"] = {n: round(float(np.mean([r for m, r in captions if m == n])), 4)
                                            for n in (1, 2, 3, 4)}
    where = [s.background for s, qs in held for _ in qs]
    captions = [(b, a == q.answer) for b, q, a in zip(where, questions, answers) if q.task == "caption"]
    result["heldOut"]["captionByBackground"] = {b: round(float(np.mean([r for c, r in captions if c == b])), 4)
                                               for b in scenes.BACKGROUNDS}
    shifted = list(scene_set(3, SHIFTED, lambda i: SHIFTS[i % len(SHIFTS)]))
    questions, answers = run(shifted)
    result["shifted"] = {"scenes": SHIFTED, "questions": len(questions), **score(questions, answers)}
    kinds = [SHIFTS[i % len(SHIFTS)].name for i, (_, qs) in enumerate(shifted) for _ in qs]
    for style in SHIFTS:
        mine = [i for i, k in enumerate(kinds) if k == style.name]
        result["shifted_" + style.name] = score([questions[i] for i in mine], [answers[i] for i in mine])
    result["seconds"] = round(time.time() - start)
    write_json(Path(out), result)
    print(json.dumps(result, indent=1))


# ---------------------------------------------------------------- samples and examples

def record(engine, folder, files, seed):
    """files: [(name, array as other programs will decode it, things, questions)] -> answers.json in the folder."""
    items = [(np.asarray(Image.fromarray(image).resize((scenes.SIZE, scenes.SIZE), Image.BICUBIC))
              if image.shape[0] != scenes.SIZE else image, q.prompt) for _, image, _, qs in files for q in qs]
    tokens = iter(engine.answer(items))
    entries, all_questions, all_answers = [], [], []
    for name, _, things, questions in files:
        rows = []
        for q in questions:
            ids = next(tokens)
            text = engine.vocabulary.decode(ids)
            rows.append({"task": q.task, "prompt": q.prompt, "expected": q.answer, "answer": text, "tokens": ids})
            all_questions.append(q)
            all_answers.append(text)
        objects = [{"name": t.name, "outlined": t.outline > 0, "box": [round(v, 4) for v in t.box]} for t in things]
        entries.append({"image": name, "objects": objects, "questions": rows})
    write = {"seed": seed, "boxOrder": "y1 x1 y2 x2 in 0..1", "figures": score(all_questions, all_answers),
             "scenes": entries}
    lines = json.dumps(write, indent=1, ensure_ascii=False)
    lines = re.sub(r"\[\s+([-\d.,\s]+?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]", lines)
    (folder / "answers.json").write_text(lines + "\n")
    return write["figures"]


def sample(model, out):
    """The first held-out scenes as small PNGs: those that compress badly keep 64 colours, and are answered so."""
    engine, folder = Transformers(model), Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for i, (scene, questions) in enumerate(scene_set(2, SAMPLE)):
        name = f"{i:03d}.png"
        image = Image.fromarray(scene.image)
        image.save(folder / name, optimize=True)
        if (folder / name).stat().st_size > 30000:
            image.quantize(64, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(folder / name, optimize=True)
        files.append((name, np.asarray(Image.open(folder / name).convert("RGB")), scene.things, questions))
    print(json.dumps(record(engine, folder, files, CONFIG["seed"]), indent=1))
    dataset(None, folder)


def asked_about(prompt, objects):
    """The objects that a question names: by colour and shape, by one of them, or all where it says just "objects"."""
    singular, wanted, words = {p: s for s, p in scenes.PLURALS.items()}, [], re.findall(r"[a-z]+", prompt)
    for i, word in enumerate(words):
        color = words[i - 1] if words[i - 1] in scenes.COLORS else None
        shape = singular.get(word, word) if singular.get(word, word) in scenes.SHAPES else None
        if shape or word in ("object", "objects"):
            wanted.append((color, shape))
    return [o for o in objects if any(c in (None, o["name"].split()[0]) and s in (None, o["name"].split()[1]) for c, s in wanted)]


def dataset(_, out):
    """knockout.jsonl from answers.json: what is answered in words, with boxes [x, y, width, height] in pixels of the image."""
    folder, lines = Path(out), []
    for scene in json.loads((folder / "answers.json").read_text())["scenes"]:
        width, height = Image.open(folder / scene["image"]).size
        for q in scene["questions"]:
            if not q["prompt"].startswith("answer en "):
                continue
            boxes = []
            for thing in asked_about(q["prompt"], scene["objects"]):
                y1, x1, y2, x2 = thing["box"]
                left, top = int(x1 * width + .02), int(y1 * height + .02)
                boxes.append([left, top, math.ceil(x2 * width - .02) - left, math.ceil(y2 * height - .02) - top])
            lines.append(json.dumps({"image": scene["image"], "question": q["prompt"][len("answer en "):], "answer": q["expected"],
                                     "boxes": boxes, "category": q["task"]}))
    (folder / "knockout.jsonl").write_text("\n".join(lines) + "\n")


EXAMPLES = {"kitchen": ("tiles", 3, "star"), "awning": ("stripes", 2, "triangle"), "sunset": ("gradient", 4, "ring"),
            "gravel": ("noise", 2, "cross"), "sky": ("clouds", 3, "square"), "poster": ("plain", 4, "circle")}


def examples(model, out):
    engine, folder = Transformers(model), Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for k, (name, (background, count, shape)) in enumerate(EXAMPLES.items()):
        index = 1000 * k
        while True:
            rng = scene_rng(CONFIG["seed"], 4, index)
            scene = make_scene(rng, Style(backgrounds=(background,)), 448, count)
            shapes = [t.shape for t in scene.things]
            questions = one_of_each(rng, scene.things)
            index += 1
            if shapes.count(shape) != 1 or len({q.task for q in questions}) < len(TASKS) or len(set(shapes)) == 1 \
                    or len({t.color for t in scene.things}) < count:
                continue
            questions[-2] = scenes.detect([shape], scene.things)
            if name != "kitchen" or shown_right(engine, scene, questions):
                break
        Image.fromarray(scene.image).save(folder / f"{name}.png", optimize=True)
        files.append((f"{name}.png", scene.image, scene.things, questions))
    print(json.dumps(record(engine, folder, files, CONFIG["seed"]), indent=1))
    processor_agrees(engine, model, folder, files)


def shown_right(engine, scene, questions):
    """The first image of the documentation is chosen so that its caption and its detection are right; no other is."""
    chosen = [questions[0], questions[-2]]
    image = np.asarray(Image.fromarray(scene.image).resize((scenes.SIZE, scenes.SIZE), Image.BICUBIC))
    figures = score(chosen, [engine.vocabulary.decode(t) for t in engine.answer([(image, q.prompt) for q in chosen])])
    return figures["caption"]["right"] == 1 and figures["detect"]["labelsRight"] == 1 and figures["detect"]["meanIoU"] > .6


def processor_agrees(engine, model, folder, files):
    """transformers' own processor must see the same pixels and ids as we do."""
    processor = AutoProcessor.from_pretrained(model)
    for name, image, _, questions in files:
        for q in questions:
            inputs = processor(images=Image.open(folder / name).convert("RGB"), text="<image>" + q.prompt, return_tensors="pt")
            ids = [engine.vocabulary.image] * IMAGE_TOKENS + engine.vocabulary.prompt(q.prompt)
            assert inputs["input_ids"][0].tolist() == ids, (name, q.prompt)
        small = np.asarray(Image.fromarray(image).resize((scenes.SIZE, scenes.SIZE), Image.BICUBIC), np.float32)
        difference = np.abs(inputs["pixel_values"][0].permute(1, 2, 0).numpy() - (small / 127.5 - 1)).max()
        assert difference < 1e-5, (name, difference)
    print("AutoProcessor gives the same ids and pixels for every example")


@torch.no_grad()
def check(state, folder, count=64):
    """Teacher-forced answers of the training forward with the exported weights, against transformers' greedy ones."""
    engine = Transformers(folder)
    vocabulary = engine.vocabulary
    model = load_state(state, vocabulary)
    same = total = 0
    for i, (scene, questions) in enumerate(scene_set(1, count)):
        h = model.project(model.vision(to_patches(torch.from_numpy(scene.image)[None])))
        answers = engine.answer([(scene.image, q.prompt) for q in questions])
        for q, tokens in zip(questions, answers):
            prompt = vocabulary.prompt(q.prompt)
            n = len(prompt) + len(tokens)
            text = torch.tensor([prompt + tokens, [0] * n, [1] * len(prompt) + [0] * len(tokens), range(n)], dtype=torch.float32)[None]
            table = model.embeddings()
            positions = torch.cat((torch.arange(IMAGE_TOKENS) + 1, torch.arange(n) + IMAGE_TOKENS + 1))[None]
            x = model.decode(h, table, text[:, 0].long(), positions, build_mask(text, IMAGE_TOKENS, True))
            guess = model.logits(x[0, IMAGE_TOKENS + len(prompt) - 1:], table).argmax(-1).tolist()
            strip = lambda ids: [t for t in ids if not vocabulary.first_location <= t < vocabulary.first_location + 1024]
            near = all(abs(a - b) <= 8 for a, b in zip(guess, tokens) if a != b)
            same += strip(guess) == strip(tokens + [EOS]) and near
            total += 1
    print(f"{same} of {total} answers agree (words the same, locations within 8 bins: bfloat16 against float32)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("export", "check", "measure", "sample", "dataset", "examples"))
    parser.add_argument("--state")
    parser.add_argument("--model")
    parser.add_argument("--out")
    args = parser.parse_args()
    if args.model is None and args.what != "dataset":
        parser.error("--model is missing")
    torch.set_num_threads(2)
    if args.what in ("export", "check"):
        globals()[args.what](args.state, args.model)
    else:
        globals()[args.what](args.model, args.out)
