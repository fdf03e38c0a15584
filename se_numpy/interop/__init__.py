"""Weights from other libraries: load PyTorch state dicts into networks from this library, and write them.

    arrays = read("seresnet50.safetensors")                        names to arrays, in the layout of the file
    params, state = load(arrays, net, shape)                       the naming scheme is detected
    write("mine.safetensors", dump(net, shape, params, state))     PyTorch can load this file
    trained = pretrained("seresnet50.safetensors", "se_resnet50")  for images: prepare("dog.jpg", trained.shape)
    write_onnx("mine.onnx", trained)                               other programs can run this file

``schemes`` holds the naming schemes as data. No code in a file is ever executed.
"""

from typing import TYPE_CHECKING

from se_numpy import lazy as _lazy

if TYPE_CHECKING:  # these are imported on first use
    from se_numpy.interop.files import read, read_metadata, write
    from se_numpy.interop.imagenet import class_names, prepare
    from se_numpy.interop.initial import load_into
    from se_numpy.interop.names import Tensor, tensors
    from se_numpy.interop.onnx_file import onnx_model, write_onnx
    from se_numpy.interop.schemes import SCHEMES, Scheme, detect
    from se_numpy.interop.trained import pretrained
    from se_numpy.interop.unwrapping import ChosenWeights
    from se_numpy.interop.weights import StateDictMismatch, dump, load

__all__ = [
    "SCHEMES",
    "ChosenWeights",
    "Scheme",
    "StateDictMismatch",
    "Tensor",
    "class_names",
    "detect",
    "dump",
    "load",
    "load_into",
    "onnx_model",
    "prepare",
    "pretrained",
    "read",
    "read_metadata",
    "tensors",
    "write",
    "write_onnx",
]

_HOMES = {
    "files": ("read", "read_metadata", "write"),
    "imagenet": ("class_names", "prepare"),
    "initial": ("load_into",),
    "names": ("Tensor", "tensors"),
    "onnx_file": ("onnx_model", "write_onnx"),
    "schemes": ("SCHEMES", "Scheme", "detect"),
    "trained": ("pretrained",),
    "unwrapping": ("ChosenWeights",),
    "weights": ("StateDictMismatch", "dump", "load"),
}
if not TYPE_CHECKING:  # a type checker would accept any name as an attribute
    __getattr__, __dir__ = _lazy.attach(
        __name__, __all__, attributes={name: home for home, names in _HOMES.items() for name in names}
    )
