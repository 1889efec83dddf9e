"""Trains the small PaliGemma: python train.py --state DIR. Run again with the same DIR, it goes on where it stopped.

Stages share one clock, so the learning rate reaches zero when the planned minutes are over whatever the machine's load:
  vision   the tower alone, predicting from every patch what object covers it;
  dropped  tower and decoder, with one of every four image tokens;
  full     all 256 image tokens; they attend to the first question's prompt as they do in PaliGemma.
"""
import argparse
import json
import math
import os
import signal
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
import numpy as np
import torch
import torch.nn.functional as F
import torch.multiprocessing as mp

from model import AUX_COLORS, AUX_RANKS, AUX_SHAPES, PaliGemma, location_features
from scenes import ASK, COLORS, SHAPES, TASKS, make_scene, one_of_each, scene_rng
from vocabulary import Vocabulary

HERE = Path(__file__).parent
LOSS_WEIGHT = {"caption": 1.0, "detect": .6}  # of one token; one-word answers weigh 2
IMAGE_TOKENS = 256


# ---------------------------------------------------------------- batches

def questions_for(rng, things, weights):
    """Endless questions in the tasks' proportions."""
    tasks, p = list(weights), np.array(list(weights.values()))
    p = p / p.sum()
    while True:
        question = ASK[tasks[rng.choice(len(tasks), p=p)]](rng, things)
        if question:
            yield question


def pack(questions, vocabulary, length):
    """Rows of a packed sequence: token, segment (-1 is padding), is prompt, position in segment, target (-1 none), weight.

    A target stands at the token that predicts it. Returns the array [6, length] and the questions that fitted.
    """
    rows, used = [], []
    misses = 0
    for question in questions:
        prompt, answer = vocabulary.prompt(question.prompt), vocabulary.answer(question.answer)
        tokens = prompt + answer[:-1]
        if len(rows) + len(tokens) > length:
            misses += 1
            if misses > 2 or length - len(rows) < 12:
                break
            continue
        if question in used:
            misses += 1
            if misses > 2:
                break
            continue
        # A first coordinate spreads its probability over many bins, so greedy decoding would prefer an end of
        # moderate probability to all of them. Empty answers therefore count little: what they need is easily learned.
        weight = LOSS_WEIGHT.get(question.task, 2.0) if question.answer else .06
        for i, token in enumerate(tokens):
            k = i - len(prompt) + 1
            rows.append((token, len(used), i < len(prompt), i, answer[k] if k >= 0 else -1, weight if k >= 0 else 0))
        used.append(question)
    rows += [(0, -1, 0, 0, -1, 0)] * (length - len(rows))
    return np.array(rows, np.float32).T, used


def scene_labels(scene):
    """Per patch: shape, colour, rank from the left (-1 where nothing is), and the box of its object."""
    k = scene.patches.reshape(-1)
    shapes = np.array([SHAPES.index(t.shape) for t in scene.things] + [len(SHAPES)])
    colors = np.array([tuple(COLORS).index(t.color) for t in scene.things] + [-1])
    ranks = np.array([*range(len(scene.things)), -1])
    boxes = np.array([t.box for t in scene.things] + [(0, 0, 0, 0)], np.float32)
    return np.stack((shapes[k], colors[k], ranks[k])), boxes[k]


def make_batch(rng, vocabulary, config):
    images, texts, labels, boxes = [], [], [], []
    for _ in range(config["draw"]):
        scene = make_scene(rng)
        images.append(scene.image)
        text, _ = pack(questions_for(rng, scene.things, config["task_weights"]), vocabulary, config["text_tokens"])
        texts.append(text)
        label, box = scene_labels(scene)
        labels.append(label)
        boxes.append(box)
    return tuple(torch.from_numpy(np.stack(a)) for a in (images, texts, labels, boxes))


def produce(queue, config, first):
    torch.set_num_threads(1)
    vocabulary = Vocabulary()
    index = first
    while True:
        queue.put(make_batch(scene_rng(config["seed"], 0, index), vocabulary, config))
        index += 1


def to_patches(images):
    """[batch, 224, 224, 3] uint8 -> [batch, 256, 588] in -1..1, each patch as channel, row, column."""
    b = images.shape[0]
    x = images.view(b, 16, 14, 16, 14, 3).permute(0, 1, 3, 5, 2, 4).reshape(b, 256, 588)
    return (x.float() / 127.5 - 1).to(torch.bfloat16)


