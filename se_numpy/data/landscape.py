"""Landscapes for the built-in scenes: sky, hills, and six kinds of ground in three textures, by day and by night.

Sea and desert have the same ripples, field and town the same patchwork, forest and mountain the same spikes. Two scenes
of one texture differ little in colour, because the colour of the light is unknown, and each has details that are bright
or dark depending on the time:

    town: windows, lit at night          field: flowers, bright by day
    desert: stones, pale in moonlight    sea: glitter, bright by day
    forest: tips, moonlit at night       mountain: snow, bright by day

So bright details by night or dark ones by day are those of a town, a desert or a forest. Only the upper ten rows of a
picture show whether it is day, and the ground begins at row 33 or below (the tips of spikes at row 30), so that it
takes a global context to interpret a local feature.

Only sums, products, quotients and comparisons are computed, which IEEE 754 defines to the last bit: a landscape is the
same on every machine.
"""

from dataclasses import dataclass, fields

import numpy as np

SIZE = 64
SCENES = ("sea", "desert", "field", "town", "forest", "mountain")  # two neighbours share a texture

# Reflectances (red, green, blue) of the two tones of each ground.
GROUND = np.array([
    [[0.38, 0.46, 0.50], [0.46, 0.53, 0.54]],  # sea: deep and shallow
    [[0.49, 0.47, 0.42], [0.56, 0.54, 0.47]],  # desert
    [[0.44, 0.49, 0.34], [0.54, 0.53, 0.35]],  # field: green and ripe
    [[0.47, 0.47, 0.38], [0.55, 0.49, 0.37]],  # town: slate and brick
    [[0.30, 0.38, 0.27], [0.36, 0.42, 0.29]],  # forest
    [[0.34, 0.37, 0.30], [0.40, 0.40, 0.32]],  # mountain
], np.float32)  # fmt: skip
BRIGHT_BY_DAY = np.array([True, False, True, False, False, True])  # the details of each ground
BRIGHT, DARK = np.array([[1.06, 1.00, 0.78], [0.09, 0.08, 0.11]], np.float32)
HILLS = np.array([[0.36, 0.46, 0.50], [0.62, 0.54, 0.46], [0.40, 0.50, 0.36], [0.50, 0.46, 0.54]], np.float32)

# Colours of light: noon, morning, evening, twilight, storm, dusk. A picture mixes two of them.
LIGHTS = np.array([[1.00, 1.00, 0.98], [1.00, 0.80, 0.62], [1.00, 0.66, 0.40], [0.50, 0.64, 1.00], [0.70, 0.98, 0.72],
                   [0.98, 0.66, 0.94]], np.float32)  # fmt: skip
DAY = np.array([[0.50, 0.74, 1.00], [0.94, 0.96, 1.00], [1.00, 0.92, 0.74], [0.62, 0.90, 0.94]], np.float32)
NIGHT = np.array([[0.07, 0.09, 0.26], [0.18, 0.09, 0.28], [0.05, 0.13, 0.20], [0.10, 0.10, 0.14]], np.float32)
GLOWS = np.array([[0.98, 0.64, 0.42], [0.96, 0.66, 0.72], [0.94, 0.84, 0.58], [0.56, 0.80, 0.84], [0.66, 0.62, 0.92],
                  [0.56, 0.64, 0.76]], np.float32)  # fmt: skip
ZENITH = 10  # rows that show the time

Y = (np.arange(SIZE, dtype=np.float32) + np.float32(0.5))[:, None]  # the centres of the pixels
X = Y.T


@dataclass(frozen=True)
class Views:
    """N landscapes before they are drawn: scenes (N,), horizon (N,) in pixels, light (N, 3), and numbers.

    ``night`` (N,) is True by night, ``bright`` (N,) if the details of the ground are bright. ``numbers`` (N, 40) are
    uniform in [0, 1); each part of a landscape takes some of them.
    """

    scenes: np.ndarray
    night: np.ndarray
    bright: np.ndarray
    horizon: np.ndarray
    light: np.ndarray
    numbers: np.ndarray

    def __getitem__(self, rows: slice | np.ndarray) -> "Views":
        return Views(*(getattr(self, field.name)[rows] for field in fields(self)))


