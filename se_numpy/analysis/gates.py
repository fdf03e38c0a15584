"""Gates of a trained network, recorded image by image and summarised by group (class or cue).

Let s (N, C) be the gates of one block on N images in K groups, m_k the mean gates of group k and m those of all images:

    share between groups = Σ_c Σ_k N_k (m_kc - m_c)² / Σ_c Σ_n (s_nc - m_c)²

The share is 1 if the group determines the gates, and (K - 1) / (N - 1) on average if the gates do not depend on the
group.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from se_numpy import engine
from se_numpy.analysis.network import Network
from se_numpy.arrays import occurrences
from se_numpy.data.array_checks import check_images
from se_numpy.data.batches import slices
from se_numpy.layers import SE, walk

BATCH = 64
LOW, HIGH = 0.05, 0.95  # a gate outside this range counts as saturated

Progress = Callable[[int], object]


class Groups(NamedTuple):
    """N images in K groups: the kind of group ("class" or "cue"), the groups' names, and the group of each image."""

    what: str
    names: tuple[str, ...]
    of: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """The number of images in each group, (K,)."""
        return occurrences(self.of, len(self.names))

    @property
    def chance(self) -> float:
        """The expected share between groups if the gates do not depend on the group."""
        return (len(self.names) - 1) / max(1, len(self.of) - 1)


def grouped(what: str, names: tuple[str, ...], labels: np.ndarray) -> Groups:
    """Group images by label, leaving out empty groups."""
    present, of = np.unique(labels, return_inverse=True)
    return Groups(what, tuple(names[k] for k in present), of)


class Recorded(NamedTuple):
    """The gates (N, C) of each block, by its dotted name, and the predicted classes (N,)."""

    gates: dict[str, np.ndarray]
    answers: np.ndarray


def gates_of(network: Network, images: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the logits (N, K) and each block's gates (N, C) for a batch (N, H, W, C) uint8, in evaluation mode."""
    return _recorder(network).with_kept(network.normalise(images))


def _recorder(network: Network) -> engine.Predictor:
    """Compile the network for evaluation, keeping the gates of every block."""
    blocks = [name for name, layer, _ in walk(network.net, network.shape) if isinstance(layer, SE)]
    return engine.compile(network.net, keep=blocks).predictor(network.params, network.state)


def record(network: Network, images: np.ndarray, progress: Progress = lambda n: None) -> Recorded:
    """Record the gates of all blocks on images (N, H, W, C) uint8, in evaluation mode.

    ``progress`` is called with the size of each batch.

    Raises
    ------
    TypeError, ValueError
        If these are not images, or if there are none.
    """
    gates, answers = record_with(network, images, lambda logits: logits.argmax(1), progress)
    return Recorded(gates, np.concatenate(answers))


def record_with(
    network: Network, images: np.ndarray, of: Callable[[np.ndarray], np.ndarray], progress: Progress = lambda n: None
) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Record the gates of all blocks, as ``record`` does, and what ``of`` returns for the outputs of each batch.

    Raises
    ------
    TypeError, ValueError
        As ``record`` does.
    """
    if not check_images("images", images)[0]:
        raise ValueError("got 0 images; expected at least 1")
    gates: dict[str, list[np.ndarray]] = {}
    results = []
    recorder = _recorder(network)
    for part in slices(len(images), network.shape, BATCH):
        outputs, seen = recorder.with_kept(network.normalise(images[part]))
        for name, s in seen.items():
            gates.setdefault(name, []).append(s)
        results.append(of(outputs))
        progress(len(outputs))
    return {name: np.concatenate(s) for name, s in gates.items()}, results


def group_means(s: np.ndarray, groups: Groups) -> np.ndarray:
    """Return m (K, C): the mean gates of each group."""
    return _sums(s, groups) / groups.counts[:, None]


def group_stds(s: np.ndarray, groups: Groups) -> np.ndarray:
    """Return (K, C): the standard deviation of each gate across the images of a group."""
    deviation = s - group_means(s, groups)[groups.of]
    return np.sqrt(_sums(deviation**2, groups) / groups.counts[:, None])


def share_between(s: np.ndarray, groups: Groups) -> float:
    """Return the share of the gates' variance (summed over channels) that lies between groups; 0 for constant gates."""
    s = s.astype(np.float64)
    m = s.mean(0)
    total = float(((s - m) ** 2).sum())
    between = float((groups.counts[:, None] * (group_means(s, groups) - m) ** 2).sum())
    return between / total if total > 1e-12 * s.size else 0.0


def named_by(s: np.ndarray, groups: Groups) -> float:
    """Return the accuracy of predicting the group from the gates as the one with the nearest mean.

    The means for each half of the images come from the other half. Distances are measured in standard deviations
    within groups.
    """
    right = 0
    for half in (0, 1):
        learn, ask = np.arange(len(s)) % 2 != half, np.arange(len(s)) % 2 == half
        known = grouped(groups.what, tuple(map(str, range(len(groups.names)))), groups.of[learn])
        if not known.names:
            continue
        spread = np.sqrt((group_stds(s[learn], known)[known.of] ** 2).mean(0)) + 1e-6
        means = group_means(s[learn], known) / spread
        asked, named = s[ask] / spread, np.array(known.names, int)
        for part in slices(len(asked), means.shape, len(asked)):  # the differences are (N, K, C)
            nearest = ((asked[part, None] - means) ** 2).sum(2).argmin(1)
            right += int((named[nearest] == groups.of[ask][part]).sum())
    return right / len(s)


@dataclass(frozen=True)
class BlockSummary:
    """Statistics of one block's gates: mean, spread, saturation and, for each grouping, the share between groups.

    ``between``, ``chance`` and ``named`` map each kind of group to the share between groups, the share expected by
    chance, and the accuracy of predicting the group from the gates.
    """

    block: str
    channels: int
    mean: float
    spread: float  # standard deviation between images, root mean square over channels
    within: float  # the same, between images of one class
    low: float  # share of gates below LOW
    high: float  # share of gates above HIGH
    slope: float  # mean of s (1 - s), the sigmoid's derivative; at most 1/4
    between: dict[str, float]
    chance: dict[str, float]
    named: dict[str, float]


def summarize_block(block: str, s: np.ndarray, groupings: tuple[Groups, ...]) -> BlockSummary:
    """Summarise a block's gates s (N, C); the first grouping is by class."""
    s = s.astype(np.float64)
    within = s - group_means(s, groupings[0])[groupings[0].of]
    return BlockSummary(
        block, s.shape[1], float(s.mean()), float(np.sqrt(s.var(0).mean())), float(np.sqrt((within**2).mean())),
        float((s < LOW).mean()), float((s > HIGH).mean()), float((s * (1 - s)).mean()),
        {g.what: share_between(s, g) for g in groupings},
        {g.what: g.chance for g in groupings},
        {g.what: named_by(s, g) for g in groupings},
    )  # fmt: skip


def _sums(s: np.ndarray, groups: Groups) -> np.ndarray:
    sums = np.zeros((len(groups.names), s.shape[1]))
    np.add.at(sums, groups.of, s)
    return sums
