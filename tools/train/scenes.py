"""Scenes of one to four shapes, the questions about them and the right answers.

Everything is drawn from a numpy Generator, so a seed names a scene. Lengths are in pixels of a 224 x 224 image.
"""
import colorsys
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

SIZE = 224
GRID = 16
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
PLURALS = {s: s + ("es" if s == "cross" else "s") for s in SHAPES}
# hue in degrees, saturation and value in 0..1, each as (low, high)
COLORS = {
    "red": ((-8, 6), (.80, 1), (.72, .98)),
    "orange": ((22, 33), (.85, 1), (.90, 1)),
    "yellow": ((50, 58), (.75, 1), (.88, 1)),
    "green": ((100, 140), (.65, 1), (.42, .75)),
    "blue": ((212, 236), (.70, 1), (.60, .98)),
    "purple": ((272, 296), (.55, .95), (.42, .75)),
    "white": ((0, 360), (0, .05), (.94, 1)),
    "black": ((0, 360), (0, .50), (.02, .11)),
}
# The shifted colours lie outside the ranges above and nearer to no other name.
SHIFTED_COLORS = {
    "red": ((-20, -13), (.80, 1), (.72, .98)),
    "orange": ((35, 38), (.85, 1), (.90, 1)),
    "yellow": ((61, 66), (.75, 1), (.88, 1)),
    "green": ((145, 158), (.65, 1), (.42, .75)),
    "blue": ((200, 208), (.70, 1), (.60, .98)),
    "purple": ((300, 310), (.55, .95), (.42, .75)),
    "white": ((0, 360), (0, .05), (.86, .91)),
    "black": ((0, 360), (0, .30), (.14, .19)),
}
BACKGROUNDS = ("plain", "gradient", "noise", "stripes", "tiles", "clouds")
SHIFTED_BACKGROUNDS = ("checker", "waves")
TASKS = ("caption", "color", "shape", "count", "existence", "relation", "detect")
MIN_OFFSET = 14      # a relation is asked only where the centres differ by as many pixels along its axis
MIN_COLUMN_GAP = 10  # captions go from left to right, so no two centres may share a column


@dataclass(frozen=True)
class Style:
    """What a scene may look like. The defaults are the training styles; SHIFTS holds those kept out."""
    name: str = "train"
    backgrounds: tuple = BACKGROUNDS
    radius: tuple = (17, 44)
    colors: str = "train"
    line_width: tuple = (3, 6)
    ring_width: tuple = (.26, .45)
    outlined: float = .3


SHIFTS = (
    Style("background", backgrounds=SHIFTED_BACKGROUNDS),
    Style("small", radius=(13, 15.5)),
    Style("large", radius=(47, 54)),
    Style("line", radius=(26, 44), line_width=(1.7, 2.3), ring_width=(.12, .18), outlined=1),
    Style("hue", colors="shifted"),
)


@dataclass
class Thing:
    shape: str
    color: str
    rgb: tuple
    x: float
    y: float
    radius: float
    angle: float
    outline: float   # line width, 0 for a filled shape
    detail: float    # inner radius of a star, arm width of a cross, line width of a ring: all as a part of the radius
    box: tuple = ()  # y1, x1, y2, x2 in 0..1

    @property
    def name(self):
        return f"{self.color} {self.shape}"

    @property
    def center(self):
        y1, x1, y2, x2 = self.box
        return (x1 + x2) / 2 * SIZE, (y1 + y2) / 2 * SIZE


@dataclass
class Scene:
    image: np.ndarray    # [size, size, 3] uint8
    things: list         # from left to right
    patches: np.ndarray  # [16, 16] index of the thing in a patch, or -1
    background: str


def uniform(rng, bounds):
    return rng.uniform(bounds[0], bounds[1])


def draw_color(rng, name, table):
    hue, saturation, value = table[name]
    return colorsys.hsv_to_rgb(uniform(rng, hue) % 360 / 360, uniform(rng, saturation), uniform(rng, value))


# ---------------------------------------------------------------- backgrounds

_NOISE = np.random.default_rng(0).standard_normal((512, 512, 3), dtype=np.float32)


def noise(rng, size):
    y, x = rng.integers(0, 512, 2)
    tile = np.roll(_NOISE, (-y, -x), (0, 1)) if size > 448 else _NOISE
    if size <= 448:
        y, x = rng.integers(0, 513 - size, 2)
        tile = tile[y:y + size, x:x + size]
        if rng.random() < .5:
            tile = tile[::-1]
    return tile[:size, :size]


