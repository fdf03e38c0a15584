"""Test whether a network passes on the cue of the built-in set through its gates.

An image shows a glyph in each of six colours and a strip whose colour says which glyph is the answer. Two questions:

- Do the gates depend on the strip's colour? Group them by that colour, in the same way as by class.
- Do the gates carry the cue to the answer? Give an image the gates of an image with a different strip. If the
  gates carry the cue, the network answers with the glyph in the *other* strip's colour, although the strip that it sees
  has not changed.

And a third, for Grad-CAM: which share of the map lies on the strip, and which on the glyph in its colour?
"""

from typing import NamedTuple

import numpy as np

from se_numpy.analysis.gates import Groups, grouped
from se_numpy.analysis.grad_cam import explain, mass_on
from se_numpy.analysis.network import Network
from se_numpy.data.glyphs import COLOURS, GLYPHS, GREY, PLACE, ROWS, SHIFTS, STRIP


def group_by_cue(images: np.ndarray) -> Groups:
    """Group images (N, 32, 32, 3) uint8 of the built-in set by the colour of their strip."""
    strip = images[:, :, STRIP].mean((1, 2)) - GREY
    return grouped("cue", COLOURS, (strip @ SHIFTS.T).argmax(1))


def glyphs_in_sight(images: np.ndarray) -> np.ndarray:
    """Return (N, 6): the glyph that each image shows in each colour."""
    centred = GLYPHS - GLYPHS.mean((1, 2), keepdims=True)
    found = []
    for colour, rows in enumerate(ROWS):
        lit = (images[:, rows, PLACE].astype(np.float64) - GREY) @ SHIFTS[colour]
        found.append(np.einsum("nij,kij->nk", lit, centred).argmax(1))
    return np.stack(found, axis=1)


def cue_regions(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the strip of each image is, and the glyph in its colour, both (N, 32, 32) of True and False."""
    strips = group_by_cue(images)
    strip, glyph = (np.zeros(images.shape[:3], bool) for _ in range(2))
    strip[:, :, STRIP] = True
    for n, name in enumerate(strips.names[k] for k in strips.of):
        glyph[n, ROWS[COLOURS.index(name)], PLACE] = True
    return strip, glyph


class CueEvidence(NamedTuple):
    """Shares of Grad-CAM's mass on the strip and on the glyph in its colour, and the shares of the image they cover."""

    part: str
    strip: float
    glyph: float
    strip_area: float
    glyph_area: float

    @property
    def both(self) -> float:
        """The share of the mass on strip and glyph."""
        return self.strip + self.glyph

    @property
    def area(self) -> float:
        """The share of the image that strip and glyph cover."""
        return self.strip_area + self.glyph_area


def cue_evidence(network: Network, images: np.ndarray, part: str | None = None) -> CueEvidence:
    """Measure where Grad-CAM of a part of the network (default: its last maps) lies, on average over images."""
    found = explain(network, images, part=part)
    maps, regions = found.stretched(*images.shape[1:3]), cue_regions(images)
    shares = [float(mass_on(maps, region).mean()) for region in regions]
    return CueEvidence(found.part, *shares, *(float(region.mean()) for region in regions))


class AnswerShares(NamedTuple):
    """Shares of the answers after gates were transplanted between images with different strips; they add up to 1."""

    own: float  # the glyph in the colour of the image's own strip
    donor: float  # the glyph in the colour of the donor's strip
    other: float  # another of the six glyphs in the image
    unseen: float  # a glyph that the image does not show
    images: int


def transplanted(answers: np.ndarray, strips: Groups, sight: np.ndarray, donor: np.ndarray) -> AnswerShares:
    """Classify the answers (N,) of images that were given the gates of the images ``donor`` (N,).

    Only images whose donor has a different strip are counted. ``sight`` (N, 6) is the result of ``glyphs_in_sight``.
    """
    colour = np.array([COLOURS.index(name) for name in strips.names])[strips.of]
    n = np.flatnonzero(colour != colour[donor])
    own = answers[n] == sight[n, colour[n]]
    theirs = answers[n] == sight[n, colour[donor[n]]]
    seen = (answers[n, None] == sight[n]).any(1)
    other = seen & ~own & ~theirs
    own_, donor_, other_, unseen_ = (float(a.mean()) if len(n) else 0.0 for a in (own, theirs, other, ~seen))
    return AnswerShares(own_, donor_, other_, unseen_, len(n))
