"""Built-in scenes: six kinds of landscape in any light, with up to six objects, drawn from a seed.

Light and landscape are drawn by ``se_numpy.data.landscape``, objects by ``se_numpy.data.sprites``. The number of
objects has the same distribution in every scene, and every object occurs in every scene, in some more often than in
others.
Objects farther away are smaller and hidden by nearer ones. On the sea, an object of the land stands on an islet; on
land, a boat lies in a pond.
"""

from dataclasses import dataclass

import numpy as np

from se_numpy.data.boxes import Boxes
from se_numpy.data.dataset import Dataset
from se_numpy.data.landscape import SCENES, SIZE, Views, landscapes, views
from se_numpy.data.sprites import DRAWINGS, OBJECTS, PALETTES, puddle, sprite, width_of
from se_numpy.engine.parallel import parallel_for
from se_numpy.shapes import count

NAME = "scenes"  # of the data set
MOST = 6  # objects in a picture
VISIBLE = 0.3  # an object has a box if at least this share of it is in the picture and not hidden
FREQUENCY = np.array([  # of sun, balloon, tree, house, boat and person; the same sum in every scene
    [3, 2, 2, 2, 5, 3],  # sea
    [4, 3, 2, 2, 2, 4],  # desert
    [3, 2, 4, 3, 2, 3],  # field
    [2, 3, 3, 5, 2, 2],  # town
    [2, 2, 6, 2, 2, 3],  # forest
    [3, 4, 3, 2, 2, 3],  # mountain
])  # fmt: skip
HEIGHT = {"sun": 13, "balloon": 20, "tree": 32, "house": 26, "boat": 22, "person": 24}  # pixels, of the nearest
FARTHEST = 0.42  # the height of an object on the horizon, relative to the nearest
CHUNK = 128  # pictures drawn at a time
ISLET, POND = np.array([[0.62, 0.56, 0.38], [0.26, 0.44, 0.54]], np.float32)
GLOW = np.array([1.0, 0.82, 0.42], np.float32)  # lit windows
IN_THE_SKY = ("sun", "balloon")
SEA = SCENES.index("sea")


@dataclass(frozen=True)
class Scenes:
    """Pictures (N, 64, 64, 3) uint8, their scenes (N,) int64 as indices of ``SCENES``, and the boxes of their objects.

    The classes of the boxes are indices of ``OBJECTS``. A box encloses the visible part of an object; an object has a
    box if at least 30 % of its pixels are visible.
    """

    images: np.ndarray
    labels: np.ndarray
    boxes: Boxes


def built_in_scenes(seed: int = 0, train: int = 5000, test: int = 2000) -> Dataset:
    """Make the data set of built-in scenes, with the boxes of their objects.

    The training and test sets are drawn from independent random streams.

    Raises
    ------
    ValueError, TypeError
        If a size is not a whole number of at least 1, or the seed not one of at least 0.
    """
    for name, value, least in (("train", train, 1), ("test", test, 1), ("seed", seed, 0)):
        count(name, value, least=least)
    streams = np.random.default_rng(seed).spawn(2)
    trained, tested = (from_stream(stream, n) for stream, n in zip(streams, (train, test), strict=True))
    return Dataset(
        NAME,
        SCENES,
        trained.images,
        trained.labels,
        tested.images,
        tested.labels,
        augment=False,  # a crop may cut the rows away that show the time
        source=f"built-in scenes with objects, seed {seed}",
        loaded_from=NAME if (seed, train, test) == built_in_scenes.__defaults__ else "",
        objects=OBJECTS,
        train_boxes=trained.boxes,
        test_boxes=tested.boxes,
    )


def draw(n: int, *, seed: int) -> Scenes:
    """Draw n pictures from a seed, with each scene equally often if n is a multiple of six.

    Raises
    ------
    ValueError, TypeError
        If n is not a whole number of at least 1, or the seed not one of at least 0.
    """
    count("n", n, least=1)
    count("seed", seed, least=0)
    return from_stream(np.random.default_rng(seed), n)