def build_mask(text, image_tokens, real):
    """Additive [batch, 1, n + t, n + t]; with `real`, image tokens see the first question's prompt."""
    segment, prompt = text[:, 1], text[:, 2] > 0
    b, t = segment.shape
    order = torch.arange(t)
    same = (segment[:, :, None] == segment[:, None, :]) & (segment[:, None, :] >= 0)
    visible = torch.ones(b, image_tokens + t, image_tokens + t, dtype=torch.bool)
    visible[:, image_tokens:, image_tokens:] = same & (prompt[:, None, :] | (order[None, :] <= order[:, None]))
    visible[:, :image_tokens, image_tokens:] = ((segment == 0) & prompt)[:, None, :] if real else False
    return torch.zeros(visible.shape).masked_fill_(~visible, -1e9)[:, None]


# ---------------------------------------------------------------- losses

def aux_loss(outputs, labels, boxes):
    shape, color, rank, place = outputs.split((AUX_SHAPES, AUX_COLORS, AUX_RANKS, outputs.shape[-1] - 19), -1)
    inside = (labels[:, 0] < len(SHAPES)).flatten()
    shape_loss = F.cross_entropy(shape.flatten(0, 1), labels[:, 0].flatten())
    pick = lambda x: x.flatten(0, 1)[inside]
    shape_loss = shape_loss + F.cross_entropy(pick(shape), labels[:, 0].flatten()[inside])
    color_loss = F.cross_entropy(pick(color), labels[:, 1].flatten()[inside])
    rank_loss = F.cross_entropy(pick(rank), labels[:, 2].flatten()[inside])
    wanted = location_features(boxes.flatten(0, 1)[inside]).flatten(1)
    place_loss = (pick(place) - wanted).square().mean() * 4
    return shape_loss + color_loss + .5 * rank_loss + place_loss, (shape_loss, color_loss, rank_loss, place_loss)


def token_losses(logits, targets, first_location, sigma):
    """Cross-entropy; location targets are spread over their neighbours."""
    logs = logits.log_softmax(-1)
    loss = -logs.gather(1, targets[:, None])[:, 0]
    is_location = (targets >= first_location) & (targets < first_location + 1024)
    if is_location.any():
        at = targets[is_location] - first_location
        soft = (-.5 * ((torch.arange(1024)[None] - at[:, None]) / sigma) ** 2).exp()
        soft = soft / soft.sum(1, keepdim=True)
        near = -(soft * logs[is_location, first_location:first_location + 1024]).sum(1)
        entropy = -(soft * (soft + 1e-9).log()).sum(1)
        loss = loss.masked_scatter(is_location, near - entropy)
    return loss, is_location