def background_colors(rng, avoid):
    """Two pale or greyish colours, both far from every object's colour."""
    best, best_distance = None, -1
    for _ in range(60):
        base = np.array(colorsys.hsv_to_rgb(rng.random(), rng.random() * .35, rng.uniform(.22, .95)))
        other = np.clip(base + rng.choice((-1, 1)) * rng.uniform(.06, .26) + rng.normal(0, .03, 3), 0, 1)
        distance = min(float(np.linalg.norm(np.asarray(a) - b)) for a in avoid for b in (base, other))
        if distance > .36:
            return base, other
        if distance > best_distance:
            best, best_distance = (base, other), distance
    return best


def paint_background(rng, kind, avoid, size):
    a, b = (c.astype(np.float32) for c in background_colors(rng, avoid))
    scale = size / SIZE
    ys, xs = np.mgrid[0:size, 0:size].astype(np.float32) / scale
    if kind in ("plain", "noise"):
        t = np.zeros((size, size), np.float32)
    elif kind == "gradient":
        angle = rng.uniform(0, 2 * math.pi)
        u = math.cos(angle) * xs + math.sin(angle) * ys
        t = (u - u.min()) / (u.max() - u.min())
    elif kind in ("stripes", "waves"):
        angle, period = rng.uniform(0, math.pi), rng.uniform(8, 44)
        u = math.cos(angle) * xs + math.sin(angle) * ys
        if kind == "waves":
            v = math.cos(angle) * ys - math.sin(angle) * xs
            u = u + rng.uniform(6, 14) * np.sin(v * (2 * math.pi / rng.uniform(40, 90)))
        phase = (u / period + rng.random()) % 1
        edge = period / 2
        t = np.clip(.5 + (.25 - np.abs(phase - .5)) * 2 * edge, 0, 1)
    elif kind == "tiles":
        period, joint = rng.uniform(22, 58), rng.uniform(1.5, 4)
        row = np.floor(ys / period + .3)
        shift = row * .5 * rng.integers(0, 2)
        u, v = (xs / period + .6 + shift) % 1 * period, (ys / period + .3) % 1 * period
        t = np.clip(joint - np.minimum(u, v), 0, 1)
        shade = rng.uniform(0, .3) * rng.random((16, 16), dtype=np.float32)
        column = np.floor(xs / period + .6 + shift)
        t = np.maximum(t, shade[row.astype(int) % 16, column.astype(int) % 16])
    elif kind == "checker":
        period = rng.uniform(14, 40)
        t = ((np.floor(xs / period + .3) + np.floor(ys / period + .6)) % 2).astype(np.float32)
    else:  # clouds
        cells = int(rng.integers(4, 15))
        coarse = Image.fromarray((rng.random((cells, cells)) * 255).astype(np.uint8))
        t = np.asarray(coarse.resize((size, size), Image.BICUBIC), np.float32) / 255
    image = a + (b - a) * t[..., None]
    if kind == "noise":
        image = image + noise(rng, size) * rng.uniform(.03, .11)
    elif rng.random() < .25:
        image = image + noise(rng, size) * .02
    return image


# ---------------------------------------------------------------- shapes

def corners(thing):
    """Corner points on the unit circle's scale, before rotation."""
    if thing.shape == "square":
        turns, radii = np.arange(4) / 4 + .125, np.ones(4)
    elif thing.shape == "triangle":
        turns, radii = np.arange(3) / 3, np.ones(3)
    elif thing.shape == "star":
        turns, radii = np.arange(10) / 10, np.tile((1, thing.detail), 5)
    else:  # cross
        w = thing.detail
        points = np.array([(1, -w), (1, w), (w, w), (w, 1), (-w, 1), (-w, w),
                           (-1, w), (-1, -w), (-w, -w), (-w, -1), (w, -1), (w, -w)])
        return points / math.hypot(1, w)
    angle = 2 * math.pi * turns
    return np.stack((np.cos(angle), np.sin(angle)), 1) * radii[:, None]


def draw_shape(draw, thing, cx, cy, scale, fill=255, solid=False):
    radius = thing.radius * scale
    if thing.shape in ("circle", "ring"):
        draw.ellipse((cx - radius, cy - radius, cx + radius, cy + radius), fill=fill)
        if thing.shape == "ring" and not solid:
            inner = radius * (1 - thing.detail)
            draw.ellipse((cx - inner, cy - inner, cx + inner, cy + inner), fill=0)
        return
    c, s = math.cos(thing.angle), math.sin(thing.angle)
    width = thing.outline * scale
    points = corners(thing) @ np.array(((c, s), (-s, c))) * (radius - width / 2) + (cx, cy)
    points = [tuple(p) for p in points]
    if thing.outline and not solid:
        draw.line(points + points[:2], fill=fill, width=max(1, round(width)), joint="curve")
    else:
        draw.polygon(points, fill=fill)