def from_stream(rng: np.random.Generator, n: int) -> Scenes:
    """Draw n pictures from a random stream."""
    labels = rng.permutation(n) % len(SCENES)
    view = views(rng, labels)
    return rendered(rng, view, placed(rng, view))


def rendered(rng: np.random.Generator, view: Views, objects: list[list["Placed"]]) -> Scenes:
    """Draw landscapes and the objects in each, with noise from a random stream."""
    n, labels = len(view.scenes), view.scenes
    images = np.empty((n, SIZE, SIZE, 3), np.uint8)
    parts = [slice(start, min(start + CHUNK, n)) for start in range(0, n, CHUNK)]
    noise = [rng.integers(-3, 4, images[part].shape, np.int8) for part in parts]  # in order, whatever the threads

    def draw_parts(numbers: slice) -> list[tuple[int, ...]]:
        rows: list[tuple[int, ...]] = []
        for part, grain in zip(parts[numbers], noise[numbers], strict=True):
            canvases, land = landscapes(view[part])
            for i, canvas, hidden in zip(range(n)[part], canvases, land, strict=True):
                seen = paint(canvas, hidden, 0.4 + 0.6 * view.light[i], objects[i], sea=labels[i] == SEA)
                rows += [(*box, kind, i) for kind, box in seen]
            images[part] = np.clip(canvases * 255 + grain + 0.5, 0, 255)
        return rows

    drawn = parallel_for(np, draw_parts, len(parts), 16 * images[:CHUNK].size)
    found = np.array([row for rows in drawn for row in rows], np.int64).reshape(-1, 6)
    return Scenes(images, labels, Boxes(found[:, :4].astype(np.float32), found[:, 4], found[:, 5]))