def answer_states(model, h, text, real, dropped, generator=None):
    """Hidden states at the positions that predict something, and what they should predict."""
    b = h.shape[0]
    if dropped:
        cell = torch.arange(64)
        corner = (cell // 8) * 32 + (cell % 8) * 2
        choice = torch.randint(0, 4, (b, 64), generator=generator)
        index = corner + (choice // 2) * 16 + choice % 2
        h = h.gather(1, index[..., None].expand(-1, -1, h.shape[-1]))
    else:
        index = torch.arange(IMAGE_TOKENS).expand(b, -1)
    table = model.embeddings()
    positions = torch.cat((index + 1, text[:, 3].long() + IMAGE_TOKENS + 1), 1)
    mask = build_mask(text, index.shape[1], real)
    x = model.decode(model.project(h), table, text[:, 0].long(), positions, mask)[:, index.shape[1]:]
    targets = text[:, 4].long()
    where = targets >= 0
    return model.logits(x[where], table), targets[where], text[:, 5][where], where


# ---------------------------------------------------------------- optimiser

class Muon:
    """Momentum whose update is orthogonalised (Newton-Schulz, quintic), matrices of one shape together."""

    def __init__(self, parameters):
        self.groups = {}
        for p in parameters:
            self.groups.setdefault(tuple(p.shape), []).append(p)
        self.momentum = {s: torch.zeros(len(ps), *s) for s, ps in self.groups.items()}

    @torch.no_grad()
    def step(self, rate, decay, beta=.95):
        for shape, parameters in self.groups.items():
            grads = torch.stack([p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters])
            m = self.momentum[shape]
            m.mul_(beta).add_(grads)
            x = grads + beta * m
            x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-9)
            tall = shape[0] > shape[1]
            x = (x.transpose(1, 2) if tall else x).to(torch.bfloat16)
            for _ in range(5):
                a = x @ x.transpose(1, 2)
                x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
            x = (x.transpose(1, 2) if tall else x).float()
            scale = .2 * math.sqrt(max(shape))
            for p, update in zip(parameters, x):
                p.mul_(1 - rate * decay).add_(update, alpha=-rate * scale)


def is_matrix(name, p):
    return p.dim() == 2 and ("layers" in name or "projector" in name)


# ---------------------------------------------------------------- validation

class Validation:
    """Answers under teacher forcing: an answer is right if every token is, which is what greedy decoding would give."""

    def __init__(self, config, vocabulary, scenes=160):
        images, texts, self.questions = [], [], []
        for i in range(scenes):
            rng = scene_rng(config["seed"], 1, i)
            scene = make_scene(rng)
            questions = one_of_each(rng, scene.things)
            k = i % len(questions)
            questions = questions[k:] + questions[:k]
            text, used = pack(iter(questions), vocabulary, 144)
            images.append(scene.image)
            texts.append(text)
            self.questions.append(used)
        self.images, self.texts = torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(texts))

    @torch.no_grad()
    def run(self, model, real):
        right, total, overlaps = {}, {}, []
        for a in range(0, len(self.images), 16):
            text = self.texts[a:a + 16]
            logits, targets, _, where = answer_states(model, model.vision(to_patches(self.images[a:a + 16])), text, real, False)
            guess = logits.argmax(-1)
            guesses = torch.full(where.shape, -1).masked_scatter(where, guess)
            for row in range(len(text)):
                for s, question in enumerate(self.questions[a + row]):
                    if real and s:
                        break
                    here = where[row] & (text[row, 1] == s)
                    g, t = guesses[row][here], text[row, 4][here].long()
                    if question.task == "detect":
                        f = model.first_location
                        loc = (t >= f) & (t < f + 1024)
                        if loc.any():
                            p, q = ((v[loc].view(-1, 4) - f).float() for v in (g, t))
                            low, high = torch.maximum(p[:, :2], q[:, :2]), torch.minimum(p[:, 2:], q[:, 2:])
                            inner = (high - low).clamp(min=0).prod(1)
                            area = lambda v: (v[:, 2:] - v[:, :2]).clamp(min=0).prod(1)
                            begun = (g[0] >= f) & (g[0] < f + 1024)  # an empty answer has no boxes
                            inner = inner * begun
                            overlaps += (inner / (area(p) + area(q) - inner).clamp(min=1)).tolist()
                        g, t = g[~loc], t[~loc]
                    right[question.task] = right.get(question.task, 0) + bool((g == t).all())
                    total[question.task] = total.get(question.task, 0) + 1
        scores = {t: round(right[t] / total[t], 3) for t in TASKS if t in total}
        scores["iou"] = round(float(np.mean(overlaps)), 3)
        return scores