def paste(image, thing, size, supersampling=3):
    """Blends the thing into the image and sets its box from the pixels it covers at least by half."""
    scale = size / SIZE
    x, y, reach = thing.x * scale, thing.y * scale, thing.radius * scale + 2
    x0, y0 = max(0, int(x - reach)), max(0, int(y - reach))
    x1, y1 = min(size, int(x + reach) + 2), min(size, int(y + reach) + 2)
    s = supersampling
    canvas = Image.new("L", ((x1 - x0) * s, (y1 - y0) * s))
    draw_shape(ImageDraw.Draw(canvas), thing, (x - x0) * s - .5, (y - y0) * s - .5, scale * s)
    mask = np.asarray(canvas.reduce(s), np.float32) / 255
    region = image[y0:y1, x0:x1]
    region += (np.asarray(thing.rgb, np.float32) - region) * mask[..., None]
    covered = mask >= .5
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    thing.box = ((y0 + rows[0]) / size, (x0 + columns[0]) / size,
                 (y0 + rows[-1] + 1) / size, (x0 + columns[-1] + 1) / size)


def patch_owners(things):
    scale = 2 * GRID / SIZE
    canvas = Image.new("L", (2 * GRID, 2 * GRID))
    draw = ImageDraw.Draw(canvas)
    for k, thing in enumerate(things):
        draw_shape(draw, thing, thing.x * scale - .5, thing.y * scale - .5, scale, fill=k + 1, solid=True)
    owners = np.asarray(canvas, np.int64).reshape(GRID, 2, GRID, 2)
    return owners.max((1, 3)) - 1


def place(rng, radii):
    """Centres of discs that keep apart and differ in their columns, or None."""
    centers = []
    for radius in radii:
        for _ in range(40):
            x, y = rng.uniform(radius + 3, SIZE - radius - 3, 2)
            if all(abs(x - a) >= MIN_COLUMN_GAP + 6 and math.hypot(x - a, y - b) >= (radius + r) * .97 + 3
                   for (a, b), r in zip(centers, radii)):
                centers.append((x, y))
                break
        else:
            return None
    return centers


def make_scene(rng, style=Style(), size=SIZE, count=None):
    table = SHIFTED_COLORS if style.colors == "shifted" else COLORS
    while True:
        n = count or int(rng.choice(4, p=(.15, .25, .30, .30))) + 1
        low, high = style.radius
        if style.name == "large":
            n = min(n, 2)
        elif n > 2:
            high = max(low, min(high, 36))
        radii = [uniform(rng, (low, high)) for _ in range(n)]
        centers = place(rng, radii)
        if centers is None:
            continue
        things = []
        for (x, y), radius in zip(centers, radii):
            shape, color = SHAPES[rng.integers(6)], tuple(COLORS)[rng.integers(8)]
            if things and rng.random() < .25:      # scenes with something in common make harder questions
                shape = things[-1].shape
            elif things and rng.random() < .2:
                color = things[-1].color
            outlined = shape not in ("circle", "ring") and rng.random() < style.outlined
            detail = {"star": uniform(rng, (.38, .50)), "cross": uniform(rng, (.25, .37)),
                      "ring": uniform(rng, style.ring_width)}.get(shape, 0)
            outline = uniform(rng, style.line_width) if outlined else 0
            if outlined and style.name == "train" and shape in ("star", "cross"):
                outline = min(outline, radius * .16)    # the inside must stay visible
            things.append(Thing(shape, color, draw_color(rng, color, table), x, y, radius,
                                rng.uniform(0, 2 * math.pi), outline, detail))
        if len({t.name for t in things}) < n and rng.random() < .7:
            continue                                # twins are allowed, but rarely
        background = style.backgrounds[rng.integers(len(style.backgrounds))]
        image = paint_background(rng, background, [t.rgb for t in things], size)
        for thing in things:
            paste(image, thing, size)
        things.sort(key=lambda t: t.center[0])
        if any(b.center[0] - a.center[0] < MIN_COLUMN_GAP for a, b in zip(things, things[1:])):
            continue
        if rng.random() < .2:
            image = image + noise(rng, size) * .012
        pixels = (np.clip(image, 0, 1) * 255 + .5).astype(np.uint8)
        return Scene(pixels, things, patch_owners(things), background)


# ---------------------------------------------------------------- questions

@dataclass
class Question:
    task: str
    prompt: str
    answer: str
    boxes: tuple = ()


def article(words):
    return ("an " if words[0] in "aeiou" else "a ") + words


def loc(value):
    return f"<loc{min(1023, max(0, round(value * 1023))):04d}>"


def pick(rng, items):
    return items[rng.integers(len(items))]


def caption(names):
    parts = [article(name) for name in names]
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def ask_caption(rng, things):
    return Question("caption", "caption en", caption([t.name for t in things]))