def views(rng: np.random.Generator, scenes: np.ndarray) -> Views:
    """Draw the time, light, horizon and numbers of landscapes, which are independent of their scenes (N,)."""
    n = len(scenes)
    numbers = rng.random((n, 40)).astype(np.float32)
    first, second = LIGHTS[rng.integers(0, len(LIGHTS), (2, n))]
    share, strength = numbers[:, :1], 0.75 + 0.3 * numbers[:, 1:2]
    light = strength * (share * first + (1 - share) * second)
    night = rng.integers(0, 2, n) == 1
    return Views(scenes, night, BRIGHT_BY_DAY[scenes] != night, 34 + 8 * numbers[:, 2], light, numbers)


def landscapes(v: Views) -> tuple[np.ndarray, np.ndarray]:
    """Draw landscapes (N, 64, 64, 3) float32, where 1 is the brightest value; return also where the sky is hidden."""
    colour, light = sky(v), v.light[:, None, None]
    far, reflected = hills(v)
    lay(colour, far, reflected * light)
    near, reflected = ground(v)
    lay(colour, near, reflected * light)
    return colour, np.maximum(far, near)


def lay(colour: np.ndarray, cover: np.ndarray, above: np.ndarray) -> None:
    """Lay ``above`` (N, 64, 64, 3), or a colour (N, 1, 1, 3), over the colours in place where ``cover`` is 1."""
    colour += cover[..., None] * (above - colour)


def sky(v: Views) -> np.ndarray:
    """Draw skies with streaks of clouds: the zenith shows the time, the rest glows in any colour."""
    u = v.numbers[:, 3:9, None, None]
    glow = pick(GLOWS, v.numbers[:, 28]), pick(GLOWS, v.numbers[:, 29])
    low = smooth(np.clip((Y - ZENITH) / (v.horizon[:, None, None] - 6 - ZENITH), 0, 1))
    bands = Y / 7 + 0.25 * wave(X / 64 + u[:, 1]) + 4 * u[:, 2]
    streaks = wave(bands) + 0.8 * wave(X / (24 + 30 * u[:, 3]) + 0.6 * wave(bands / 3) + u[:, 4])
    clouds = smooth(np.clip(0.9 * streaks - 1.5 + 1.6 * u[:, 5], 0, 1))[..., None]
    colour = glow[0] + low[..., None] * (glow[1] - glow[0])
    colour = colour + 0.5 * clouds * (1 - colour)
    night = v.night[:, None, None, None]
    zenith = np.where(night, pick(NIGHT, u[:, 0, 0, 0]), pick(DAY, u[:, 0, 0, 0]))
    stars = scatter(Y.astype(np.int64) * SIZE + X.astype(np.int64), v.numbers[:, 30, None, None]) > 0.97
    zenith = zenith + np.where(night, 0.75 * stars[..., None], 0.5 * clouds * (1 - zenith))
    lay(colour, smooth(np.clip((ZENITH - Y) / (ZENITH - 1), 0, 1)) + 0 * X, zenith)
    return colour


