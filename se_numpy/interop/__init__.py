"""Weights from elsewhere: state dicts of PyTorch networks into the network values of this library, and back.

    arrays = read("seresnet50.safetensors")                        names to arrays, as they lie in the file
    params, state = load(arrays, net, shape)                       under the names of a scheme, which is recognised
    write("mine.safetensors", dump(net, shape, params, state))     PyTorch reads it back
    trained = pretrained("seresnet50.safetensors", "se_resnet50")  ready for images: prepare("dog.jpg", trained.shape)

``schemes`` holds the names, as data; nothing in a file is ever executed.
"""

from typing import TYPE_CHECKING

from se_numpy import lazy as _lazy

if TYPE_CHECKING:  # these are imported on first use
    from se_numpy.interop.files import about, read, write
    from se_numpy.interop.imagenet import class_names, prepare
    from se_numpy.interop.names import Tensor, tensors
    from se_numpy.interop.schemes import SCHEMES, Scheme, detect
    from se_numpy.interop.trained import pretrained
    from se_numpy.interop.weights import StateDictMismatch, dump, load

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
]

_HOMES = {
    "files": ("about", "read", "write"),
    "imagenet": ("class_names", "prepare"),
    "names": ("Tensor", "tensors"),
    "schemes": ("SCHEMES", "Scheme", "detect"),
    "trained": ("pretrained",),
    "weights": ("StateDictMismatch", "dump", "load"),
}
if not TYPE_CHECKING:  # a type checker would take every name for an attribute
    __getattr__, __dir__ = _lazy.attach(
        __name__, __all__, attributes={name: home for home, names in _HOMES.items() for name in names}
    )
