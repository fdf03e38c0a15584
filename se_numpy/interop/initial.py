"""Start training from the weights of a run or of a file: whatever fits the network is taken."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from se_numpy import tree
from se_numpy.interop.files import read, read_metadata
from se_numpy.interop.matching import same_shape
from se_numpy.interop.names import tensors
from se_numpy.interop.schemes import OWN, Scheme, get_scheme
from se_numpy.layers import Serial, Shape
from se_numpy.wrapping import plural

if TYPE_CHECKING:
    from se_numpy.train.learner import Learner

HEAD = "classifier."
SHOWN = 4  # arrays that are named one by one


class Source(NamedTuple):
    """The arrays of a run or of a weights file, their naming scheme, and the classes if they are known."""

    arrays: dict[str, np.ndarray]
    scheme: Scheme
    classes: tuple[str, ...] | None


class Taken(NamedTuple):
    """The names of the parameters that were loaded, and a sentence that says which arrays were not."""

    names: list[str]
    words: str


def read_source(path: str | Path) -> Source:
    """Read the weights of a run (its folder or a checkpoint) or a weights file under any known scheme.

    Raises
    ------
    ValueError, OSError
        If there are none, or the file is damaged.
    """
    from se_numpy.train.learner import Trained
    from se_numpy.train.run_dir import existing

    file = existing(path)
    if file.is_dir() or _is_checkpoint(file):
        trained = Trained.load(file)
        arrays = dict((*tree.leaves(trained.params), *tree.leaves(trained.state)))
        return Source(arrays, OWN, trained.classes)
    arrays, classes = read(file), read_metadata(file).get("classes")
    if not (isinstance(classes, list) and all(isinstance(name, str) for name in classes)):
        classes = None  # not stated, or not by this package
    return Source(arrays, get_scheme(None, arrays), None if classes is None else tuple(classes))


def _is_checkpoint(file: Path) -> bool:
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    return "meta.npy" in names and any(name.startswith("params/") for name in names)


def load_into(learner: "Learner", path: str | Path, classes: Sequence[str]) -> Taken:
    """Copy the arrays that fit into the network; the classifier stays new if the source has other classes.

    Raises
    ------
    ValueError, OSError
        As ``read_source`` does, or if nothing fits, or a value is not a finite number; nothing is changed.
    """
    source = read_source(path)
    if not isinstance(learner.net, Serial):
        raise ValueError(f"--init needs a network made by serial(...), not a {type(learner.net).__name__}")
    other_head = source.classes is not None and source.classes != tuple(classes)
    found: dict[str, dict[str, np.ndarray]] = {"params": {}, "state": {}}
    new: list[str] = []
    wanted = tensors(learner.net, learner.shape, source.scheme)
    for t in wanted:
        array = source.arrays.get(t.theirs)
        if array is None:
            new.append(f"{t.ours} (not there)")
        elif not same_shape(array.shape, t.shape):
            new.append(f"{t.ours} ({_size(array.shape)} there, {_size(t.shape)} here)")
        elif other_head and t.ours.startswith(HEAD):
            new.append(f"{t.ours} (other classes)")
        else:
            array = array.reshape(t.shape)
            if (bias := source.arrays.get(t.conv_bias)) is not None and bias.shape == array.shape:
                array = array - bias
            if array.dtype.kind != "f" or not np.isfinite(array).all():
                raise ValueError(f"{path}: {t.theirs} is not made of finite floating-point numbers")
            found[t.tree][t.ours] = t.form.to_ours(array)
    if not found["params"]:
        raise ValueError(
            f"--init {path}: none of its {plural(len(source.arrays), 'array')} fits this network (scheme "
            f"{source.scheme.name}); give --model the network that the weights belong to"
        )
    for kind in ("params", "state"):
        into = dict(tree.leaves(getattr(learner, kind)))
        tree.assign({name: into[name] for name in found[kind]}, found[kind])
    return Taken(list(found["params"]), _sentence(path, source.scheme, len(wanted), new))


def _sentence(path: str | Path, scheme: Scheme, wanted: int, new: list[str]) -> str:
    names = "" if scheme is OWN else f" with {scheme.name}'s names"
    words = f"{wanted - len(new)} of {wanted} arrays from {path}{names}"
    if new:
        more = f" and {len(new) - SHOWN} more" if len(new) > SHOWN else ""
        words += f"; new: {', '.join(new[:SHOWN])}{more}"
    return words


def _size(shape: Shape) -> str:
    return "x".join(map(str, shape))