def ask_color(rng, things):
    shapes = [t.shape for t in things]
    single = [t for t in things if shapes.count(t.shape) == 1]
    if single:
        thing = pick(rng, single)
        return Question("color", f"answer en what color is the {thing.shape}?", thing.color)


def ask_shape(rng, things):
    colors = [t.color for t in things]
    single = [t for t in things if colors.count(t.color) == 1]
    if single:
        thing = pick(rng, single)
        return Question("shape", f"answer en what shape is the {thing.color} object?", thing.shape)


def ask_count(rng, things):
    kind = rng.random()
    if kind < .3:
        what, n = "objects", len(things)
    elif kind < .7:
        shape = pick(rng, things).shape if rng.random() < .75 else pick(rng, SHAPES)
        what, n = PLURALS[shape], sum(t.shape == shape for t in things)
    else:
        color = pick(rng, things).color if rng.random() < .75 else pick(rng, tuple(COLORS))
        what, n = color + " objects", sum(t.color == color for t in things)
    return Question("count", f"answer en how many {what} are there?", str(n))


def absent_name(rng, things):
    """A name that no thing has; half of the time its shape and its colour both occur."""
    names = {t.name for t in things}
    while True:
        if rng.random() < .5 and len(things) > 1:
            name = f"{pick(rng, things).color} {pick(rng, things).shape}"
        elif rng.random() < .5:
            name = f"{pick(rng, tuple(COLORS))} {pick(rng, things).shape}"
        else:
            name = f"{pick(rng, tuple(COLORS))} {pick(rng, SHAPES)}"
        if name not in names:
            return name
        if rng.random() < .2:
            things = [Thing(pick(rng, SHAPES), pick(rng, tuple(COLORS)), (), 0, 0, 0, 0, 0, 0)]


def ask_existence(rng, things):
    kind, present = rng.random(), rng.random() < .5
    if kind < .6:
        what = pick(rng, things).name if present else absent_name(rng, things)
    elif kind < .8:
        missing = [s for s in SHAPES if all(t.shape != s for t in things)]
        what = pick(rng, things).shape if present else pick(rng, missing)
    else:
        missing = [c for c in COLORS if all(t.color != c for t in things)]
        what = (pick(rng, things).color if present else pick(rng, missing)) + " object"
    return Question("existence", f"answer en is there {article(what)}?", "yes" if present else "no")


def ask_relation(rng, things):
    names, shapes = [t.name for t in things], [t.shape for t in things]
    named = [t for t in things if names.count(t.name) == 1]
    if len(named) < 2:
        return None
    for _ in range(8):
        first, second = (named[i] for i in rng.permutation(len(named))[:2])
        (ax, ay), (bx, by) = first.center, second.center
        across = rng.random() < .5
        if abs(ax - bx if across else ay - by) < MIN_OFFSET:
            continue
        words = [t.shape if shapes.count(t.shape) == 1 and rng.random() < .4 else t.name for t in (first, second)]
        choice = "left or right of" if across else "above or below"
        answer = ("left" if ax < bx else "right") if across else ("above" if ay < by else "below")
        return Question("relation", f"answer en is the {words[0]} {choice} the {words[1]}?", answer)


def detect(phrases, things):
    parts, boxes = [], []
    for phrase in phrases:
        for thing in things:
            if phrase in (thing.name, thing.shape):
                parts.append("".join(loc(v) for v in thing.box) + " " + phrase)
                boxes.append(thing.box)
    return Question("detect", "detect " + " ; ".join(phrases), " ; ".join(parts), tuple(boxes))


def ask_detect(rng, things, absent=.2):
    phrases = []
    for _ in range(1 if rng.random() < .5 else 2):
        if rng.random() < absent:
            phrase = absent_name(rng, things)
            if rng.random() < .3:
                missing = [s for s in SHAPES if all(t.shape != s for t in things)]
                phrase = pick(rng, missing)
        else:
            thing = pick(rng, things)
            phrase = thing.shape if rng.random() < .4 else thing.name
        if all(phrase not in p and p not in phrase for p in phrases):
            phrases.append(phrase)
    return detect(phrases, things)


ASK = {"caption": ask_caption, "color": ask_color, "shape": ask_shape, "count": ask_count,
       "existence": ask_existence, "relation": ask_relation, "detect": ask_detect}


def one_of_each(rng, things):
    """One question of every task that the scene allows without ambiguity; detect also once for something absent."""
    questions = [q for q in (ASK[task](rng, things) for task in TASKS) if q]
    questions[-1] = ask_detect(rng, things, absent=0)
    questions.append(detect([absent_name(rng, things)], things))
    return questions


def scene_rng(seed, stream, index):
    """Streams: 0 training, 1 validation, 2 held out, 3 shifted, 4 examples, 5 one object held out, 6 test values; all differ."""
    return np.random.default_rng((seed, stream, index))
