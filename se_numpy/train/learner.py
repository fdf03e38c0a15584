"""``Learner``: a network with its parameters in flat vectors, a training step and evaluation; ``Trained``."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Self

import numpy as np

from se_numpy import checkpoint, engine, layers, ops, optim, tree
from se_numpy.arg_types import user_path
from se_numpy.arrays import Array, array_module, moved_to, on_host, to_device, to_host
from se_numpy.data.array_checks import check_images, check_labels
from se_numpy.data.batches import Images, Normalisation, slices
from se_numpy.layers.layer import sizes
from se_numpy.shapes import check, is_real, whole
from se_numpy.train import saved
from se_numpy.train.nan_check import NotFinite, finite, first_not_finite

EVALUATION_BATCH = 128
VECTORS = ("w", "running", "v", "g")
FIXED = ("net", "compiled", "shape", "classes", "device")


class Learner:
    """A network in training, run by the engine.  ``net`` is any Layer that returns logits (N, classes).

    Assigning to one of the arrays below, or to a part of a tree, copies the values. Names and shapes have to
    match. The dtype and the device of the Learner do not change, unless the assignment is to w, which determines both.
    All other attributes are fixed.

    Copying (shallow or deep) and unpickling give an independent Learner with the same values. With the same batches and
    generators, the copy trains exactly as the original does, bit for bit.

    Raises
    ------
    ValueError, TypeError
        If ``net`` is not a network that returns logits for inputs of ``shape``, or if ``shape`` is (channels, height,
        width), or the seed is negative.

    Attributes
    ----------
    w, v, g : array of shape (P,)
        All parameters in one vector, the velocity of the optimiser, and the gradient of the last step.
    running : array of shape (S,)
        All running statistics.
    params, state : tree
        w and running as trees, whose leaves are views into them.
    """

    net: layers.Layer
    compiled: engine.Compiled
    shape: layers.Shape  # of one input, (H, W, C)
    classes: int
    device: str
    w: Array
    running: Array
    v: Array
    g: Array
    params: tree.Tree
    state: tree.Tree

    def __init__(self, net: layers.Layer, shape: layers.Shape, seed: int, device: str = "cpu") -> None:
        shape = sizes(shape)
        _check_shape(shape)
        params, state = layers.init(net, shape, stream(whole("seed", seed, least=0), "weights"))
        if len(logits := net.output_shape(shape)) != 1:
            raise ValueError(
                f"the network returns an array of shape {logits} for each image; expected one of logits, (classes,): "
                "end it with GlobalAveragePool() and Linear(classes)"
            )
        w = to_device(tree.flatten(params), device)
        running = to_device(tree.flatten(state) if state else np.zeros(0, np.float32), device)
        fixed = net, engine.compile(net), shape, logits[0], device
        self.__dict__.update(zip(FIXED, fixed, strict=True))
        self._hold({"w": w, "running": running, "v": w * 0, "g": w * 0})

    def __repr__(self) -> str:
        size = "x".join(map(str, self.shape))
        return (f"<{type(self).__name__}: {self.w.size:,} parameters {self.w.dtype} on {self.device}, input {size}, "
                f"{self.classes} classes>")  # fmt: skip

    def _hold(self, vectors: dict[str, Array]) -> None:
        """Keep these vectors without copying them, and create the trees of views."""
        params, state = self.net.parameters(self.shape), self.net.statistics(self.shape)
        trees = tree.unflatten(vectors["w"], params), tree.unflatten(vectors["running"], state)
        self.__dict__.update(vectors, params=trees[0], state=trees[1])

    def __setattr__(self, name: str, value: Any) -> None:
        if name in FIXED:
            raise AttributeError(f"{name} of a Learner is fixed; create a new Learner(net, shape, seed, device)")
        if name == "w":
            self._follow(value)
        if name in (*VECTORS, "params", "state"):
            tree.assign({name: getattr(self, name)}, {name: value})
        else:
            super().__setattr__(name, value)

    def _follow(self, w: Array) -> None:
        """Move all vectors to the dtype and the device of this w."""
        check("w: P", w)
        if w.dtype.kind != "f" or w.shape != self.w.shape:
            return  # ``assign`` raises the error
        if array_module(w) is not array_module(self.w) or w.dtype != self.w.dtype:
            self._hold({name: moved_to(w, getattr(self, name)).astype(w.dtype) for name in VECTORS})
            self.__dict__["device"] = "cpu" if on_host(w) else "gpu"

    def __getstate__(self) -> dict[str, Any]:
        """Return the vectors on the host; ``__setstate__`` recreates the trees and the compiled network."""
        held = {name: value for name, value in vars(self).items() if name not in ("compiled", "params", "state")}
        return held | {name: to_host(held[name]) for name in VECTORS}

    def __setstate__(self, held: dict[str, Any]) -> None:
        vectors = {name: to_device(held[name].copy(), held["device"]) for name in VECTORS}
        self.__dict__.update(held, compiled=engine.compile(held["net"]))
        self._hold(vectors)

    def step(
        self, X: Array, labels: Array, optimiser: optim.SGD, lr: float, *, smoothing: float = 0.0, rng: Any = None,
        watch: bool = False,
    ) -> tuple[Array, Array]:  # fmt: skip
        """Take one training step on X (N, H, W, C) and labels (N,).

        Return the loss and the number of images classified correctly, both 0-d arrays. With ``watch`` the
        loss is checked, which makes the host wait for the GPU. On a GPU, labels are not read back to check their
        values: a label that no class has makes the loss NaN.

        Raises
        ------
        ValueError, TypeError
            If the images or the labels do not fit the network, or a setting is invalid; nothing is changed.
        NotFinite
            If ``watch`` is set and the loss is NaN or infinite; the message names the layer.
        """
        self._check_batch(X, labels)
        _check_settings(optimiser, lr, smoothing)
        logits, cache = self.compiled.forward(self.params, self.state, X, train=True, rng=rng)
        loss = engine.softmax_cross_entropy(logits, labels, smoothing=smoothing)
        if watch and not finite(loss):
            raise NotFinite(first_not_finite(self.net, self.params, self.state, X) or "only the loss is not finite")
        dlogits = engine.softmax_cross_entropy_backward(1.0, logits, labels, smoothing=smoothing)
        if stats := self.compiled.batch_stats(cache):
            engine.move_running(engine.flatten(tree.in_order_of(stats, self.state)), layers.MOMENTUM, self.running)
        _, grads = self.compiled.backward(self.params, cache, dlogits, input_gradient=False)
        engine.flatten(tree.in_order_of(grads, self.params), out=self.g)
        optimiser.step(self.w, self.g, self.v, lr)
        return loss, engine.hits(logits, labels)

    def evaluate(self, images: Images, progress: Callable[[int], object] = lambda n: None) -> tuple[float, float]:
        """Return the mean loss and the accuracy over all images, using the running statistics.

        ``progress`` is called with the size of each batch.

        Raises
        ------
        ValueError, TypeError
            As ``step`` does, and if there are no images.
        """
        if not isinstance(images, Images):
            raise TypeError(f"images are {type(images).__name__}; expected Images(images, labels, normalise)")
        if not len(images):
            raise ValueError("got 0 images; expected at least 1 to evaluate on")
        predict = self.compiled.predictor(self.params, self.state)
        loss, right = 0.0, 0.0
        for part in slices(len(images), (images.H, images.W), EVALUATION_BATCH):
            X, labels = images.in_order(part)
            self._check_batch(X, labels)
            logits = predict(X)
            loss = loss + engine.softmax_cross_entropy(logits, labels) * len(labels)
            right = right + engine.hits(logits, labels)
            progress(len(labels))
        return float(loss) / len(images), float(right) / len(images)

    def trees(self) -> dict[str, tree.Tree]:
        """Return the trees to save in a checkpoint: parameters, running statistics, the optimiser's velocity."""
        return {"params": self.params, "state": self.state, "velocity": tree.unflatten(self.v, self.params)}

    def restore(self, trees: dict[str, tree.Tree]) -> None:
        """Copy the values from the trees of a checkpoint; if there is no velocity, it starts at 0.

        Raises
        ------
        ValueError, TypeError
            If the trees do not fit the network; nothing is changed.
        """
        at_rest = tree.map_leaves(lambda p: array_module(p).zeros(p.shape, p.dtype), self.params)
        found = {"params": trees.get("params", {}), "state": trees.get("state", {})}
        tree.assign(self.trees(), {**found, "velocity": trees.get("velocity", at_rest)})

    def _check_batch(self, X: Array, labels: Array) -> None:
        """Raise ValueError or TypeError for images or labels that do not fit the network."""
        check("images: N ...", X)
        given, expected = tuple(X.shape), self.shape
        if len(given) != len(expected) + 1 or given[-1] != expected[-1]:
            channels_first = len(given) == 4 and given[1] == expected[-1]
            raise ValueError(
                f"images have shape {given}; expected (N, {', '.join(map(str, expected))}), channels last"
                + (": images.transpose(0, 2, 3, 1)" if channels_first else "")
            )
        check_size(self.net, self.shape, given[1:])
        check_labels("labels", labels, len(X), self.classes, "the network's classes")


