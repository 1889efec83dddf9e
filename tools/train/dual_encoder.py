"""SigLIP's forward pass written for training speed on a CPU; parameter names are the published checkpoints'.

Both towers are made of the layer of `model.py`; the vision tower's weights are those of a trained PaliGemma and stay as they
are. `evaluate_dual.py` checks this file against transformers.
"""
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import nn

from captions import TEXT_TOKENS
from model import BF16, TOWER, VISION_NAMES, attend, matmul, vision_layer

IMAGE, TEXT = "vision_model.", "text_model."
HEAD = IMAGE + "head."


class DualEncoder(nn.Module):
    def __init__(self, vocabulary_size, config, seed=0):
        super().__init__()
        self.c = c = dict(config)
        generator = torch.Generator().manual_seed(seed)
        self.p = {}

        def add(name, *shape, std=None, value=0.0):
            data = torch.full(shape, value) if std is None else torch.randn(shape, generator=generator) * std
            self.p[name] = nn.Parameter(data)
            self.register_parameter(name.replace(".", "/"), self.p[name])

        def linear(name, out, inner, gain=1.0):
            add(name + ".weight", out, inner, std=gain * inner ** -.5)
            add(name + ".bias", out)

        def norm(name):
            add(name + ".weight", w, value=1.0)
            add(name + ".bias", w)

        w = c["width"]
        self.grid = c["image_size"] // c["patch"]
        depth = 3 * c["patch"] ** 2
        add(IMAGE + "embeddings.patch_embedding.weight", w, 3, c["patch"], c["patch"], std=depth ** -.5)
        add(IMAGE + "embeddings.patch_embedding.bias", w)
        add(IMAGE + "embeddings.position_embedding.weight", self.grid ** 2, w, std=.1)
        add(TEXT + "embeddings.token_embedding.weight", vocabulary_size, w, std=.3)
        add(TEXT + "embeddings.position_embedding.weight", TEXT_TOKENS, w, std=.1)
        for tower, kind in ((IMAGE, "vision"), (TEXT, "text")):
            for i in range(c[kind + "_layers"]):
                layer = f"{tower}encoder.layers.{i}."
                norm(layer + "layer_norm1")
                norm(layer + "layer_norm2")
                for name in "qkv":
                    linear(f"{layer}self_attn.{name}_proj", w, w)
                linear(layer + "self_attn.out_proj", w, w, .5)
                linear(layer + "mlp.fc1", c[kind + "_mlp"], w)
                linear(layer + "mlp.fc2", w, c[kind + "_mlp"], .5)
        norm(IMAGE + "post_layernorm")
        add(HEAD + "probe", 1, 1, w, std=1.0)
        add(HEAD + "attention.in_proj_weight", 3 * w, w, std=w ** -.5)
        add(HEAD + "attention.in_proj_bias", 3 * w)
        linear(HEAD + "attention.out_proj", w, w)
        norm(HEAD + "layernorm")
        linear(HEAD + "mlp.fc1", c["vision_mlp"], w)
        linear(HEAD + "mlp.fc2", w, c["vision_mlp"], .5)
        norm(TEXT + "final_layer_norm")
        linear(TEXT + "head", w, w)
        add("logit_scale", 1, value=math.log(10))
        add("logit_bias", 1, value=-4.0)   # SigLIP starts at -10, for far fewer true pairs among all
        self.locked = [n for n in self.p if n.startswith(IMAGE) and not n.startswith(HEAD)]
        for name in self.locked:
            self.p[name].requires_grad = False

    def load_tower(self, folder):
        """The vision tower of a PaliGemma checkpoint."""
        with safe_open(Path(folder) / "model.safetensors", "pt") as file, torch.no_grad():
            for name in self.locked:
                self.p[name].copy_(file.get_tensor(TOWER + name.removeprefix(IMAGE)))

    def encode(self, x, tower, kind):
        for i in range(self.c[kind + "_layers"]):
            x = vision_layer(x, self.c["heads"], *(self.p[f"{tower}encoder.layers.{i}.{n}"] for n in VISION_NAMES))
        return x

    def norm(self, x, name):
        return F.layer_norm(x, (x.shape[-1],), self.p[name + ".weight"], self.p[name + ".bias"], 1e-6)

    def linear(self, x, name):
        return matmul(x, self.p[name + ".weight"], self.p[name + ".bias"]).float()

    def states(self, pixels):
        """[n, size, size, 3] uint8 -> the patches' final states [n, grid^2, width]."""
        n, g, s = len(pixels), self.grid, self.c["patch"]
        x = pixels.view(n, g, s, g, s, 3).permute(0, 1, 3, 5, 2, 4).reshape(n, g * g, 3 * s * s)
        x = (x.float() / 127.5 - 1).to(BF16)
        weight = self.p[IMAGE + "embeddings.patch_embedding.weight"].flatten(1)
        x = matmul(x, weight, self.p[IMAGE + "embeddings.patch_embedding.bias"]).float()
        x = x + self.p[IMAGE + "embeddings.position_embedding.weight"]
        return self.norm(self.encode(x, IMAGE, "vision"), IMAGE + "post_layernorm")

    def images(self, states):
        """[n, patches, width] -> unit vectors [n, width]: one query attends to the patches."""
        n, rows, w = states.shape
        heads = self.c["heads"]
        weight, bias = (self.p[HEAD + "attention.in_proj_" + n] for n in ("weight", "bias"))
        q = F.linear(self.p[HEAD + "probe"][0], weight[:w], bias[:w]).view(1, heads, 1, w // heads).expand(n, -1, -1, -1)
        k, v = matmul(states, weight[w:], bias[w:]).float().view(n, rows, 2, heads, w // heads).permute(2, 0, 3, 1, 4)
        a = self.linear(attend(q, k, v).reshape(n, w), HEAD + "attention.out_proj")
        h = F.gelu(self.linear(self.norm(a, HEAD + "layernorm"), HEAD + "mlp.fc1"), approximate="tanh")
        return F.normalize(a + self.linear(h, HEAD + "mlp.fc2"), dim=-1)

    def texts(self, ids, positions):
        """ids [n, t] at these positions [t], the last of which is pooled -> unit vectors [n, width]."""
        x = F.embedding(ids, self.p[TEXT + "embeddings.token_embedding.weight"])
        x = x + self.p[TEXT + "embeddings.position_embedding.weight"][positions]
        x = self.norm(self.encode(x, TEXT, "text")[:, -1], TEXT + "final_layer_norm")
        return F.normalize(self.linear(x, TEXT + "head"), dim=-1)

    def logits(self, images, texts):
        """[images, texts]"""
        return self.p["logit_scale"].exp() * images @ texts.t() + self.p["logit_bias"]

    def exported(self):
        """The checkpoint's tensors in bfloat16."""
        return {k: v.detach().to(BF16).contiguous() for k, v in self.p.items()}
