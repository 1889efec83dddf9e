"""Trains the small SigLIP: python train_dual.py --state DIR. Run again with the same DIR, it goes on where it stopped.

The sigmoid loss judges every pair of image and text by itself, and what a scene shows is known, so every pair has its true sign:
captions (one a scene, and some with two colours exchanged) and labels (every colour and shape, some objects and pairs of them,
some words for what is never drawn). The vision tower is that of the trained PaliGemma and stays locked, as in SigLiT; the pooling
head and the text tower start from nothing. So the tower sees every scene once, and what it makes of them is kept on disk.
"""
import argparse
import json
import os
import signal
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
import numpy as np
import torch
import torch.multiprocessing as mp
import torch.nn.functional as F

from captions import CONCEPTS, EOS, NAMES, OTHERS, TEXT_TOKENS, build_tokenizer, label, pair_label
from dual_encoder import DualEncoder
from scene_cache import NOTHING, SceneCache, objects_of, render, states_of
from scenes import COLORS, SHAPES, caption, make_scene, pick, scene_rng
from train import Muon

HERE = Path(__file__).parent


# ---------------------------------------------------------------- texts and their truth

def names_of(objects):
    """[4, 2] shape and colour -> names from left to right."""
    return [f"{tuple(COLORS)[c]} {SHAPES[s]}" for s, c in objects if s != NOTHING]


def shows(names):
    """[len(CONCEPTS)] which objects, colours and shapes a scene of these names shows."""
    present = set(names) | {word for name in names for word in name.split()}
    return np.array([concept in present for concept in CONCEPTS])


def swapped(rng, names):
    """The names with the colours of two objects exchanged, or None where that changes nothing."""
    if len(names) < 2:
        return None
    i, k = rng.permutation(len(names))[:2]
    (a, b), (c, d) = names[i].split(), names[k].split()
    if a == c or b == d:
        return None
    changed = list(names)
    changed[i], changed[k] = f"{c} {b}", f"{a} {d}"
    return changed


def texts_for(rng, scenes, config):
    """scenes: names of each -> captions, their truth [n, captions], labels, their truth [n, labels]."""
    lists = list(scenes)
    for _ in range(config["swapped"]):
        lists.append(swapped(rng, pick(rng, scenes)) or pick(rng, scenes))
    caption_truth = np.array([[a == b for b in lists] for a in scenes])
    asked = [*rng.permutation(len(NAMES))[:config["names"]], *range(len(NAMES), len(CONCEPTS))]
    labels, truths = [label(rng, CONCEPTS[i]) for i in asked], [np.stack([shows(s)[asked] for s in scenes])]
    for k in range(config["pairs"]):
        names = pick(rng, scenes)
        pair = (swapped(rng, names) if k % 2 else None) or names
        first, second = (pair[i] for i in rng.permutation(max(2, len(pair)))[:2] % len(pair))
        labels.append(pair_label(rng, first, second) if first != second else label(rng, first))
        truths.append(np.array([[first in s and second in s] for s in scenes]))
    for _ in range(config["others"]):
        labels.append(label(rng, pick(rng, OTHERS)))
        truths.append(np.zeros((len(scenes), 1), bool))
    return [caption(names) for names in lists], caption_truth, labels, np.concatenate(truths, 1)


class Texts:
    def __init__(self):
        self.tokenizer = build_tokenizer()
        self.tokenizer.enable_truncation(TEXT_TOKENS)
        self.tokenizer.enable_padding(length=TEXT_TOKENS, pad_id=EOS, pad_token="</s>")
        self.size = self.tokenizer.get_vocab_size()

    def ids(self, texts):
        return torch.tensor([e.ids for e in self.tokenizer.encode_batch(texts)])


def positions(short, rng=None):
    """All positions, or the first `short`, one of the padding drawn by rng, and the last, which is pooled."""
    if short is None:
        return torch.arange(TEXT_TOKENS)
    return torch.tensor([*range(short), rng.integers(short, TEXT_TOKENS - 1), TEXT_TOKENS - 1])


# ---------------------------------------------------------------- losses

def sigmoid_loss(logits, truth):
    """SigLIP's: summed over all pairs, divided by the images."""
    return F.softplus(torch.where(truth, -logits, logits)).sum() / len(logits)


# ---------------------------------------------------------------- validation

class Validation:
    """Retrieval among 256 scenes of distinct captions, and labels of 256 scenes of one object."""

    def __init__(self, seed, model, texts):
        scenes, seen = [], set()
        index = 0
        while len(scenes) < 256:
            scene = make_scene(scene_rng(seed, 1, index))
            index += 1
            names = tuple(t.name for t in scene.things)
            if names not in seen:
                seen.add(names)
                scenes.append(scene)
        self.states = states_of(model, scenes)
        self.captions = texts.ids([caption([t.name for t in s.things]) for s in scenes])
        single = [make_scene(scene_rng(seed, 1, 100000 + i), count=1) for i in range(256)]
        self.single = states_of(model, single)
        self.shape, self.color = torch.from_numpy(np.stack([objects_of(s)[0] for s in single])).long().T
        self.labels = [texts.ids([f"This is a photo of {word}." for word in words]) for words in (SHAPES, COLORS)]

    @torch.no_grad()
    def run(self, model, where):
        texts = lambda ids: model.texts(ids[:, where], where)
        similarity = model.images(self.states) @ texts(self.captions).T
        mine = torch.arange(len(similarity))
        single = model.images(self.single)
        right = lambda s, wanted: round((s.argmax(1) == wanted).float().mean().item(), 3)
        return {"imageToText": right(similarity, mine), "textToImage": right(similarity.T, mine),
                "shape": right(single @ texts(self.labels[0]).T, self.shape),
                "color": right(single @ texts(self.labels[1]).T, self.color)}