@dataclass(frozen=True, repr=False)
class Trained:
    """A trained network with its normalisation, classes and settings: ``Trained.load("runs/.../best.npz")``."""

    net: layers.Layer
    params: tree.Tree
    state: tree.Tree
    normalise: Normalisation
    classes: tuple[str, ...]
    shape: layers.Shape  # of an image, (H, W, C)
    config: dict[str, Any]  # the settings of the run

    def __repr__(self) -> str:
        size = "x".join(map(str, self.shape))
        return (f"<{type(self).__name__} {self.config.get('model', 'network')}: {tree.size(self.params):,} parameters, "
                f"images {size}, {len(self.classes)} classes>")  # fmt: skip

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Load a network from the folder of a run, whose best.npz is read, or from a checkpoint written by ``train``.

        Raises
        ------
        FileNotFoundError
            If the file does not exist.
        ValueError
            If the file is not a checkpoint, is damaged, or does not contain the settings of a run.
        """
        path = user_path(path)
        path = path / "best.npz" if path.is_dir() else path
        trees, meta = checkpoint.load(path)
        try:
            _, net = saved.check_network(meta, trees)
        except ValueError as error:
            raise ValueError(
                f"{path} does not describe its network ({error}); expected a checkpoint written by se-numpy train"
            ) from None
        classes, shape = tuple(meta["classes"]), tuple(meta["image_shape"])
        return cls(net, trees["params"], trees.get("state", {}), saved.normalisation(meta), classes, shape,
                   meta["config"])  # fmt: skip

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return the predicted probability of each class.

        images (N, H, W, C) uint8 -> (N, classes)

        Raises
        ------
        TypeError
            If the images are not an array of bytes.
        ValueError
            If there are none, or if they do not fit the network.
        """
        if not check_images("images", images)[0]:
            raise ValueError("got 0 images; expected at least 1")
        check_size(self.net, self.shape, images.shape[1:])
        predict = engine.compile(self.net).predictor(self.params, self.state)
        parts = slices(len(images), images.shape[1:], EVALUATION_BATCH)
        return np.concatenate([ops.softmax(predict(self.normalise(images[part]))) for part in parts])