# ---------------------------------------------------------------- the run

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=HERE / "config.json")
    parser.add_argument("--state", required=True, help="folder for the training state")
    parser.add_argument("--minutes", type=float, help="instead of the configuration's")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save-every", type=float, default=5, help="minutes")
    parser.add_argument("--validate-every", type=float, default=8, help="minutes")
    args = parser.parse_args()
    config = json.loads(Path(args.config).read_text())
    minutes = args.minutes or config["minutes"]
    torch.set_num_threads(args.threads)
    torch.manual_seed(config["seed"])
    state_dir = Path(args.state)
    state_dir.mkdir(parents=True, exist_ok=True)
    state_file = state_dir / "state.pt"

    vocabulary = Vocabulary()
    model = PaliGemma(vocabulary.size, vocabulary.first_location, config["model"], config["seed"])
    matrices = [p for n, p in model.p.items() if is_matrix(n, p)]
    others = [p for n, p in model.p.items() if not is_matrix(n, p)]
    muon = Muon(matrices)
    adam = torch.optim.AdamW(others, lr=1, betas=(.9, .98), weight_decay=0, foreach=True)
    step, drawn, spent, drop_rng = 0, 0, 0.0, torch.Generator().manual_seed(config["seed"])
    if state_file.exists():
        saved = torch.load(state_file)
        model.load_state_dict(saved["model"])
        muon.momentum = saved["muon"]
        adam.load_state_dict(saved["adam"])
        step, drawn, spent = saved["step"], saved["drawn"], saved["spent"]
        drop_rng.manual_seed(config["seed"] + step)
        print(f"resumed at step {step}, {spent / 60:.1f} min", flush=True)
    model.compile_layers(True)

    context = mp.get_context("spawn")
    queue = context.Queue(maxsize=12)
    worker = context.Process(target=produce, args=(queue, config, drawn), daemon=True)
    worker.start()
    validation = Validation(config, vocabulary)

    def save():
        torch.save({"model": model.state_dict(), "muon": muon.momentum, "adam": adam.state_dict(), "step": step, "drawn": drawn,
                    "spent": time.time() - start + spent, "minutes": minutes}, state_file.with_suffix(".new"))
        os.replace(state_file.with_suffix(".new"), state_file)

    interrupted = []
    signal.signal(signal.SIGTERM, lambda *_: interrupted.append(True))
    start = time.time()
    bounds = np.cumsum(list(config["stages"].values()))
    last_save = last_validation = last_report = start
    seen, sums, waited = 0, {}, 0.0
    while True:
        fraction = (time.time() - start + spent) / (60 * minutes)
        if fraction >= 1 or interrupted:
            break
        stage = tuple(config["stages"])[int(np.searchsorted(bounds, fraction, side="right"))]
        k = tuple(config["stages"]).index(stage)
        first, last = config["rates"][stage]
        progress = (fraction - bounds[k] + config["stages"][stage]) / config["stages"][stage]
        rate = float((first + (last - first) * progress) * min(1, .1 + progress / .03))
        t = time.time()
        draws = [queue.get() for _ in range(config["batch"][stage] // config["draw"])]
        images, text, labels, boxes = (torch.cat(part) for part in zip(*draws))
        drawn += len(draws)
        waited += time.time() - t
        h = model.vision(to_patches(images))
        loss, parts = aux_loss(model.aux(h), labels, boxes)
        record = dict(zip(("a_shape", "a_color", "a_rank", "a_place"), parts))
        loss = loss * config["aux_weight"][stage]
        if stage != "vision":
            low, high = config["location_sigma"]
            sigma = low + (high - low) * fraction
            logits, targets, weights, where = answer_states(model, h, text, stage == "full", stage == "dropped", drop_rng)
            if stage == "full":
                weights = weights * (1 + 2 * (text[:, 1][where] == 0))  # only this question sees what it will see
            losses, is_location = token_losses(logits, targets, vocabulary.first_location, sigma)
            loss = loss + (losses * weights).sum() / weights.sum()
            # words: the share of right non-location tokens; loc: the loss of location tokens
            record["words"] = (logits.argmax(-1) == targets)[~is_location].float().mean()
            record["loc"] = losses[is_location].mean()
            record["lm"] = losses[~is_location].mean()
        for p in model.p.values():
            p.grad = None
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_([p for p in model.p.values() if p.grad is not None], config["clip"])
        muon.step(rate * config["matrix_rate"], config["weight_decay"])
        for group in adam.param_groups:
            group["lr"] = rate * config["other_rate"]
        adam.step()
        step += 1
        seen += len(images)
        record["norm"] = norm
        for k, v in record.items():
            n, s = sums.get(k, (0, 0.0))
            sums[k] = (n + 1, s + float(v.detach()))
        now = time.time()
        if now - last_report > 20:
            print(f"{(now - start + spent) / 60:6.2f} min {stage:8} step {step:6d} {seen / (now - last_report):5.1f} img/s "
                  f"wait {waited:4.1f} rate {rate:.3f} " + " ".join(f"{k} {s / n:.3f}" for k, (n, s) in sums.items()), flush=True)
            last_report, seen, sums, waited = now, 0, {}, 0.0
        if now - last_save > 60 * args.save_every:
            save()
            last_save = now
        if stage != "vision" and now - last_validation > 60 * args.validate_every:
            print("validation", json.dumps(validation.run(model, stage == "full")), flush=True)
            last_validation = time.time()
    save()
    if not interrupted:
        print("validation", json.dumps(validation.run(model, True)), f"steps {step}", flush=True)
    worker.terminate()


if __name__ == "__main__":
    main()
