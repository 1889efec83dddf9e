"""PaliGemma's forward pass written for training speed on a CPU; parameter names are the published checkpoints'.

Matrix products run in bfloat16, norms, attention's softmax and activations in float32. One layer is one compiled
function that all layers share. `evaluate.py` checks this file against transformers.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn

CONFIG = dict(vision_width=128, vision_layers=4, vision_heads=4, vision_mlp=512,
              width=160, layers=5, heads=4, head_dim=64, mlp=512, patches=256, patch=14)
FREQUENCIES = [.5 * 1.62 ** k for k in range(10)]  # cycles per image of the location features
BF16 = torch.bfloat16


def matmul(x, weight, bias=None):
    y = x.to(BF16) @ weight.to(BF16).t()
    return y if bias is None else y + bias.to(BF16)


def attend(q, k, v, mask=None):
    """q, k, v: [batch, heads, rows, d], k and v with one head or as many as q; products in bfloat16, softmax in float32."""
    batch, heads, rows, d = q.shape
    if not torch.compiler.is_compiling():  # uncompiled, products in bfloat16 take several times as long as this
        return F.scaled_dot_product_attention(q, *(t.expand(-1, heads, -1, -1) for t in (k, v)), attn_mask=mask)
    if k.shape[1] < heads:  # one product for all heads that share keys and values
        q = q.reshape(batch, 1, heads * rows, d)
    scores = (q.to(BF16) @ k.to(BF16).transpose(-1, -2)).float().view(batch, heads, rows, -1) * d ** -.5
    weights = (scores if mask is None else scores + mask).softmax(-1).to(BF16)
    return (weights.view(batch, k.shape[1], -1, k.shape[2]) @ v.to(BF16)).float().view(batch, heads, rows, d)


def vision_layer(x, heads, n1w, n1b, qw, qb, kw, kb, vw, vb, ow, ob, n2w, n2b, w1, b1, w2, b2):
    batch, rows, width = x.shape
    h = F.layer_norm(x, (width,), n1w, n1b, 1e-6)
    qkv = matmul(h, torch.cat((qw, kw, vw)), torch.cat((qb, kb, vb))).float()
    q, k, v = qkv.view(batch, rows, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    a = attend(q, k, v)
    x = x + matmul(a.transpose(1, 2).reshape(batch, rows, width), ow, ob).float()
    h = F.layer_norm(x, (width,), n2w, n2b, 1e-6)
    h = F.gelu(matmul(h, w1, b1).float(), approximate="tanh")
    return x + matmul(h, w2, b2).float()


def rms_norm(x, weight):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * (1 + weight)


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def decoder_layer(x, cos, sin, mask, heads, n1, qw, kw, vw, ow, n2, gate, up, down):
    batch, rows, width = x.shape
    d = kw.shape[0]
    qkv = matmul(rms_norm(x, n1), torch.cat((qw, kw, vw))).float().view(batch, rows, heads + 2, d).transpose(1, 2)
    q, k, v = qkv.split((heads, 1, 1), 1)
    q, k = rotate(q, cos, sin), rotate(k, cos, sin)
    if rows < 256:  # what is faster on a CPU
        a = attend(q, k, v, mask)
    else:
        a = F.scaled_dot_product_attention(q, k.expand_as(q), v.expand_as(q), attn_mask=mask)
    x = x + matmul(a.transpose(1, 2).reshape(batch, rows, heads * d), ow).float()
    h = rms_norm(x, n2)
    g, u = matmul(h, torch.cat((gate, up))).float().chunk(2, -1)
    return x + matmul(F.gelu(g, approximate="tanh") * u, down).float()


VISION_NAMES = [f"{n}.{p}" for n in ("layer_norm1", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                     "self_attn.out_proj", "layer_norm2", "mlp.fc1", "mlp.fc2") for p in ("weight", "bias")]
DECODER_NAMES = [f"{n}.weight" for n in ("input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                         "self_attn.o_proj", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj",
                                         "mlp.down_proj")]
TOWER, DECODER, PROJECTOR = "vision_tower.vision_model.", "language_model.model.", "multi_modal_projector.linear."
AUX_SHAPES, AUX_COLORS, AUX_RANKS = 7, 8, 4
AUX_OUTPUTS = AUX_SHAPES + AUX_COLORS + AUX_RANKS + 8 * len(FREQUENCIES)


def location_features(values):
    """[n] in 0..1 -> [n, 20] of cos and sin."""
    angles = values[..., None] * torch.tensor([2 * math.pi * f for f in FREQUENCIES])
    return torch.cat((angles.cos(), angles.sin()), -1)


class PaliGemma(nn.Module):
    def __init__(self, vocabulary_size, first_location, config=None, seed=0):
        super().__init__()
        self.c = c = dict(CONFIG, **(config or {}))
        self.first_location = first_location
        generator = torch.Generator().manual_seed(seed)
        self.p = {}

        def add(name, *shape, std=None, value=0.0):
            data = torch.full(shape, value) if std is None else torch.randn(shape, generator=generator) * std
            self.p[name] = nn.Parameter(data)
            self.register_parameter(name.replace(".", "/"), self.p[name])

        w, m = c["vision_width"], c["vision_mlp"]
        add(TOWER + "embeddings.patch_embedding.weight", w, 3, 14, 14, std=588 ** -.5)
        add(TOWER + "embeddings.patch_embedding.bias", w)
        add(TOWER + "embeddings.position_embedding.weight", c["patches"], w, std=.1)
        shapes = {"self_attn": (w, w), "mlp.fc1": (m, w), "mlp.fc2": (w, m)}
        for i in range(c["vision_layers"]):
            for name in VISION_NAMES:
                full = f"{TOWER}encoder.layers.{i}.{name}"
                if "layer_norm" in name:
                    add(full, w, value=float(name.endswith("weight")))
                else:
                    shape = next(s for k, s in shapes.items() if name.startswith(k))
                    if name.endswith("bias"):
                        add(full, shape[0])
                    else:
                        small = .5 if "out_proj" in name or "fc2" in name else 1
                        add(full, *shape, std=small * shape[1] ** -.5)
        add(TOWER + "post_layernorm.weight", w, value=1.0)
        add(TOWER + "post_layernorm.bias", w)
        d, q, f = c["width"], c["heads"] * c["head_dim"], c["mlp"]
        add(PROJECTOR + "weight", d, w, std=w ** -.5)
        add(PROJECTOR + "bias", d)
        add(DECODER + "embed_tokens.weight", vocabulary_size, d, std=.04)
        shapes = {"q_proj": (q, d), "k_proj": (c["head_dim"], d), "v_proj": (c["head_dim"], d), "o_proj": (d, q),
                  "gate_proj": (f, d), "up_proj": (f, d), "down_proj": (d, f)}
        for i in range(c["layers"]):
            for name in DECODER_NAMES:
                full = f"{DECODER}layers.{i}.{name}"
                if "layernorm" in name:
                    add(full, d)
                else:
                    shape = shapes[name.split(".")[1]]
                    small = .5 if "o_proj" in name or "down_proj" in name else 1
                    add(full, *shape, std=small * shape[1] ** -.5)
        add(DECODER + "norm.weight", d)
        # For training only: location embeddings as smooth functions of the coordinate, and what the patches show.
        add("training.location", 2 * len(FREQUENCIES), d, std=.04 * len(FREQUENCIES) ** -.5)
        add("training.aux.weight", AUX_OUTPUTS, w, std=w ** -.5)
        add("training.aux.bias", AUX_OUTPUTS)
        self.register_buffer("features", location_features((torch.arange(1024) / 1023)), persistent=False)
        with torch.no_grad():
            self.p[DECODER + "embed_tokens.weight"][first_location:first_location + 1024] *= .1
        self.compile_layers(False)

    def compile_layers(self, yes):
        wrap = (lambda f: torch.compile(f, dynamic=False)) if yes else (lambda f: f)
        self.vision_layer, self.decoder_layer = wrap(vision_layer), wrap(decoder_layer)

    def embeddings(self):
        table = self.p[DECODER + "embed_tokens.weight"]
        a = self.first_location
        return torch.cat((table[:a], table[a:a + 1024] + self.features @ self.p["training.location"], table[a + 1024:]))

    def vision(self, patches):
        """patches: [batch, 256, 588], each patch as channel, row, column."""
        p = self.p
        x = matmul(patches, p[TOWER + "embeddings.patch_embedding.weight"].flatten(1),
                   p[TOWER + "embeddings.patch_embedding.bias"]).float()
        x = x + p[TOWER + "embeddings.position_embedding.weight"]
        for i in range(self.c["vision_layers"]):
            x = self.vision_layer(x, self.c["vision_heads"], *(p[f"{TOWER}encoder.layers.{i}.{n}"] for n in VISION_NAMES))
        return F.layer_norm(x, (x.shape[-1],), p[TOWER + "post_layernorm.weight"], p[TOWER + "post_layernorm.bias"], 1e-6)

    def aux(self, h):
        return matmul(h, self.p["training.aux.weight"], self.p["training.aux.bias"]).float()

    def project(self, h):
        return matmul(h, self.p[PROJECTOR + "weight"], self.p[PROJECTOR + "bias"]).float()

    def decode(self, images, table, tokens, positions, mask):
        """images [batch, n, width], tokens [batch, t], positions [batch, n + t], mask [batch, 1, n + t, n + t] additive."""
        d, p = self.c["head_dim"], self.p
        x = torch.cat((images, F.embedding(tokens, table) * math.sqrt(self.c["width"])), 1)
        inverse = 10000 ** (-torch.arange(0, d, 2) / d)
        angles = positions[:, None, :, None] * inverse
        cos, sin = angles.cos(), angles.sin()
        for i in range(self.c["layers"]):
            x = self.decoder_layer(x, cos, sin, mask, self.c["heads"],
                                   *(p[f"{DECODER}layers.{i}.{n}"] for n in DECODER_NAMES))
        return x

    def logits(self, x, table):
        return matmul(rms_norm(x, self.p[DECODER + "norm.weight"]), table).float()

    def exported(self):
        """The checkpoint's tensors in bfloat16, without what only training needs."""
        tensors = {k: v.detach().to(BF16).contiguous() for k, v in self.p.items() if not k.startswith("training.")}
        tensors[DECODER + "embed_tokens.weight"] = self.embeddings().detach().to(BF16).contiguous()
        return tensors
