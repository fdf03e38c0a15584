"""Load pretrained networks from weights files."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from se_numpy import models
from se_numpy.interop.channels import fit_channels
from se_numpy.interop.files import read, read_metadata
from se_numpy.interop.imagenet import CAFFE_MEAN, MEAN, STD, class_names, default_crop
from se_numpy.interop.matching import infer_settings
from se_numpy.interop.schemes import Scheme, get_scheme
from se_numpy.interop.weights import load, shapes_of
from se_numpy.layers import Shape, walk
from se_numpy.tree import Tree, from_leaves, leaves

SETTINGS = (*models.SEConfig.__dataclass_fields__, "classes", "stride_in", "ceil")  # stored with weights
TEXT_SETTINGS = ("gate", "squeeze", "placement", "stride_in")  # the settings whose values are strings
OTHER_TYPES = {"bias": bool, "ceil": bool, "stages": list}  # the rest are numbers

if TYPE_CHECKING:
    from se_numpy.data.batches import Normalisation
    from se_numpy.train.learner import Trained


def pretrained(
    path: str | Path, model: str, *, scheme: str | Scheme | None = None, shape: Shape | None = None,
    normalise: "Normalisation | None" = None, names: Sequence[str] | None = None, ema: bool = True,
    part: str | None = None, in_chans: int | None = None, **settings: Any,
) -> "Trained":  # fmt: skip
    """Load the network ``model`` with the weights in a file, as ``Trained.load`` does for a run.

    The settings of the network are inferred from the tensors and the naming scheme; metadata in the file override them,
    and ``settings`` override both. ``ema``, ``part`` and ``in_chans`` are those of ``load``. By default, images are
    normalised as for ImageNet (grey ones by the mean of its three channels), and if there are 1000 classes, they have
    ImageNet's names. The ``config`` of the result records all settings, and under "prepare" the arguments for
    ``prepare``.

    Raises
    ------
    OSError, MissingLibrary
        As in ``read``.
    ValueError
        As in ``read`` and ``load``, or if the normalisation of a network for small images is not known.
    """
    from se_numpy.train.learner import Trained

    arrays, stored = read(path, ema=ema, part=part), trusted_metadata(path, model)
    chosen_scheme = get_scheme(scheme, arrays)
    arrays, shape = fit_channels(arrays, model, chosen_scheme, shape or stored.get("image_shape"), in_chans)
    inferred = infer_settings(shapes_of(arrays), model, chosen_scheme, shape)
    settings = {**inferred, **stored.get("settings", {}), **settings}
    net = models.build(model, **settings)
    params, state = load(arrays, model, shape, scheme=chosen_scheme, **settings)
    classes, large = net.output_shape(shape)[0], models.image_shape(model) == models.LARGE
    if normalise is None and "mean" in stored:
        normalise = _normalisation(stored["mean"], stored["std"], shape)
    elif normalise is None and not large:
        raise ValueError(
            f"{path} does not state how images are normalised for {model}; expected normalise=Normalisation(mean, std)"
        )
    elif normalise is None and chosen_scheme.name == "inception":
        params = _first_filters_reversed(net, shape, params)
        normalise = _normalisation(np.array(CAFFE_MEAN) / 255, np.full(3, 1 / 255), shape)
    elif normalise is None:
        normalise = _normalisation(np.array(MEAN), np.array(STD), shape)
    names = names or stored.get("classes") or (class_names() if classes == 1000 else [str(i) for i in range(classes)])
    if len(names) != classes:
        raise ValueError(f"got {len(names)} class names; expected {classes}, the number of classes in {path}")
    own = not large or "mean" in stored  # trained by this package, so images are prepared as for the network of a run
    crop = 1.0 if own else default_crop(shape)
    resample = "bicubic" if crop == 1 or chosen_scheme.name == "timm" else "bilinear"
    config = {
        "model": model, "reduction": None, "bias": False, **settings, "weights": str(path),
        "scheme": chosen_scheme.name, "prepare": {"resample": resample, "crop": crop},
    }  # fmt: skip
    return Trained(net, params, state, normalise, tuple(names), shape, config)


def trusted_metadata(path: str | Path, model: str) -> dict[str, Any]:
    """Return the valid metadata that ``se-numpy weights`` stored in a file, or {} if they are for another model.

    Files are not trusted, so only settings that cannot make the network larger are used.
    """
    found = read_metadata(path)
    if found.get("model") != model:
        return {}
    settings = found.get("settings")
    kept: dict[str, Any] = {"settings": {
        name: value for name, value in (settings.items() if isinstance(settings, dict) else ())
        if name in SETTINGS and type(value) is (str if name in TEXT_SETTINGS else OTHER_TYPES.get(name, int))
    }}  # fmt: skip
    shape, classes = found.get("image_shape"), found.get("classes")
    if isinstance(shape, list) and len(shape) == 3 and all(isinstance(n, int) and 1 <= n <= 10_000 for n in shape):
        kept["image_shape"] = tuple(shape)
    if isinstance(classes, list) and all(isinstance(name, str) for name in classes):
        kept["classes"] = classes
    with suppress(ValueError, TypeError, KeyError):
        mean, std = np.array(found["mean"], float), np.array(found["std"], float)
        if mean.ndim == 1 and mean.shape == std.shape and np.isfinite(mean).all() and (std > 0).all():
            kept |= {"mean": mean, "std": std}
    return kept


def model_name(name: str) -> str:
    """Return this package's spelling of a network's name: se_resnet50 for "seresnet50" and "se-resnet50"."""
    plain = name.lower().replace("-", "_")
    spelled = {known.replace("_", ""): known for known in models.NAMES}
    return name if name in models.NAMES else spelled.get(plain.replace("_", ""), name)


def _normalisation(mean: np.ndarray, std: np.ndarray, shape: Shape) -> "Normalisation":
    """Return the normalisation, averaged over the channels for grey images."""
    from se_numpy.data.batches import Normalisation

    if shape[2] == 1:
        mean, std = mean.mean(keepdims=True), std.mean(keepdims=True)
    if len(mean) != shape[2]:
        raise ValueError(
            f"images have {shape[2]} channels and their normalisation has {len(mean)}; expected "
            "normalise=Normalisation(mean, std)"
        )
    return Normalisation(mean, std)


def _first_filters_reversed(net: Any, shape: Shape, params: Tree) -> Tree:
    """Reverse the input channels of the first filters, so that a network trained on BGR images accepts RGB."""
    arrays = dict(leaves(params))
    first = f"{next(name for name, layer, s in walk(net, shape) if layer.parameters(s))}.V"
    arrays[first] = np.ascontiguousarray(arrays[first][:, :, ::-1])
    return from_leaves(arrays)
