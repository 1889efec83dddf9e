"""Training scenes as the locked vision tower sees them: the states of their patches on disk, in chunks."""
import os
from pathlib import Path

import numpy as np
import torch

from scenes import COLORS, SHAPES, make_scene, scene_rng

CHUNK = 250
FIRST = 1_000_000   # no scene that the tower was trained on
NOTHING = -1


def objects_of(scene):
    """[4, 2] shape and colour from left to right, -1 where there is none."""
    objects = np.full((4, 2), NOTHING, np.int8)
    for k, thing in enumerate(scene.things):
        objects[k] = SHAPES.index(thing.shape), tuple(COLORS).index(thing.color)
    return objects


@torch.no_grad()
def states_of(model, scenes, batch=10):
    """[n, patches, width] in bfloat16."""
    images = torch.from_numpy(np.stack([s.image for s in scenes]))
    return torch.cat([model.states(part).to(torch.bfloat16) for part in images.split(batch)])


def chunk_path(folder, chunk):
    return Path(folder) / f"{chunk:03d}.pt"


def render(folder, seed, chunks, model):
    """Writes those of the chunks that are not there yet."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for chunk in chunks:
        path = chunk_path(folder, chunk)
        if not path.exists():
            scenes = [make_scene(scene_rng(seed, 0, FIRST + chunk * CHUNK + i)) for i in range(CHUNK)]
            part = states_of(model, scenes), torch.from_numpy(np.stack([objects_of(s) for s in scenes]))
            torch.save(part, path.with_suffix(".new"))
            os.replace(path.with_suffix(".new"), path)


class SceneCache:
    def __init__(self, folder, chunks):
        self.chunks = [torch.load(chunk_path(folder, chunk)) for chunk in range(chunks)]

    def draw(self, rng, count):
        """States [n, patches, width] and objects [n, 4, 2]."""
        drawn = [[part[i] for part in self.chunks[c]]
                 for c, i in zip(rng.integers(len(self.chunks), size=count), rng.integers(CHUNK, size=count))]
        return tuple(torch.stack(part) for part in zip(*drawn))
