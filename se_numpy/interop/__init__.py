"""Weights from elsewhere: state dicts of PyTorch networks into the network values of this library, and back.

    arrays = read("seresnet50.safetensors")                        names to arrays, as they lie in the file
    params, state = load(arrays, net, shape)                       under the names of a scheme, which is recognised
    write("mine.safetensors", dump(net, shape, params, state))     PyTorch reads it back
    trained = pretrained("seresnet50.safetensors", "se_resnet50")  ready for images: prepare("dog.jpg", trained.shape)

``schemes`` holds the names, as data; nothing in a file is ever executed.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "files": ("about", "read", "write"),
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
    "about",
    "class_names",
    "detect",
    "dump",
    "load",
    "prepare",
    "pretrained",
    "read",
    "tensors",
    "write",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """What ``__all__`` names, looked up when it is asked for: the command line is not to wait for all of it."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"se_numpy.interop.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