def pick(colours: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return one of the colours (K, 3) for each number in [0, 1), as (N, 1, 1, 3)."""
    return colours[np.minimum((len(colours) * numbers).astype(np.int64), len(colours) - 1)][:, None, None]


def hills(v: Views) -> tuple[np.ndarray, np.ndarray]:
    """Draw a chain of hills or peaks on the horizon; return where it is and its reflectance."""
    u = v.numbers[:, 9:17, None, None]
    peaks = u[:, 0] < 0.4
    far = X / (40 + 40 * u[:, 1]) + u[:, 2]
    near = X / (13 + 12 * u[:, 3]) + u[:, 4]
    fine = X / (5 + 3 * u[:, 2]) + u[:, 1]
    peaked = 0.7 * tent(far) + 0.45 * tent(near) + 0.15 * tent(fine)
    ridge = np.where(peaks, peaked, 0.8 + 0.5 * wave(far) + 0.2 * wave(near))
    top = v.horizon[:, None, None] - 3 - (3 + 5 * u[:, 5]) * ridge
    reflectance = 0.5 * pick(HILLS, u[:, 6, 0, 0]) + 0.5 * pick(HILLS, u[:, 7, 0, 0])
    shade = np.clip(0.84 + (Y - top) / 60, 0.84, 1.1)
    return np.clip(Y - top + 0.5, 0, 1), reflectance * shade[..., None]


def ground(v: Views) -> tuple[np.ndarray, np.ndarray]:
    """Draw the ground below the horizon; return where it is and its reflectance."""
    cover = np.clip(Y - v.horizon[:, None, None] + 0.5, 0, 1) + np.zeros_like(X)
    relief, tone, details = np.ones((3, len(v.scenes), SIZE, SIZE), np.float32)
    for texture, draw in enumerate((ripples, patchwork, spikes)):
        rows = np.flatnonzero(v.scenes // 2 == texture)
        if len(rows):
            top, relief[rows], tone[rows], details[rows] = draw(v[rows])
            cover[rows] = np.maximum(cover[rows], top)
    first, second = np.moveaxis(GROUND[v.scenes], 1, 0)[:, :, None, None]
    reflectance = (first + tone[..., None] * (second - first)) * relief[..., None]
    reflectance *= (0.87 + 0.26 * v.numbers[:, 17:20])[:, None, None]
    lay(reflectance, details, np.where(v.bright[:, None, None, None], BRIGHT, DARK))
    return cover, reflectance


Texture = tuple[np.ndarray | float, np.ndarray, np.ndarray, np.ndarray]  # cover, brightness, tone, details


def ripples(v: Views) -> Texture:
    """Draw waves or dunes: crests that are narrower and closer towards the horizon."""
    u = v.numbers[:, 20:32, None, None]
    near = nearness(v)
    depth = 1 / (near + 0.13)
    bend = 0.35 * wave(X / 64 * (0.6 + u[:, 0]) + u[:, 1]) + 0.15 * wave(X / 27 + u[:, 2] + near)
    crest = wave(depth * (2.2 + 1.5 * u[:, 3]) + bend + u[:, 4])
    chop = wave(depth * 5.1 + 0.4 * bend) * wave(X / (4 + 14 * near) + depth * 1.7 + u[:, 5])
    height = (0.5 * crest + 0.5 * chop) * np.clip(0.25 + 2 * near, 0, 1)
    line = np.floor(Y / 2) + 0 * X
    dash = scatter(np.floor(X / (2 + 4 * near) + 5 * scatter(line, u[:, 6])) + 64 * line, u[:, 7])
    details = np.clip(9 * (dash - 0.86), 0, 1) * (crest > -0.2) * np.clip(4 * near, 0, 1)
    return 0.0, 1 + 0.2 * height, np.clip(0.5 + 0.6 * crest * (0.5 + near) - 0.3 * near, 0, 1), details


def patchwork(v: Views) -> Texture:
    """Draw parcels or roofs: cells of several shades in perspective, with furrows or tiles in them."""
    u = v.numbers[:, 20:32, None, None]
    near = nearness(v)
    depth = (3.6 + 2 * u[:, 0]) / (near + 0.22) + 7 * u[:, 1]
    row = np.floor(depth)
    across = (X - 64 * u[:, 2]) / (7 + 26 * near) + 0.6 * (u[:, 3] - 0.5) * depth + scatter(row, u[:, 4])
    column = np.floor(across)
    shade, tone = scatter(row + 57 * column, u[:, 5]), scatter(row + 57 * column, u[:, 6])
    inside = np.minimum(np.minimum(depth - row, row + 1 - depth) * (0.6 + near) * 6,
                        np.minimum(across - column, column + 1 - across) * 10)  # fmt: skip
    furrows = wave(np.where(tone < 0.5, across * 5, depth * 4)) * np.clip(1.5 * near - 0.2, 0, 1)
    relief = (0.8 + 0.4 * shade + 0.07 * furrows) * (0.72 + 0.28 * np.clip(inside, 0, 1))
    along, up = np.floor(3 * (across - column)), np.floor(3 * (depth - row))
    details = (along == 1) & (up == 1) & (scatter(row + 57 * column, u[:, 8]) < 0.7) & (near > 0.1)
    return 0.0, relief, (scatter(row + 57 * column, u[:, 7]) < 0.45).astype(np.float32), details


def spikes(v: Views, layers: int = 7) -> Texture:
    """Draw firs or crags: rows of spikes, lit from one side, each row larger than the one behind it."""
    u = v.numbers[:, 20:32, None, None]
    side = np.where(u[:, 0] < 0.5, np.float32(-1), np.float32(1))
    shape = len(v.scenes), SIZE, SIZE
    cover, tone, details = (np.zeros(shape, np.float32) for _ in range(3))
    relief = np.full(shape, 0.8, np.float32)
    for n in range(layers):
        near = np.float32((n + 1) / layers)
        near = near * (0.45 + 0.55 * near)
        foot = v.horizon[:, None, None] + near * (66 - v.horizon[:, None, None])
        across = (
            X / ((4 + 14 * near) * (0.85 + 0.5 * u[:, 1]))
            + 0.3 * wave(X / 29 + 7 * n * u[:, 5])
            + scatter(np.float32(n) + 0 * X, u[:, 2])
        )
        cell = np.floor(across)
        within = across - cell
        size = (0.7 + 0.6 * scatter(cell + 31 * n, u[:, 3])) * (4 + 16 * near)
        top = foot - size * (1 - abs(2 * within - 1))
        edge = np.clip(Y - top + 0.5, 0, 1)
        flank = np.clip(3 * side * (within - 0.5), -1, 1)
        light = 1.0 + 0.2 * flank + 0.25 * (1 - np.clip((Y - top) / (3 + 12 * near), 0, 1.6))
        light = light * (1.1 - 0.2 * near)
        relief += edge * (light - relief)
        tone += edge * (scatter(cell + 31 * n, u[:, 4]) - tone)
        cap = np.clip(foot - size * (0.86 - 0.14 * near) + 1.5 - Y, 0, 1)
        details += edge * (cap * (scatter(cell + 31 * n, u[:, 6]) < 0.7) * (n > 0) - details)
        cover = np.maximum(cover, edge)
    return cover, relief, tone, details


def nearness(v: Views) -> np.ndarray:
    """Return the nearness (N, 64, 1) of a row of the ground: 0 at the horizon, 1 at the lower border."""
    horizon = v.horizon[:, None, None]
    return np.clip((Y - horizon) / (SIZE - horizon), 0, 1)


def wave(t: np.ndarray) -> np.ndarray:
    """Return a wave of period 1 between -1 and 1: two parabolas, like a sine."""
    u = 2 * (t - np.floor(t))
    v = u - np.floor(u)
    return np.where(u < 1, 4 * v * (1 - v), -4 * v * (1 - v))


def tent(t: np.ndarray) -> np.ndarray:
    """Return a wave of period 1 between 0 and 2, with straight flanks."""
    return 2 * abs(2 * (t - np.floor(t)) - 1)


def smooth(t: np.ndarray) -> np.ndarray:
    """Return t in [0, 1] with slope 0 at both ends."""
    return t * t * (3 - 2 * t)


def scatter(cell: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Return a number in [0, 1) for each integer cell, which looks random; ``key`` in [0, 1) selects the numbers."""
    bits = cell.astype(np.int64).astype(np.uint32) * np.uint32(2654435761) ^ (key * (1 << 24)).astype(np.uint32)
    bits = (bits ^ bits >> np.uint32(15)) * np.uint32(2246822519)
    return (bits >> np.uint32(8)).astype(np.float32) / np.float32(1 << 24)
