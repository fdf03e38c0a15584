"""Weights from other libraries: read the state dicts of PyTorch networks into networks of this library, and write them.

    arrays = read("seresnet50.safetensors")                        names to arrays, in the layout of the file
    params, state = load(arrays, net, shape)                       the naming scheme is detected
    write("mine.safetensors", dump(net, shape, params, state))     PyTorch can load this file
    trained = pretrained("seresnet50.safetensors", "se_resnet50")  for images: prepare("dog.jpg", trained.shape)

``schemes`` holds the naming schemes as data. No code in a file is ever executed.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "files": ("read", "read_metadata", "write"),
    "imagenet": ("class_names", "prepare"),
    "names": ("Tensor", "tensors"),
    "schemes": ("SCHEMES", "Scheme", "detect"),
    "trained": ("pretrained",),
    "weights": ("StateDictMismatch", "dump", "load"),
}
__all__ = [
    "SCHEMES",
    "Scheme",
    "StateDictMismatch",
    "Tensor",
    "class_names",
    "detect",
    "dump",
    "load",
    "prepare",
    "pretrained",
    "read",
    "read_metadata",
    "tensors",
    "write",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a name in ``__all__`` on first use, so that the command line starts quickly."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"se_numpy.interop.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