# ---------------------------------------------------------------- the run

def is_matrix(name, p):
    return p.dim() == 2 and "embeddings" not in name


def new_model(config, texts):
    model = DualEncoder(texts.size, config["model"], config["seed"])
    model.load_tower(HERE / config["tower"])
    return model


def render_part(folder, config, part, parts):
    torch.set_num_threads(1)
    render(folder, config["seed"], range(part, config["chunks"], parts), new_model(config, Texts()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=HERE / "config_dual.json")
    parser.add_argument("--state", required=True, help="folder for the training state")
    parser.add_argument("--steps", type=int, help="instead of the configuration's")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save-every", type=int, default=200, help="steps")
    parser.add_argument("--validate-every", type=int, default=200, help="steps")
    args = parser.parse_args()
    config = json.loads(Path(args.config).read_text())
    steps = args.steps or config["steps"]
    torch.set_num_threads(args.threads)
    state_dir = Path(args.state)
    state_dir.mkdir(parents=True, exist_ok=True)
    state_file = state_dir / "state.pt"

    folder = state_dir / "scenes"
    workers = [mp.get_context("spawn").Process(target=render_part, args=(folder, config, i, args.threads), daemon=True)
               for i in range(args.threads)]
    for worker in workers:
        worker.start()
    texts = Texts()
    model = new_model(config, texts)
    trained = {n: p for n, p in model.p.items() if p.requires_grad}
    muon = Muon([p for n, p in trained.items() if is_matrix(n, p)])
    others = [p for n, p in trained.items() if not is_matrix(n, p) and not n.startswith("logit_")]
    adam = torch.optim.AdamW([{"params": others, "scale": 1}, {"params": [model.p["logit_scale"], model.p["logit_bias"]], "scale": 4}],
                             lr=1, betas=(.9, .98), weight_decay=0, foreach=True)
    step = 0
    if state_file.exists():
        saved = torch.load(state_file)
        model.load_state_dict(saved["model"])
        muon.momentum = saved["muon"]
        adam.load_state_dict(saved["adam"])
        step = saved["step"]
        print(f"resumed at step {step}", flush=True)
    validation = Validation(config["seed"], model, texts)
    for worker in workers:   # training starts when every scene is there
        worker.join()
        assert worker.exitcode == 0
    cache = SceneCache(folder, config["chunks"])
    rng = np.random.default_rng((config["seed"], step))

    def save():
        torch.save({"model": model.state_dict(), "muon": muon.momentum, "adam": adam.state_dict(), "step": step},
                   state_file.with_suffix(".new"))
        os.replace(state_file.with_suffix(".new"), state_file)

    def validate(where):
        print("validation", json.dumps(validation.run(model, where)), f"step {step}", flush=True)

    interrupted = []
    signal.signal(signal.SIGTERM, lambda *_: interrupted.append(True))
    start = time.time()
    last_report = start
    seen, sums = 0, {}
    while step < steps and not interrupted:
        fraction = step / steps
        rate = (1 - fraction) * min(1, .02 + step / 200)
        where = positions(config["short_text"] if fraction < 1 - config["full_text"] else None, rng)
        states, objects = cache.draw(rng, config["batch"])
        captions, caption_truth, labels, label_truth = texts_for(rng, [names_of(o) for o in objects.tolist()], config)
        ids = texts.ids(captions + labels)[:, where]
        logits = model.logits(model.images(states), model.texts(ids, where))
        first = len(captions)
        caption_loss = sigmoid_loss(logits[:, :first], torch.from_numpy(caption_truth))
        label_truth = torch.from_numpy(label_truth)
        label_loss = sigmoid_loss(logits[:, first:], label_truth)
        loss = caption_loss + config["label_weight"] * label_loss
        for p in trained.values():
            p.grad = None
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(list(trained.values()), config["clip"])
        muon.step(rate * config["matrix_rate"], config["weight_decay"])
        for group in adam.param_groups:
            group["lr"] = rate * config["other_rate"] * group["scale"]
        adam.step()
        step += 1
        seen += len(states)
        record = {"caption": caption_loss, "label": label_loss,
                  "labels_right": ((logits[:, first:] > 0) == label_truth).float().mean(), "norm": norm,
                  "scale": model.p["logit_scale"].exp(), "bias": model.p["logit_bias"]}
        for k, v in record.items():
            n, s = sums.get(k, (0, 0.0))
            sums[k] = (n + 1, s + float(v.detach()))
        now = time.time()
        if now - last_report > 20:
            means = " ".join(f"{k} {s / n:.3f}" for k, (n, s) in sums.items())
            print(f"{(now - start) / 60:6.2f} min step {step:6d} {seen / (now - last_report):5.1f} img/s rate {rate:.3f} {means}",
                  flush=True)
            last_report, seen, sums = now, 0, {}
        if step % args.save_every == 0:
            save()
        if step % args.validate_every == 0:
            validate(where)
    save()
    if not interrupted:
        validate(positions(None))


if __name__ == "__main__":
    main()
