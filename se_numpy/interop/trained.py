"""A trained network out of a file of weights, ready for images."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from se_numpy import models
from se_numpy.interop.files import about, read
from se_numpy.interop.imagenet import CAFFE_MEAN, MEAN, STD, class_names
from se_numpy.interop.matching import settings_of
from se_numpy.interop.schemes import Scheme, named
from se_numpy.interop.weights import bare, load, shapes_of
from se_numpy.layers import Shape, walk
from se_numpy.tree import Tree, from_leaves, leaves

SETTINGS = (*models.SEConfig.__dataclass_fields__, "classes", "stride_in", "ceil")  # what is kept with weights
WORDS = ("gate", "squeeze", "placement", "stride_in")  # of these, what is said in a word

if TYPE_CHECKING:
    from se_numpy.data.batches import Normalisation
    from se_numpy.train.learner import Trained


def pretrained(
    path: str | Path, model: str, *, scheme: str | Scheme | None = None, shape: Shape | None = None,
    normalise: "Normalisation | None" = None, names: Sequence[str] | None = None, **settings: Any,
) -> "Trained":  # fmt: skip
    """The network called ``model`` with the weights of a file: ``Trained``, as after a run of one's own.

    Its settings are those that the file was written with, if it says so, else those that its tensors and the custom of
    their scheme imply; ``settings`` overrule both. Images are normalised as ImageNet's, classes have the names of
    ImageNet's where there are 1000, else numbers. ``config`` says what was chosen, and under "prepare" what to give
    ``prepare``.  Raises as ``read`` and ``load``; ValueError for networks of small images if nothing says how to
    normalise those.
    """
    from se_numpy.data.batches import Normalisation
    from se_numpy.train.learner import Trained

    arrays, said = bare(read(path)), said_of(path, model)
    chosen_scheme = named(scheme, arrays)
    shape = shape or said.get("image_shape") or models.image_shape(model)
    told = settings_of(shapes_of(arrays), model, chosen_scheme, shape)
    settings = {**told, **said.get("settings", {}), **settings}
    net = models.build(model, **settings)
    params, state = load(arrays, model, shape, scheme=chosen_scheme, **settings)
    classes, large = net.output_shape(shape)[0], models.image_shape(model) == models.LARGE
    if normalise is None and "mean" in said:
        normalise = Normalisation(said["mean"], said["std"])
    elif normalise is None and not large:
        raise ValueError(
            f"{path} does not say how images were normalised for {model}; expected normalise=Normalisation(mean, std)"
        )
    elif normalise is None and chosen_scheme.name == "inception":
        params = _first_filters_reversed(net, shape, params)
        normalise = Normalisation(np.array(CAFFE_MEAN) / 255, np.full(3, 1 / 255))
    elif normalise is None:
        normalise = Normalisation(np.array(MEAN), np.array(STD))
    names = names or said.get("classes") or (class_names() if classes == 1000 else [str(i) for i in range(classes)])
    if len(names) != classes:
        raise ValueError(f"got the names of {len(names)} classes; expected {classes}, as many as {path} knows")
    resample = "bicubic" if chosen_scheme.name == "timm" else "bilinear"
    config = {
        "model": model, "reduction": None, "bias": False, **settings, "weights": str(path),
        "scheme": chosen_scheme.name, "prepare": {"resample": resample, "crop": 0.875 if large else 1.0},
    }  # fmt: skip
    return Trained(net, params, state, normalise, tuple(names), shape, config)


def said_of(path: str | Path, model: str) -> dict[str, Any]:
    """What a file that ``se-numpy weights`` wrote says of its network, if that is ``model``; nonsense is left out.

    A file may say anything, so only settings that cost nothing are believed.
    """
    said = about(path)
    if said.get("model") != model:
        return {}
    settings = said.get("settings")
    kept: dict[str, Any] = {"settings": {
        name: value for name, value in (settings.items() if isinstance(settings, dict) else ())
        if name in SETTINGS and isinstance(value, str if name in WORDS else int | list)
    }}  # fmt: skip
    shape, classes = said.get("image_shape"), said.get("classes")
    if isinstance(shape, list) and len(shape) == 3 and all(isinstance(n, int) and 1 <= n <= 10_000 for n in shape):
        kept["image_shape"] = tuple(shape)
    if isinstance(classes, list) and all(isinstance(name, str) for name in classes):
        kept["classes"] = classes
    with suppress(ValueError, TypeError, KeyError):
        mean, std = np.array(said["mean"], float), np.array(said["std"], float)
        if mean.ndim == 1 and mean.shape == std.shape and np.isfinite(mean).all() and (std > 0).all():
            kept |= {"mean": mean, "std": std}
    return kept


def _first_filters_reversed(net: Any, shape: Shape, params: Tree) -> Tree:
    """For red, green, blue, where the network learned from blue, green, red: its filters are turned, not the images."""
    arrays = dict(leaves(params))
    first = f"{next(name for name, layer, s in walk(net, shape) if layer.parameters(s))}.V"
    arrays[first] = np.ascontiguousarray(arrays[first][:, :, ::-1])
    return from_leaves(arrays)
