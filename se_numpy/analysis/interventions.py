"""What the gates are needed for: other gates are put in their place, and what that costs is counted.

    one               every gate open: the network without its excitation
    mean              what the gate is on average over all images: a constant, which γ and β before the block could hold
    class mean        the same over the images of the true class; that tells the network something of the answer
    shuffled          the gates of another image; in all blocks those of the same other image
    within class      the gates of another image of the same class

Where the images have a cue (see ``group_by_cue``) there are "cue mean" and "within cue" too. Each intervention runs a
copy of the network that has ``GivenGates`` in place of the SE block.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from math import sqrt

import numpy as np

from se_numpy import engine, se
from se_numpy.analysis.gates import Groups, Progress, Recorded, group_means, parts
from se_numpy.analysis.network import Network, with_layers, with_numbers
from se_numpy.arrays import Array, array_module
from se_numpy.layers import Layer, Parameter, Result, Rng, Shape, walk
from se_numpy.tree import Tree

ALL = "all blocks"
BATCH = 125


@dataclass(frozen=True)
class GivenGates(Layer):
    """x̃_c = s_c u_c with gates from outside: s in its parameters is (N, C), or (C,), the same for all images."""

    def parameters(self, shape: Shape) -> Tree:
        return {"s": Parameter(shape[-1:], mean=1.0)}

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Rng = None) -> Result:
        return engine.scale(X, self._gates(params, X)), X

    def backward(self, params: Tree, cache: Array, dY: Array) -> tuple[Array, Tree]:
        dU, ds = se.scale_backward(dY, cache, self._gates(params, cache))
        return dU, {"s": ds if params["s"].ndim == 2 else ds.sum(0)}

    def _gates(self, params: Tree, U: Array) -> Array:
        s = params["s"]
        return s if s.ndim == 2 else array_module(s).broadcast_to(s, (len(U), len(s)))


@dataclass(frozen=True)
class Outcome:
    """What one intervention did: the answers, the accuracy, what it cost and the 95 % interval of that cost."""

    block: str
    kind: str
    accuracy: float
    cost: float
    low: float
    high: float
    answers: np.ndarray = field(repr=False)


def kinds(groupings: Sequence[Groups]) -> list[str]:
    """The interventions' names, in order."""
    return ["one", "mean", *(f"{g.what} mean" for g in groupings), "shuffled", *(f"within {g.what}" for g in groupings)]


def donors(of: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each image another one of its group, drawn at random; itself only where it is alone."""
    donor = np.empty(len(of), int)
    for k in np.unique(of):
        members = rng.permutation(np.flatnonzero(of == k))
        donor[members] = np.roll(members, 1)  # each takes from the one before it, so nobody takes from themselves
    return donor


def all_donors(groupings: Sequence[Groups], n: int, seed: int = 0) -> dict[str, np.ndarray]:
    """For each way to shuffle n images, whose gates each gets."""
    rng = np.random.default_rng(seed)
    return {
        "shuffled": donors(np.zeros(n, int), rng),
        **{f"within {g.what}": donors(g.of, rng) for g in groupings},
    }


def given(s: np.ndarray, groupings: Sequence[Groups], takes: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The gates (N, C) that each kind of intervention puts in the place of s (N, C)."""
    s_mean = np.broadcast_to(s.mean(0), s.shape)
    means = {f"{g.what} mean": group_means(s, g)[g.of].astype(s.dtype) for g in groupings}
    return {"one": np.ones_like(s), "mean": s_mean, **means, **{kind: s[donor] for kind, donor in takes.items()}}


def intervene(
    network: Network, images: np.ndarray, labels: np.ndarray, recorded: Recorded, groupings: Sequence[Groups],
    takes: dict[str, np.ndarray], progress: Progress = lambda n: None,
) -> Iterator[Outcome]:  # fmt: skip
    """Each kind in each block, then in all blocks at once, on images (N, H, W, C) uint8 whose gates were recorded.

    ``takes`` is what ``all_donors`` says. ``progress`` is told of the images that were run.
    """
    before = recorded.answers == labels
    for block in [*recorded.gates, ALL]:
        names = list(recorded.gates) if block == ALL else [block]
        gates = {name: given(recorded.gates[name], groupings, takes) for name in names}
        for kind in kinds(groupings):
            answers = run_with(network, images, {name: gates[name][kind] for name in names}, progress)
            after = answers == labels
            yield Outcome(block, kind, float(after.mean()), *cost(before, after), answers)


def run_with(
    network: Network, images: np.ndarray, gates: dict[str, np.ndarray], progress: Progress = lambda n: None
) -> np.ndarray:
    """The classes (N,) that the network answers on images (N, H, W, C) uint8 with these gates.

    ``gates`` names blocks as ``network.blocks`` does, in full, and holds for each (N, C), of any dtype.  Raises
    ValueError for a name that is no block of the network, and for gates that do not fit it.
    """
    gates = {name: _fitting(network, len(images), name, np.asarray(s)) for name, s in gates.items()}
    net = with_layers(network.net, dict.fromkeys(gates, GivenGates()))
    bare = with_numbers(network.params, {name: {} for name in gates})
    folded = engine.compile(net).predictor(bare, network.state)
    answers = []
    for part in parts(len(images), BATCH):
        X = network.normalise(images[part])
        numbers = {name: {"s": np.ascontiguousarray(s[part], X.dtype)} for name, s in gates.items()}
        logits = replace(folded, params=with_numbers(folded.params, numbers))(X)
        answers.append(logits.argmax(1))
        progress(part.stop - part.start)
    return np.concatenate(answers)


def _fitting(network: Network, images: int, name: str, s: np.ndarray) -> np.ndarray:
    """The gates s, if they are (N, C) for the block of this name."""
    blocks = network.blocks
    if name not in blocks:
        # A short name is one place above the block: the whole unit could be replaced there, and nobody would notice.
        full = {short: block for block, short in blocks.items()} | {block: block for block in blocks}
        near = get_close_matches(name, full, n=1, cutoff=0)
        meant = f", as {full[near[0]]!r}" if near else ""
        raise ValueError(f"the network has no SE block {name!r}; expected a name out of network.blocks{meant}")
    C = next(given[-1] for place, _, given in walk(network.net, network.shape) if place == name)
    if s.shape != (images, C) or s.dtype.kind not in "fiub":
        raise ValueError(f"the gates of {name} have shape {s.shape}, dtype {s.dtype}; "
                         f"expected numbers (N, C) = ({images}, {C})")  # fmt: skip
    return s


def cost(before: np.ndarray, after: np.ndarray) -> tuple[float, float, float]:
    """How much accuracy is lost, and the 95 % interval; before and after (N,) say which images were right.

    The images are the same, so only those that changed count. Agresti and Min (2005): half an image more in each of the
    four cells, so that no change at all still leaves an interval.
    """
    n, lost, won = len(before), int((before & ~after).sum()), int((~before & after).sum())
    centre = (lost - won) / (n + 2)
    half = 1.96 * sqrt((lost + won + 1) - (lost - won) ** 2 / (n + 2)) / (n + 2)
    return (lost - won) / n, max(-1.0, centre - half), min(1.0, centre + half)
