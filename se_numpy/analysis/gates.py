"""What the gates of a trained network say: recorded image by image, then summed up by group (class, or cue).

For gates s (N, C) of one block and groups k of the N images, m_k the mean gate of group k and m that of all images:

    share between groups = Σ_c Σ_k N_k (m_kc - m_c)² / Σ_c Σ_n (s_nc - m_c)²

It is 1 if the group decides the gates, and (K - 1) / (N - 1) on average if it says nothing about them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from se_numpy import engine
from se_numpy.analysis.network import Network
from se_numpy.layers import SE, walk

BATCH = 64
LOW, HIGH = 0.05, 0.95  # a gate beyond these is called saturated

Progress = Callable[[int], object]


class Groups(NamedTuple):
    """N images in K groups: what they are called together ("class"), each group's name, each image's group."""

    what: str
    names: tuple[str, ...]
    of: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """(K,): how many images each group has."""
        return np.bincount(self.of, minlength=len(self.names))

    @property
    def chance(self) -> float:
        """The share between groups of gates that know nothing of them, on average."""
        return (len(self.names) - 1) / max(1, len(self.of) - 1)


def grouped(what: str, names: tuple[str, ...], labels: np.ndarray) -> Groups:
    """Images by label; a group that has no image is left out."""
    present, of = np.unique(labels, return_inverse=True)
    return Groups(what, tuple(names[k] for k in present), of)


class Recorded(NamedTuple):
    """The gates of each block (N, C), by its dotted name, and the class that the network answered (N,)."""

    gates: dict[str, np.ndarray]
    answers: np.ndarray


def parts(n: int, size: int = BATCH) -> Iterator[slice]:
    """The batches of n images."""
    return (slice(start, min(n, start + size)) for start in range(0, n, size))


def gates_of(network: Network, images: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The logits (N, K) and the gates of each block (N, C) of one batch of images (N, H, W, C) uint8, in evaluation."""
    return _recorder(network).with_kept(network.normalise(images))


def _recorder(network: Network) -> engine.Predictor:
    """The network for evaluation, that hands out the gates of every block."""
    blocks = [name for name, layer, _ in walk(network.net, network.shape) if isinstance(layer, SE)]
    return engine.compile(network.net, keep=blocks).predictor(network.params, network.state)


def record(network: Network, images: np.ndarray, progress: Progress = lambda n: None) -> Recorded:
    """The gates of all blocks on images (N, H, W, C) uint8, in evaluation; ``progress`` hears each batch's size."""
    gates: dict[str, list[np.ndarray]] = {}
    answers = []
    recorder = _recorder(network)
    for part in parts(len(images)):
        logits, seen = recorder.with_kept(network.normalise(images[part]))
        for name, s in seen.items():
            gates.setdefault(name, []).append(s)
        answers.append(logits.argmax(1))
        progress(len(logits))
    return Recorded({name: np.concatenate(s) for name, s in gates.items()}, np.concatenate(answers))


def group_means(s: np.ndarray, groups: Groups) -> np.ndarray:
    """m (K, C): the mean gates of each group."""
    return _sums(s, groups) / groups.counts[:, None]


def group_stds(s: np.ndarray, groups: Groups) -> np.ndarray:
    """(K, C): the standard deviation of each gate between the images of one group."""
    deviation = s - group_means(s, groups)[groups.of]
    return np.sqrt(_sums(deviation**2, groups) / groups.counts[:, None])


def share_between(s: np.ndarray, groups: Groups) -> float:
    """The share of the gates' variance, all channels together, that lies between groups; 0 if they never vary."""
    s = s.astype(np.float64)
    m = s.mean(0)
    total = float(((s - m) ** 2).sum())
    between = float((groups.counts[:, None] * (group_means(s, groups) - m) ** 2).sum())
    return between / total if total > 1e-12 * s.size else 0.0


def named_by(s: np.ndarray, groups: Groups) -> float:
    """How often the gates alone name the group: nearest mean, the means taken from the other half of the images.

    Distances are measured in standard deviations within groups.
    """
    right = 0
    for half in (0, 1):
        learn, ask = np.arange(len(s)) % 2 != half, np.arange(len(s)) % 2 == half
        known = grouped(groups.what, tuple(map(str, range(len(groups.names)))), groups.of[learn])
        if not known.names:
            continue
        spread = np.sqrt((group_stds(s[learn], known)[known.of] ** 2).mean(0)) + 1e-6
        means = group_means(s[learn], known) / spread
        distance = (((s[ask] / spread)[:, None] - means) ** 2).sum(2)
        right += int((np.array(known.names, int)[distance.argmin(1)] == groups.of[ask]).sum())
    return right / len(s)


@dataclass(frozen=True)
class BlockSummary:
    """One block in numbers: its gates' mean and spread, saturation, and what each grouping says of them."""

    block: str
    channels: int
    mean: float
    spread: float  # standard deviation between images, root mean square over channels
    within: float  # the same between images of one class
    low: float  # share of gates below LOW
    high: float  # and above HIGH
    slope: float  # mean of s (1 - s), which the gradient through the gate is multiplied by; 1/4 at most
    between: dict[str, float]
    chance: dict[str, float]
    named: dict[str, float]


def summarise(block: str, s: np.ndarray, groupings: tuple[Groups, ...]) -> BlockSummary:
    """The summary of a block's gates s (N, C); the first grouping is that by class."""
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
