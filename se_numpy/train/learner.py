"""A network that learns: its numbers in flat vectors, one step of training, evaluation."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from se_numpy import checkpoint, engine, layers, ops, optim, tree
from se_numpy.arrays import Array, to_device
from se_numpy.data.batches import Images, Normalisation
from se_numpy.train.config import Config
from se_numpy.train.fault import NotFinite, finite, first_fault

EVALUATION_BATCH = 128


class Learner:
    """A network with its numbers: parameters and running statistics as views into one flat vector each.

    It runs on the engine: any Layer that ends in logits (N, classes) will do.
    """

    def __init__(self, net: layers.Layer, shape: layers.Shape, seed: int, device: str = "cpu") -> None:
        params, state = layers.init(net, shape, stream(seed, "weights"))
        self.net, self.compiled, self.device = net, engine.compile(net), device
        self.w = to_device(tree.flatten(params), device)
        self.running = to_device(tree.flatten(state) if state else np.zeros(0, np.float32), device)
        self.params = tree.unflatten(self.w, params)
        self.state = tree.unflatten(self.running, state)
        self.g = self.w * 0
        self.v = self.w * 0

    def step(
        self, X: Array, labels: Array, optimiser: optim.SGD, lr: float, *, smoothing: float = 0.0, rng: Any = None,
        watch: bool = False,
    ) -> tuple[Array, Array]:  # fmt: skip
        """One step of training on X (N, H, W, C) and labels (N,): the loss, 0-d, and how many were right, 0-d.

        ``watch`` looks at the loss, which makes a GPU wait, and raises NotFinite, saying where a number was lost.
        """
        logits, cache = self.compiled.forward(self.params, self.state, X, train=True, rng=rng)
        loss = engine.softmax_cross_entropy(logits, labels, smoothing=smoothing)
        if watch and not finite(loss):
            raise NotFinite(first_fault(self.net, self.params, self.state, X) or "the loss alone is not finite")
        dlogits = engine.softmax_cross_entropy_backward(1.0, logits, labels, smoothing=smoothing)
        if stats := self.compiled.batch_stats(cache):
            engine.move_running(tree.flatten(tree.in_order_of(stats, self.state)), layers.MOMENTUM, self.running)
        _, grads = self.compiled.backward(self.params, cache, dlogits, input_gradient=False)
        tree.flatten(tree.in_order_of(grads, self.params), out=self.g)
        optimiser.step(self.w, self.g, self.v, lr)
        return loss, (logits.argmax(1) == labels).sum()

    def evaluate(self, images: Images) -> tuple[float, float]:
        """Mean loss and accuracy over all images, with the running statistics."""
        predict = self.compiled.predictor(self.params, self.state)
        loss, right = 0.0, 0.0
        for start in range(0, len(images), EVALUATION_BATCH):
            X, labels = images.in_order(slice(start, start + EVALUATION_BATCH))
            logits = predict(X)
            loss = loss + engine.softmax_cross_entropy(logits, labels) * len(labels)
            right = right + (logits.argmax(1) == labels).sum()
        return float(loss) / len(images), float(right) / len(images)

    def trees(self) -> dict[str, tree.Tree]:
        """What a checkpoint holds: parameters, running statistics, and the optimiser's velocity."""
        return {"params": self.params, "state": self.state, "velocity": tree.unflatten(self.v, self.params)}

    def restore(self, trees: dict[str, tree.Tree]) -> None:
        """Take over the numbers of a checkpoint."""
        for vector, kind in ((self.w, "params"), (self.running, "state"), (self.v, "velocity")):
            if vector.size:
                vector[...] = to_device(tree.flatten(trees[kind]), self.device)


@dataclass(frozen=True, repr=False)
class Trained:
    """A network as a run left it, with what it needs to look at images: ``Trained.load("runs/.../best.npz")``."""

    net: layers.Layer
    params: tree.Tree
    state: tree.Tree
    normalise: Normalisation
    classes: tuple[str, ...]
    shape: layers.Shape  # of an image: H, W, C
    config: dict[str, Any]  # what it was trained with

    def __repr__(self) -> str:
        size = "x".join(map(str, self.shape))
        return (f"<{type(self).__name__} {self.config.get('model', 'network')}: {tree.size(self.params):,} parameters, "
                f"images {size}, {len(self.classes)} classes>")  # fmt: skip

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """From a checkpoint that ``train`` wrote.  Raises as ``checkpoint.load``, ValueError for one that is none."""
        trees, meta = checkpoint.load(path)
        try:
            config, classes, shape = meta["config"], tuple(meta["classes"]), tuple(meta["image_shape"])
            net = Config(**config).network(len(classes))
            normalise = Normalisation(np.array(meta["mean"]), np.array(meta["std"]))
            return cls(net, trees["params"], trees["state"], normalise, classes, shape, config)
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{path} does not say what network it is ({error}); expected a checkpoint that se-numpy train wrote"
            ) from None

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """images (N, H, W, C) uint8 -> (N, classes): how likely each class is, in the network's opinion."""
        predict = engine.compile(self.net).predictor(self.params, self.state)
        batches = range(0, len(images), EVALUATION_BATCH)
        return np.concatenate([
            ops.softmax(predict(self.normalise(images[start : start + EVALUATION_BATCH]))) for start in batches
        ])  # fmt: skip


def stream(seed: int, purpose: str, *key: int) -> np.random.Generator:
    """The random numbers for one purpose: independent of those for any other, whichever are drawn."""
    return np.random.default_rng([seed, *purpose.encode(), *key])
