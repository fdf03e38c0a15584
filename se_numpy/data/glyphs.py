"""The built-in data set: name the glyph that has the strip's colour. SE networks can learn it, a plain ResNet-8 cannot.

An image shows, on grey, a faint strip in one of six colours along its left edge and six glyphs near its right edge, one
above the other: the glyph in row c has colour c, and the six are distinct, drawn from ten. The label is the glyph in
the strip's colour. Each colour is one channel made brighter or darker, so the strip is a cue that selects a channel,
and the glyph is a local pattern in that channel. The strip alone carries no information about the label; the glyphs
alone narrow it down to six of the ten classes.

**Why a plain ResNet-8 cannot do it.** Position i = 0..7 of its last feature map sees columns 4i - 12 to 4i + 12. The
strip ends at column 3, so only positions i <= 3 see it; the glyphs begin at column 26, so only positions i >= 4 see
them. No position sees both. The classifier is a linear function of the average over positions, so the score of class k
is a sum

    score_k = f_k(strip) + g_k(glyphs),

for any f and g that the network learns and any pixel noise. Assign six glyphs to the six colours, query each colour in
turn, and let X be the number of correct answers; an answer is correct if the score of the right class exceeds all
others. Consider four of the colours and four glyphs. Of the 4! = 24 assignments of these glyphs to these colours, at
most one is answered correctly for all four colours. Suppose there were two, π and σ, which assign the glyphs π(c) and
σ(c) to colour c. Then, with g evaluated for the first assignment,

    f_π(c)(c) + g_π(c) > f_σ(c)(c) + g_σ(c)    for each colour c where π and σ differ.

In the sum over c, the g cancel, since both sides run over the same four glyphs: Σ f_π(c)(c) > Σ f_σ(c)(c). The second
assignment gives the same inequality with π and σ exchanged, a contradiction. So each of the C(6, 4) = 15 sets of four
colours is answered correctly with probability at most 1/24, and the expected number of such sets is at most
15/24 = 5/8. Since X is at most 3 plus the number of such sets, its mean is at most 3 + 5/8, and the accuracy is at most
(3 + 5/8) / 6 = 29/48, about 60 %.

This bound holds for any f and g. The best scores known to us, f_k(c) = c k, give correct answers for a longest
increasing subsequence of the glyphs: 52 %. Training finds something closer to a guess among the six visible glyphs:
1/6, about 17 %.

**Why SE can.** The squeeze averages over the whole image, so every position receives the colour of the strip. The
excitation multiplies: it suppresses the channels of the other colours, and the remaining glyph is the label.
"""

import numpy as np

from se_numpy.data.dataset import Dataset
from se_numpy.shapes import count

PLAIN_BOUND = 29 / 48  # the highest expected accuracy of any sum f_k(strip) + g_k(glyphs); derived above

COLOURS = ("red", "green", "blue", "cyan", "magenta", "yellow")
SHIFTS = np.concatenate([np.eye(3), -np.eye(3)]).astype(np.float32)  # (colour, channel); cyan darkens the red channel

# Seven pixels of each glyph are lit, so that the squeeze is the same for all; any two differ in at least six pixels.
DRAWING = """
#.... .##.# #.... .#.## .#.#. #.### ..#.# #.##. ###.# .###.
##.#. ....# ..### .###. #...# #.... .##.# ..#.. .#... ##...
#..## .###. ###.. .#... #.#.# ##... #...# ..### ..#.# ...##
"""
GLYPHS = np.array([[list(row) for row in line.split()] for line in DRAWING.split("\n")[1:-1]]).swapaxes(0, 1) == "#"

SIZE = 32
STRIP = slice(0, 4)  # columns of the strip
PLACE = slice(26, 31)  # columns of the glyphs, too far from the strip for one receptive field
ROWS = tuple(slice(top, top + 3) for top in range(2, SIZE - 2, 5))  # one for each colour
GREY, FAINT, BRIGHT, NOISE = 128, 50, 100, 4  # byte levels: background, strip, glyph, pixel noise (std)


def builtin(seed: int = 0, train: int = 6400, test: int = 2000) -> Dataset:
    """Make the built-in data set: images (N, 32, 32, 3) uint8 of glyphs in six colours, labels (N,) int64 in 0..9.

    The training and test sets are drawn from independent random streams. Each is balanced if its size is a multiple of
    ten.

    Raises
    ------
    ValueError, TypeError
        If a size is not a whole number of at least 1, or the seed not one of at least 0.
    """
    for name, value, least in (("train", train, 1), ("test", test, 1), ("seed", seed, 0)):
        count(name, value, least=least)
    train_stream, test_stream = np.random.default_rng(seed).spawn(2)
    return Dataset(
        "builtin",
        tuple(f"glyph {k}" for k in range(len(GLYPHS))),
        *_draw(train_stream, train),
        *_draw(test_stream, test),
        augment=False,  # a crop may cut the strip away, and a flip mirrors the glyphs
        source=f"built-in glyphs in six colours, seed {seed}",
        loaded_from="builtin" if (seed, train, test) == builtin.__defaults__ else "",
    )


def _draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw n images and their labels, with each of the sixty pairs of a label and a strip colour equally often."""
    question = rng.permutation(n)
    label, strip = question % len(GLYPHS), question // len(GLYPHS) % len(COLOURS)
    deal = rng.permuted(np.tile(np.arange(len(GLYPHS)), (n, 1)), axis=1)
    # Adding the same number modulo 10 to all glyphs puts the label in place and keeps the deal uniform.
    deal += (label - deal[np.arange(n), strip])[:, None]
    deal %= len(GLYPHS)

    images = GREY + NOISE * rng.standard_normal((n, SIZE, SIZE, 3), dtype=np.float32)
    images[:, :, STRIP] += FAINT * SHIFTS[strip][:, None, None]
    for colour, rows in enumerate(ROWS):
        images[:, rows, PLACE] += BRIGHT * GLYPHS[deal[:, colour], :, :, None] * SHIFTS[colour]
    return np.rint(images).clip(0, 255).astype(np.uint8), label