@dataclass(frozen=True)
class Placed:
    """An object in a picture: its kind, its left and upper pixel, its height, and a number that selects its looks."""

    kind: int
    left: int
    top: int
    height: int
    looks: int

    @property
    def name(self) -> str:
        """The name of its kind."""
        return OBJECTS[self.kind]

    def coverage(self) -> np.ndarray:
        """Return the coverage (parts, height, width) of its pixels by its parts."""
        return sprite(self.name, form_of(self.name, self.looks), self.height, bool(self.looks % 2))

    def colours(self) -> list[np.ndarray]:
        """Return the reflectance (3,) of each part."""
        parts = DRAWINGS[self.name][form_of(self.name, self.looks)].parts
        return [PALETTES[palette][self.looks // 8 % len(PALETTES[palette])] for _, palette in parts]


def form_of(name: str, looks: int) -> int:
    """Return the index of an object's form among the drawings of its kind."""
    return looks // 2 % len(DRAWINGS[name])


def placed(rng: np.random.Generator, view: Views) -> list[list[Placed]]:
    """Draw the objects of each picture, the farthest first; a second sun is a balloon."""
    n = len(view.scenes)
    counts = rng.integers(0, MOST + 1, n)
    drawn = rng.integers(0, FREQUENCY[0].sum(), (n, MOST))
    kinds = (drawn[..., None] >= FREQUENCY.cumsum(1)[view.scenes][:, None]).sum(-1)
    looks = rng.integers(0, 8 * 60, (n, MOST))
    across, depth = rng.random((2, n, MOST))
    found = []
    for i in range(n):
        order = np.argsort(depth[i, : counts[i]])
        row: list[Placed] = []
        for k in order:
            kind = int(kinds[i, k])
            if OBJECTS[kind] == "sun" and any(other.name == "sun" for other in row):
                kind = OBJECTS.index("balloon")
            row.append(place(kind, across[i, k], depth[i, k], float(view.horizon[i]), int(looks[i, k])))
        found.append(row)
    return found


def place(kind: int, across: float, depth: float, horizon: float, looks: int) -> Placed:
    """Return the object at a place in the sky or on the ground; ``across`` and ``depth`` are between 0 and 1."""
    name = OBJECTS[kind]
    height = round(HEIGHT[name] * (FARTHEST + (1 - FARTHEST) * depth))
    width = width_of(DRAWINGS[name][form_of(name, looks)], height)
    if name in IN_THE_SKY:
        height_in_sky = across * 7919 % 1  # another number between 0 and 1
        foot = height + round((horizon - 4 - height) * height_in_sky)
    else:
        foot = round(horizon + 2 + (SIZE - 1 - horizon) * depth)
    return Placed(kind, round(across * SIZE - width / 2), foot - height, height, looks)


def paint(
    canvas: np.ndarray, land: np.ndarray, light: np.ndarray, objects: list[Placed], *, sea: bool
) -> list[tuple]:  # fmt: skip
    """Paint the objects onto a picture (64, 64, 3) in place; return the kind and box of each that is visible.

    ``land`` (64, 64) is 1 where hills or the ground hide the sun.
    """
    owner = np.full((SIZE, SIZE), -1, np.int8)
    whole = []
    for n, one in enumerate(objects):
        coverage = one.coverage()
        if one.name not in IN_THE_SKY:
            stand(canvas, light, one, coverage.shape[2], sea)
        colours = lit(one, light)
        inside, shown = overlap(one.left, one.top, coverage.shape[1:])
        whole.append(int(np.count_nonzero(coverage.sum(0) >= 0.5)))
        if one.name == "sun":
            coverage = coverage.copy()
            coverage[0][shown] *= 1 - land[inside]
        covered = coverage.sum(0)
        canvas[inside] *= (1 - covered[shown])[..., None]
        for colour, part in zip(colours, coverage, strict=True):
            canvas[inside] += part[shown][..., None] * colour
        solid = covered >= 0.5
        owner[inside][solid[shown]] = n
    return [(one.kind, box) for n, one in enumerate(objects) if (box := visible_box(owner == n, whole[n]))]


def stand(canvas: np.ndarray, light: np.ndarray, one: Placed, width: int, sea: bool) -> None:
    """Paint what an object stands on: an islet in the sea, a pond around a boat on land, or else its shadow."""
    wide = sea != (one.name == "boat")
    spread = puddle(*((int(1.6 * width) + 3, one.height // 4 + 3) if wide else (width + 2, one.height // 8 + 2)))
    left, top = one.left - (spread.shape[1] - width) // 2, one.top + one.height - spread.shape[0] // 2 - wide
    inside, shown = overlap(left, top, spread.shape)
    if wide:
        canvas[inside] += spread[shown][..., None] * ((ISLET if sea else POND) * light - canvas[inside])
    else:
        canvas[inside] *= (1 - 0.4 * spread[shown])[..., None]


def lit(one: Placed, light: np.ndarray) -> list[np.ndarray]:
    """Return the colours of an object's parts in this light; the sun shines, and so do the windows of some houses."""
    if one.name == "sun":
        return one.colours()
    colours = [colour * light for colour in one.colours()]
    if one.name == "house" and one.looks % 3 == 0:
        colours[-1] = GLOW
    return colours


def overlap(left: int, top: int, shape: tuple[int, ...]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the part of a picture that a sprite of this shape at this place covers, and the part of the sprite."""
    pairs = [(slice(max(at, 0), max(min(at + length, SIZE), 0)), slice(max(-at, 0), max(min(length, SIZE - at), 0)))
             for at, length in zip((top, left), shape, strict=True)]  # fmt: skip
    return (pairs[0][0], pairs[1][0]), (pairs[0][1], pairs[1][1])


def visible_box(mask: np.ndarray, whole: int) -> tuple[int, int, int, int] | None:
    """Return the box of the pixels that are True, or None if they are less than 30 % of the whole object."""
    if not whole or np.count_nonzero(mask) < VISIBLE * whole:
        return None
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