def check_size(net: layers.Layer, shape: layers.Shape, given: layers.Shape) -> None:
    """Check that a network with the parameters for inputs of ``shape`` takes inputs of the shape ``given``.

    Raises
    ------
    ValueError
        If a layer needs other parameters for them, or if they are too small.
    """
    if given != shape and net.parameters(given) != net.parameters(shape):
        raise ValueError(f"images have shape (N, {', '.join(map(str, given))}); expected (N, "
                         f"{', '.join(map(str, shape))}), the only size that fits the parameters")  # fmt: skip


def _check_settings(optimiser: Any, lr: Any, smoothing: Any) -> None:
    """Raise TypeError or ValueError for settings that would fail in the middle of a step."""
    if not hasattr(optimiser, "step"):
        raise TypeError(f"the optimiser is {optimiser!r}; expected one such as optim.SGD()")
    if not (is_real(lr) and isfinite(lr)):
        raise ValueError(f"lr is {lr!r}; expected a finite number")
    if not (is_real(smoothing) and 0 <= smoothing <= 1):
        raise ValueError(f"smoothing is {smoothing!r}; expected 0 <= smoothing <= 1")


def _check_shape(shape: layers.Shape) -> None:
    """Raise ValueError if the shape of a three-channel image has the channels first."""
    if len(shape) == 3 and shape[0] == 3 and shape[1] == shape[2] > 4:
        right = (shape[1], shape[2], shape[0])
        raise ValueError(f"shape is {tuple(shape)}; expected (H, W, C), channels last: {right}")


def stream(seed: int, purpose: str, *key: int) -> np.random.Generator:
    """Return the generator for one purpose, independent of those for all other purposes."""
    return np.random.default_rng([seed, *purpose.encode(), *key])
