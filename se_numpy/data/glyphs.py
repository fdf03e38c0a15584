"""The built-in data set: which glyph is written in the colour of the strip?  A plain ResNet-8 cannot say.

An image shows, on grey, a faint strip of one of six colours along its left edge and, near its right edge, six rows with
a glyph each: row c in colour c, the glyphs drawn from ten without repetition. The label is the glyph in the strip's
colour. Each colour is one channel made brighter or darker, so the strip is a cue that selects a channel, and the glyph
a local pattern in it. Neither half of the image alone says anything about the label beyond "one of these six glyphs".

**Why a plain ResNet-8 cannot do it.** Position i = 0..7 of its last feature map sees columns 4i - 12 to 4i + 12. The
strip ends at column 3, which asks for i <= 3; the glyphs begin at column 26, which asks for i >= 4: no position sees
both. The positions are averaged and read out linearly, so the score of class k is a sum

    score_k = f_k(strip) + g_k(glyphs),

whatever f and g the network learns and whatever the pixel noise. Deal six glyphs to the colours, ask about each colour
in turn, and let X be the number of right answers, right being the one score above all others. Take four of the colours
and four glyphs: of the 4! = 24 ways to deal these to those, at most one is right for all four colours. For suppose two
were, π and σ, which give colour c the glyph π(c) or σ(c). Then, with g that of the first deal,

    f_π(c)(c) + g_π(c) > f_σ(c)(c) + g_σ(c)    for each colour c where they differ,

and summed over c the g cancel, as both sums run over the same four glyphs: Σ f_π(c)(c) > Σ f_σ(c)(c). The second deal
says the same with π and σ exchanged, a contradiction. So each of the C(6, 4) = 15 quadruples of colours is right with
probability 1/24 at most, and on average at most 15/24 = 5/8 quadruples are. As X never exceeds 3 plus the number of
right quadruples, its mean is at most 3 + 5/8, and the accuracy at most (3 + 5/8) / 6 = 29/48, about 60 %.

That allows for any f and g at all. The best we know, scores f_k(c) = c k, answers a longest increasing run of glyphs:
52 %. What training finds is nearer to naming one of the six glyphs in sight: 1/6, about 17 %.

**Why SE can.** The squeeze is an average over the whole image, so every position learns the colour of the strip, and
the excitation multiplies: it turns the other colours' channels down, and what is left of the six glyphs is the label.
"""

import numpy as np

from se_numpy.data.dataset import Dataset

PLAIN_BOUND = 29 / 48  # no sum f_k(strip) + g_k(glyphs) has a higher expected accuracy; derived above

COLOURS = ("red", "green", "blue", "cyan", "magenta", "yellow")
SHIFTS = np.concatenate([np.eye(3), -np.eye(3)]).astype(np.float32)  # (colour, channel): cyan is red made darker

# Seven pixels of each are lit, so that all squeeze to the same; any two differ in six or more.
DRAWING = """
#.... .##.# #.... .#.## .#.#. #.### ..#.# #.##. ###.# .###.
##.#. ....# ..### .###. #...# #.... .##.# ..#.. .#... ##...
#..## .###. ###.. .#... #.#.# ##... #...# ..### ..#.# ...##
"""
GLYPHS = np.array([[list(row) for row in line.split()] for line in DRAWING.split("\n")[1:-1]]).swapaxes(0, 1) == "#"

SIZE = 32
STRIP = slice(0, 4)  # columns; no position of the last feature map sees one of these and one of ...
PLACE = slice(26, 31)  # ... these
ROWS = tuple(slice(top, top + 3) for top in range(2, SIZE - 2, 5))  # one for each colour
GREY, FAINT, BRIGHT, NOISE = 128, 50, 100, 4  # levels of a byte: the ground, a strip, a glyph, pixel noise (std)


def builtin(seed: int = 0, train: int = 6400, test: int = 2000) -> Dataset:
    """``train`` and ``test`` images (N, 32, 32, 3) uint8 of glyphs in six colours, labels (N,) int64 in 0..9.

    Both sets are balanced, as far as their sizes divide by ten, and come from streams of random numbers of their own.
    Raises ValueError for a size below 1 or a negative seed.
    """
    for name, value, least in (("train", train, 1), ("test", test, 1), ("seed", seed, 0)):
        if value < least:
            raise ValueError(f"{name} is {value}; expected {least} or more")
    train_stream, test_stream = np.random.default_rng(seed).spawn(2)
    return Dataset(
        "builtin",
        tuple(f"glyph {k}" for k in range(len(GLYPHS))),
        *_draw(train_stream, train),
        *_draw(test_stream, test),
        augment=False,  # a crop may cut the strip away, and a flip mirrors the glyphs
        source=f"built-in glyphs in six colours, seed {seed}",
    )


def _draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """n images and their labels, the sixty pairs of a label and a strip's colour equally often."""
    question = rng.permutation(n)
    label, strip = question % len(GLYPHS), question // len(GLYPHS) % len(COLOURS)
    deal = rng.permuted(np.tile(np.arange(len(GLYPHS)), (n, 1)), axis=1)
    # Counting all glyphs on by the same number puts the label where it belongs and leaves the deal a fair one.
    deal += (label - deal[np.arange(n), strip])[:, None]
    deal %= len(GLYPHS)

    images = GREY + NOISE * rng.standard_normal((n, SIZE, SIZE, 3), dtype=np.float32)
    images[:, :, STRIP] += FAINT * SHIFTS[strip][:, None, None]
    for colour, rows in enumerate(ROWS):
        images[:, rows, PLACE] += BRIGHT * GLYPHS[deal[:, colour], :, :, None] * SHIFTS[colour]
    return np.rint(images).clip(0, 255).astype(np.uint8), label
