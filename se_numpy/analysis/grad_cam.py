"""Grad-CAM: the regions of an image whose maps speak for a class.

Let A (N, H, W, C) be the maps of one part of the network, and y the logit of the class:

    α_c = 1/(HW) Σ_i Σ_j ∂y/∂a_c(i, j)            L(i, j) = δ(Σ_c α_c a_c(i, j))

HW α_c is the slope of y if channel c becomes brighter everywhere. The gradient comes from the network's own backward
pass, in evaluation mode; it includes the path through the gates.

References
----------
Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from se_numpy import engine, ops
from se_numpy.analysis.network import Network
from se_numpy.data.array_checks import check_images
from se_numpy.data.batches import slices
from se_numpy.layers import SE, Layer, Serial, Shape

BATCH = 32


@dataclass(frozen=True)
class Explanation:
    """The maps L (N, h, w) of one part of a network for N images, and the classes (N,) for which they speak."""

    part: str
    classes: np.ndarray = field(repr=False)
    maps: np.ndarray = field(repr=False)

    def stretched(self, H: int, W: int) -> np.ndarray:
        """Return the maps at the size of the images, (N, H, W)."""
        return stretch(self.maps, H, W)


def explain(
    network: Network, images: np.ndarray, *, part: str | None = None, classes: np.ndarray | None = None
) -> Explanation:
    """Compute Grad-CAM for images (N, H, W, C) uint8.

    ``part`` is the dotted name of a part of the network that returns maps, such as "stage2" (default: its last maps).
    ``classes`` (N,) are the classes to explain (default: the network's answers).

    Raises
    ------
    ValueError, TypeError
        If these are not images, there are none, the part is unknown or does not return maps, or a class is unknown.
    """
    N = check_images("images", images)[0]
    if not N:
        raise ValueError("got 0 images; expected at least 1")
    part = last_maps(network.net, network.shape) if part is None else part
    compiled = engine.compile(network.net, keep=[part])
    found = []
    for n in slices(N, network.shape, BATCH):
        logits, cache = compiled.forward(network.params, network.state, network.normalise(images[n]))
        if cache.kept[part].ndim != 4:
            example = last_maps(network.net, network.shape)
            raise ValueError(f"{part} does not return maps (N, H, W, C); expected another part, such as {example}")
        chosen = logits.argmax(1) if classes is None else _checked(classes, N, logits.shape[1])[n]
        A, dy = cache.kept[part], np.eye(logits.shape[1], dtype=logits.dtype)[chosen]
        compiled.backward(network.params, cache, dy)
        found.append((chosen, grad_cam(A, cache.kept_gradients[part])))
    return Explanation(part, *(np.concatenate(arrays) for arrays in zip(*found, strict=True)))


def grad_cam(A: np.ndarray, dA: np.ndarray) -> np.ndarray:
    """Return L (N, H, W) for maps A and the gradient dA of a logit, both (N, H, W, C)."""
    alpha = dA.mean((1, 2), dtype=np.float64)
    return ops.relu(np.einsum("nhwc,nc->nhw", A, alpha))


def stretch(maps: np.ndarray, H: int, W: int) -> np.ndarray:
    """Resize maps (N, h, w) to (N, H, W) by bilinear interpolation between the centres of their pixels."""
    return np.einsum("ih,nhw,jw->nij", _interpolation(H, maps.shape[1]), maps, _interpolation(W, maps.shape[2]))


def _interpolation(size: int, source: int) -> np.ndarray:
    """Return the weights (size, source) of ``source`` pixels in each of ``size`` pixels along one axis."""
    centres = ((np.arange(size) + 0.5) * source / size - 0.5).clip(0, source - 1)
    return np.maximum(0, 1 - abs(centres[:, None] - np.arange(source)))


def mass_on(maps: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Return the share of each map's sum that lies in its region, (N,); maps and regions are (N, H, W).

    A map of zeros, which shows nothing, counts as 0.
    """
    total = maps.sum((1, 2))
    return (maps * regions).sum((1, 2)) / np.where(total > 0, total, 1)


def last_maps(net: Layer, shape: Shape) -> str:
    """Return the name of the last part, outside residual units and branches, that returns maps (H, W, C).

    Raises
    ------
    ValueError
        If there is none.
    """
    names = list(parts_with_maps(net, shape))
    if not names:
        raise ValueError("the network has no part that returns maps (H, W, C) before its output")
    return names[-1]


def maps_before_gates(net: Layer, shape: Shape) -> str | None:
    """Return the name of the last part with maps before the first SE block; None if there is none."""
    last = None
    for name, layer, _ in _on_the_way(net, shape):
        if _has_gates(layer):
            return last
        last = name
    return None


def parts_with_maps(net: Layer, shape: Shape) -> Iterator[str]:
    """Yield the names of the parts on the way from input to output that return maps, in order, a part after its own."""
    return (name for name, layer, out in _on_the_way(net, shape) if len(out) == 3 and not isinstance(layer, SE))


def _on_the_way(net: Layer, shape: Shape, path: str = "") -> Iterator[tuple[str, Layer, Shape]]:
    """Yield the name, the layer and the output shape of the parts of nested sequences."""
    if type(net) is not Serial:
        return
    for (name, layer), s in zip(net.parts, net.input_shapes(shape), strict=True):
        yield from _on_the_way(layer, s, f"{path}{name}.")
        yield f"{path}{name}", layer, layer.output_shape(s)


def _has_gates(layer: Layer) -> bool:
    return isinstance(layer, SE) or any(_has_gates(part) for _, part in getattr(layer, "parts", ()))


def _checked(classes: np.ndarray, N: int, K: int) -> np.ndarray:
    classes = np.asarray(classes)
    if classes.shape != (N,) or classes.dtype.kind not in "iu" or classes.min() < 0 or classes.max() >= K:
        raise ValueError(f"classes are {classes!r}; expected {N} whole numbers from 0 to {K - 1}, one for each image")
    return classes
