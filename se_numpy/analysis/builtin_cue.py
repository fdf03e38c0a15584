"""The cue of the built-in set: is the strip's colour read through the gates, and does it act through them?

An image holds a glyph in each of six colours, and a strip that says which is asked for. Two questions:

- Do the gates know the strip's colour? Group them by it, as by class.
- Do they act on it? Give an image the gates of one with another strip. If the gates carry the question, the network now
  answers with the glyph in the *other* strip's colour, although the strip it sees has not changed.
"""

from typing import NamedTuple

import numpy as np

from se_numpy.analysis.gates import Groups, grouped
from se_numpy.data.glyphs import COLOURS, GLYPHS, GREY, PLACE, ROWS, SHIFTS, STRIP


def group_by_cue(images: np.ndarray) -> Groups:
    """Images (N, 32, 32, 3) uint8 of the built-in set, grouped by the colour of their strip."""
    strip = images[:, :, STRIP].mean((1, 2)) - GREY
    return grouped("cue", COLOURS, (strip @ SHIFTS.T).argmax(1))


def glyphs_in_sight(images: np.ndarray) -> np.ndarray:
    """(N, 6): which glyph each image shows in each colour."""
    centred = GLYPHS - GLYPHS.mean((1, 2), keepdims=True)
    found = []
    for colour, rows in enumerate(ROWS):
        lit = (images[:, rows, PLACE].astype(np.float64) - GREY) @ SHIFTS[colour]
        found.append(np.einsum("nij,kij->nk", lit, centred).argmax(1))
    return np.stack(found, axis=1)


class Answered(NamedTuple):
    """Shares of the answers after a transplant of gates between images with different strips; they add up to 1."""

    own: float  # the glyph in the colour of the strip that the image shows
    donor: float  # the glyph in the colour of the strip of the image that the gates come from
    other: float  # another one of the six in sight
    unseen: float  # a glyph that the image does not show
    images: int


def transplanted(answers: np.ndarray, strips: Groups, sight: np.ndarray, donor: np.ndarray) -> Answered:
    """What images (N,) were answered that were given the gates of ``donor`` (N,), where that has another strip."""
    colour = np.array([COLOURS.index(name) for name in strips.names])[strips.of]
    n = np.flatnonzero(colour != colour[donor])
    own = answers[n] == sight[n, colour[n]]
    theirs = answers[n] == sight[n, colour[donor[n]]]
    seen = (answers[n, None] == sight[n]).any(1)
    other = seen & ~own & ~theirs
    own_, donor_, other_, unseen_ = (float(a.mean()) if len(n) else 0.0 for a in (own, theirs, other, ~seen))
    return Answered(own_, donor_, other_, unseen_, len(n))
