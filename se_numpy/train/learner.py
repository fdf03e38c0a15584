"""``Learner``: a network with its parameters in flat vectors, a training step and evaluation; ``Trained``."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from typing import Any, Self

import numpy as np

from se_numpy import checkpoint, engine, layers, ops, optim, tree
from se_numpy.arg_types import user_path
from se_numpy.arrays import Array, array_module, moved_to, on_host, to_device, to_host
from se_numpy.data.array_checks import check_images
from se_numpy.data.batches import Normalisation, slices
from se_numpy.detection import Detections
from se_numpy.layers.layer import sizes
from se_numpy.shapes import check, is_real, whole
from se_numpy.train import saved
from se_numpy.train.detecting import LEAST, Detection, detections
from se_numpy.train.nan_check import NotFinite, finite, first_not_finite
from se_numpy.train.task import Classification, Task
from se_numpy.train.tasks import task_of

EVALUATION_BATCH = 128
VECTORS = ("w", "running", "v", "g")
OPTIONAL = ("s", "average", "rates")  # None until they are needed
FIXED = ("net", "compiled", "shape", "classes", "device", "task")


class Learner:
    """A network in training, run by the engine.  ``net`` is any Layer whose outputs fit the task.

    By default, the task is to classify images, and the outputs are logits (N, classes).

    Assigning to one of the arrays below, or to a part of a tree, copies the values. Names and shapes have to
    match. The dtype and the device of the Learner do not change, unless the assignment is to w, which determines both.
    All other attributes are fixed.

    Copying (shallow or deep) and unpickling give an independent Learner with the same values. With the same batches and
    generators, the copy trains exactly as the original does, bit for bit.

    Raises
    ------
    ValueError, TypeError
        If the outputs of ``net`` for inputs of ``shape`` do not fit the task, or if ``shape`` is (channels, height,
        width), or the seed is negative.

    Attributes
    ----------
    w, v, g : array (P,)
        All parameters in one vector, the velocity of the optimiser, and the gradient of the last step.
    running : array (S,)
        All running statistics.
    s : array (P,), or None
        The second moment of AdamW.
    average : array (P + S,), or None
        The moving averages of w and running; ``evaluate(images, average=True)`` uses them.
    rates : array (P,), or None
        Factors of the learning rate for each parameter; parameters whose factor is 0 are frozen.
    counts : dict of arrays ()
        The numbers of steps that s and average contain.
    params, state : tree
        w and running as trees, whose leaves are views into them.
    """

    net: layers.Layer
    compiled: engine.Compiled
    shape: layers.Shape  # of one input, (H, W, C)
    classes: int
    device: str
    task: Task
    w: Array
    running: Array
    v: Array
    g: Array
    s: Array | None
    average: Array | None
    rates: Array | None
    counts: dict[str, np.ndarray]
    params: tree.Tree
    state: tree.Tree

    def __init__(
        self, net: layers.Layer, shape: layers.Shape, seed: int, device: str = "cpu", task: Task | None = None
    ) -> None:  # fmt: skip
        shape, task = sizes(shape), Classification() if task is None else task
        _check_shape(shape)
        params, state = layers.init(net, shape, stream(whole("seed", seed, least=0), "weights"))
        classes = task.classes(net, shape)
        w = to_device(tree.flatten(params), device)
        running = to_device(tree.flatten(state) if state else np.zeros(0, np.float32), device)
        fixed = net, engine.compile(net), shape, classes, device, task
        self.__dict__.update(zip(FIXED, fixed, strict=True))
        self.__dict__.update(dict.fromkeys(OPTIONAL), counts={name: np.zeros(()) for name in ("s", "average")})
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
        if name == "counts":
            raise AttributeError("counts of a Learner are its own; use restore(trees) to continue from a checkpoint")
        if name in OPTIONAL:
            self._set_optional(name, value)
        elif name in (*VECTORS, "params", "state"):
            tree.assign({name: getattr(self, name)}, {name: value})
        else:
            super().__setattr__(name, value)

    @property
    def held(self) -> tuple[str, ...]:
        """The names of all vectors that are not None."""
        return (*VECTORS, *(name for name in OPTIONAL if getattr(self, name) is not None))

    def _set_optional(self, name: str, value: Array | None) -> None:
        """Hold a copy of this vector, or none; s and average then count no steps."""
        if value is not None:
            size = self.w.size + self.running.size * (name == "average")
            vector = array_module(self.w).zeros(size, self.w.dtype)
            tree.assign({name: vector}, {name: value})
            value = vector
        self.__dict__[name] = value
        if name in self.counts:
            self.counts[name][...] = 0

    def hold(self, *, s: bool = False, average: bool = False) -> None:
        """Allocate the optional vectors that training will need, so that a checkpoint with them can be restored."""
        if s and self.s is None:
            self.s = self.w * 0
        if average and self.average is None:
            self.average = array_module(self.w).concatenate([self.w, self.running])

    def _follow(self, w: Array) -> None:
        """Move all vectors to the dtype and the device of this w."""
        check("w: P", w)
        if w.dtype.kind != "f" or w.shape != self.w.shape:
            return  # ``assign`` raises the error
        if array_module(w) is not array_module(self.w) or w.dtype != self.w.dtype:
            self._hold({name: moved_to(w, getattr(self, name)).astype(w.dtype) for name in self.held})
            self.__dict__["device"] = "cpu" if on_host(w) else "gpu"

    def __getstate__(self) -> dict[str, Any]:
        """Return the vectors on the host; ``__setstate__`` recreates the trees and the compiled network."""
        held = {name: value for name, value in vars(self).items() if name not in ("compiled", "params", "state")}
        return held | {name: to_host(held[name]) for name in self.held}

    def __setstate__(self, held: dict[str, Any]) -> None:
        names = [name for name in (*VECTORS, *OPTIONAL) if held[name] is not None]
        vectors = {name: to_device(held[name].copy(), held["device"]) for name in names}
        counts = {name: count.copy() for name, count in held["counts"].items()}
        self.__dict__.update(held, compiled=engine.compile(held["net"]), counts=counts)
        self._hold(vectors)

    def step(
        self, X: Array, truth: Any, optimiser: optim.SGD | optim.AdamW, lr: float, *, smoothing: float = 0.0,
        class_weights: Array | None = None, clip_norm: float | None = None, ema: optim.EMA | None = None,
        rng: Any = None, watch: bool = False,
    ) -> tuple[Array, Array]:  # fmt: skip
        """Take one training step on X (N, H, W, C) and its truth: labels (N,), or the targets of another task.

        ``class_weights`` (classes,) multiply the gradient of each image's loss; the loss returned is without weights.
        ``clip_norm`` limits the norm of the gradient of all parameters that are not frozen; ``ema`` averages the
        network after the step.

        Return the loss and the number of images classified correctly (0 in other tasks), both 0-d arrays. With
        ``watch`` the loss is checked, which makes the host wait for the GPU. On a GPU, labels are not read back to
        check their values: a label that no class has makes the loss NaN.

        Raises
        ------
        ValueError, TypeError
            If the images or the labels do not fit the network, or a setting is invalid; nothing is changed.
        NotFinite
            If ``watch`` is set and the loss is NaN or infinite; the message names the layer.
        """
        self._check_batch(X, truth)
        _check_settings(optimiser, lr, smoothing, clip_norm, ema)
        self.task.check_settings({"label_smoothing": smoothing, "class_weights": class_weights})
        if class_weights is not None:
            check("class_weights: K", class_weights)
            if class_weights.shape != (self.classes,):
                raise ValueError(f"class_weights have shape {class_weights.shape}; expected ({self.classes},), one for "
                                 "each class")  # fmt: skip
        Y, cache = self.compiled.forward(self.params, self.state, X, train=True, rng=rng)
        loss = self.task.loss(Y, truth, smoothing=smoothing)
        if watch and not finite(loss):
            raise NotFinite(first_not_finite(self.net, self.params, self.state, X) or "only the loss is not finite")
        dY = self.task.loss_backward(Y, truth, smoothing=smoothing, class_weights=class_weights)
        if stats := self.compiled.batch_stats(cache):
            engine.move_running(engine.flatten(tree.in_order_of(stats, self.state)), layers.MOMENTUM, self.running)
        _, grads = self.compiled.backward(self.params, cache, dY, input_gradient=False)
        engine.flatten(tree.in_order_of(grads, self.params), out=self.g)
        self._descend(optimiser, lr, clip_norm)
        if ema is not None:
            self.hold(average=True)
            ema.step(self.average, self.w, self.running, int(self.counts["average"]))
            self.counts["average"] += 1
        return loss, self.task.right(Y, truth)

    def _descend(self, optimiser: optim.SGD | optim.AdamW, lr: float, clip_norm: float | None) -> None:
        """Update w, v and s with the gradient g."""
        rates = {} if self.rates is None else {"rates": self.rates}
        if clip_norm is not None:
            if self.rates is not None:
                self.g *= self.rates != 0  # as in PyTorch, frozen parameters have no gradient
            optim.clip_by_norm(self.g, clip_norm)
        if not isinstance(optimiser, optim.AdamW):
            optimiser.step(self.w, self.g, self.v, lr, **rates)
            return
        self.hold(s=True)
        self.counts["s"] += 1
        optimiser.step(self.w, self.g, self.v, lr, s=self.s, t=int(self.counts["s"]), **rates)

    def evaluate(
        self, images: Any, progress: Callable[[int], object] = lambda n: None, *, average: bool = False
    ) -> tuple[float, float]:
        """Return the mean loss and the accuracy (or the first metric of another task) over all images.

        The running statistics are used. ``progress`` is called with the size of each batch. With ``average`` the
        averaged network is evaluated.

        Raises
        ------
        ValueError, TypeError
            As ``step`` does, and if there are no images.
        """
        found = self.measure(images, progress, average=average)
        return found["loss"], found[self.task.metric]

    def measure(
        self, images: Any, progress: Callable[[int], object] = lambda n: None, *, average: bool = False
    ) -> dict[str, float]:
        """Return the mean loss and all metrics of the task, as ``evaluate`` does, by name.

        Raises
        ------
        ValueError, TypeError
            As ``evaluate`` does.
        """
        tally = self.task.tally(images)
        if not len(images):
            raise ValueError("got 0 images; expected at least 1 to evaluate on")
        predict = self.compiled.predictor(*(self.averages() if average else (self.params, self.state)))
        for part in slices(len(images), (images.H, images.W), EVALUATION_BATCH):
            X, truth = images.in_order(part)
            self._check_batch(X, truth)
            tally.add(predict(X), truth)
            progress(len(X))
        return tally.result()

    def averages(self) -> tuple[tree.Tree, tree.Tree]:
        """Return the averages of params and state as trees of views.

        Raises
        ------
        ValueError
            If no average is held.
        """
        if self.average is None:
            raise ValueError("the Learner holds no average; give step(..., ema=optim.EMA())")
        P = self.w.size
        return tree.unflatten(self.average[:P], self.params), tree.unflatten(self.average[P:], self.state)

    def trees(self) -> dict[str, tree.Tree]:
        """Return the trees to save in a checkpoint: parameters, running statistics, the state of the optimiser.

        If an average is held, it is among them.
        """
        trees = {"params": self.params, "state": self.state, "velocity": tree.unflatten(self.v, self.params)}
        if self.s is not None:
            trees["square"] = tree.unflatten(self.s, self.params)
        if self.average is not None:
            trees["average_params"], trees["average_state"] = self.averages()
        if counts := {name: n for name, n in self.counts.items() if getattr(self, name) is not None}:
            trees["counts"] = counts
        return trees

    def restore(self, trees: dict[str, tree.Tree]) -> None:
        """Copy the values from the trees of a checkpoint; if there is no velocity, it starts at 0.

        A Learner that holds s or average needs them in the checkpoint too; call ``hold`` first to continue from one.

        Raises
        ------
        ValueError, TypeError
            If the trees do not fit the network; nothing is changed.
        """
        at_rest = tree.map_leaves(lambda p: array_module(p).zeros(p.shape, p.dtype), self.params)
        found = {"params": trees.get("params", {}), "state": trees.get("state", {})}
        into = self.trees()
        found["velocity"] = trees.get("velocity", at_rest)
        found |= {name: trees.get(name, {}) for name in into if name not in found}
        tree.assign(into, found)

    def _check_batch(self, X: Array, truth: Any) -> None:
        """Raise ValueError or TypeError for images or a truth that do not fit the network."""
        check("images: N ...", X)
        given, expected = tuple(X.shape), self.shape
        if len(given) != len(expected) + 1 or given[-1] != expected[-1]:
            channels_first = len(given) == 4 and given[1] == expected[-1]
            raise ValueError(
                f"images have shape {given}; expected (N, {', '.join(map(str, expected))}), channels last"
                + (": images.transpose(0, 2, 3, 1)" if channels_first else "")
            )
        check_size(self.net, self.shape, given[1:])
        self.task.check_truth(truth, X, self.classes)


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

        If the run averaged its weights (EMA), the averages are loaded.

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
            config, net = saved.check_network(meta, trees)
        except ValueError as error:
            raise ValueError(
                f"{path} does not describe its network ({error}); expected a checkpoint written by se-numpy train"
            ) from None
        classes, shape = tuple(meta["classes"]), tuple(meta["image_shape"])
        kind = "" if config.ema is None else "average_"
        return cls(net, trees[f"{kind}params"], trees.get(f"{kind}state", {}), saved.normalisation(meta), classes,
                   shape, meta["config"])  # fmt: skip

    @property
    def task(self) -> Task:
        """The task that the network was trained for."""
        return task_of(self.config)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return the predicted probability of each class.

        images (N, H, W, C) uint8 -> (N, classes)

        Raises
        ------
        TypeError
            If the images are not an array of bytes.
        ValueError
            If there are none, or if they do not fit the network, or if it was trained to detect.
        """
        self.check_task(Classification.name)
        return np.concatenate([ops.softmax(Y) for Y in self._outputs(images)])

    def detect(self, images: np.ndarray, *, threshold: float = LEAST) -> Detections:
        """Return the objects in images (N, H, W, C) uint8 that are found with a score of at least ``threshold``.

        Raises
        ------
        TypeError
            If the images are not an array of bytes.
        ValueError
            If there are none, or if they do not fit the network, or if it was trained to classify.
        """
        self.check_task(Detection.name)
        parts, first = [], 0
        for Y in self._outputs(images):
            parts.append(detections(Y, first=first, threshold=threshold))
            first += len(Y)
        return Detections.joined(parts)

    def check_task(self, name: str, what: str = "") -> None:
        """Raise ValueError if the network was trained for another task; ``what`` needs this one."""
        if self.task.name != name:
            raise ValueError(
                f"{what or 'this'} needs a network trained to {name}, but this one was trained to {self.task.name}; "
                f"give a run of se-numpy train --task {name}"
            )

    def _outputs(self, images: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the outputs of the network, a batch at a time."""
        if not check_images("images", images)[0]:
            raise ValueError("got 0 images; expected at least 1")
        check_size(self.net, self.shape, images.shape[1:])
        predict = engine.compile(self.net).predictor(self.params, self.state)
        for part in slices(len(images), images.shape[1:], EVALUATION_BATCH):
            yield predict(self.normalise(images[part]))


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


def _check_settings(optimiser: Any, lr: Any, smoothing: Any, clip_norm: Any, ema: Any) -> None:
    """Raise TypeError or ValueError for settings that would fail in the middle of a step."""
    if not hasattr(optimiser, "step"):
        raise TypeError(f"the optimiser is {optimiser!r}; expected one such as optim.SGD()")
    if not (is_real(lr) and isfinite(lr)):
        raise ValueError(f"lr is {lr!r}; expected a finite number")
    if not (is_real(smoothing) and 0 <= smoothing <= 1):
        raise ValueError(f"smoothing is {smoothing!r}; expected 0 <= smoothing <= 1")
    if clip_norm is not None and not (is_real(clip_norm) and 0 < clip_norm < inf):
        raise ValueError(f"clip_norm is {clip_norm!r}; expected a number above 0, or None")
    if ema is not None and not isinstance(ema, optim.EMA):
        raise TypeError(f"ema is {ema!r}; expected optim.EMA(decay), or None")


def _check_shape(shape: layers.Shape) -> None:
    """Raise ValueError if the shape of a three-channel image has the channels first."""
    if len(shape) == 3 and shape[0] == 3 and shape[1] == shape[2] > 4:
        right = (shape[1], shape[2], shape[0])
        raise ValueError(f"shape is {tuple(shape)}; expected (H, W, C), channels last: {right}")


def stream(seed: int, purpose: str, *key: int) -> np.random.Generator:
    """Return the generator for one purpose, independent of those for all other purposes."""
    return np.random.default_rng([seed, *purpose.encode(), *key])
