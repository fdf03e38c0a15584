"""ONNX files of trained networks, which state in their metadata what images they expect.

There are two forms of input:

    pixels       bytes (N, H, W, C), as an image file holds them; the graph normalises them
    normalised   float32 (N, C, H, W), x = (byte / 255 - mean) / std; mean and std are in the metadata

N is free. The output "logits" is (N, classes), or maps (N, classes + 4, H/4, W/4) of a network that detects: the logits
of the classes, two sizes and two offsets, in cells of 4 x 4 pixels. The gates of the SE blocks can be outputs too.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from se_numpy.checkpoint import atomic_write
from se_numpy.install_hints import install_command
from se_numpy.interop.onnx_graph import INPUT, OUTPUT, Graph, to_graph
from se_numpy.interop.torch_files import MissingLibrary
from se_numpy.layers import walk

if TYPE_CHECKING:
    from se_numpy.train.learner import Trained

INPUTS = ("pixels", "normalised")
OPSET, IR_VERSION = 17, 8  # from 2022; newer runtimes read them too
MOST = 2**31 - 1  # bytes in a protocol buffer


def write_onnx(
    path: str | Path, network: "Trained", *, input: str = "pixels", fold: bool = True, gates: bool = False
) -> dict[str, str]:
    """Write a trained network to an ONNX file, atomically, and return its metadata.

    ``input`` is "pixels" or "normalised". ``fold`` moves batch norms into the convolutions before them. With ``gates``,
    the gates of the SE blocks (N, C) are outputs too, named after the blocks.

    Raises
    ------
    ValueError
        If a layer cannot be written to ONNX, the file would exceed 2 GiB, or ``input`` is unknown.
    MissingLibrary
        If the onnx package is not installed.
    OSError
        If the file cannot be written.
    """
    model = onnx_model(network, input=input, fold=fold, gates=gates)
    with atomic_write(path) as file:
        file.write(model.SerializeToString())
    return {entry.key: entry.value for entry in model.metadata_props}


def onnx_model(network: "Trained", *, input: str = "pixels", fold: bool = True, gates: bool = False) -> Any:
    """Return the ``onnx.ModelProto`` of a trained network, checked by ``onnx.checker``.

    The arguments are those of ``write_onnx``.

    Raises
    ------
    ValueError
        If a layer cannot be written to ONNX, the file would exceed 2 GiB, or ``input`` is unknown.
    MissingLibrary
        If the onnx package is not installed.
    """
    if input not in INPUTS:
        raise ValueError(f"input is {input!r}; expected 'pixels' or 'normalised'")
    try:
        import onnx
    except ImportError:
        raise MissingLibrary(
            f"ONNX files need the onnx package, which is not installed: {install_command('onnx')}"
        ) from None
    normalise = network.normalise if input == "pixels" else None
    graph = to_graph(network.net, network.shape, network.params, network.state, fold=fold, normalise=normalise)
    size = sum(array.nbytes for array in graph.constants.values())
    if size > MOST:
        raise ValueError(f"the network has {size / 2**30:.1f} GiB of parameters; an ONNX file holds at most 2 GiB")
    model = _proto(onnx, graph, network, input, gates)
    onnx.helper.set_model_props(model, contract(network, input, fold))
    onnx.checker.check_model(model, full_check=True)
    return model


def _proto(onnx: Any, graph: Graph, network: "Trained", input: str, gates: bool) -> Any:
    """Return the graph as a protocol buffer, with the shapes of its input and outputs."""
    from se_numpy import __version__

    make, numbers = onnx.helper, onnx.TensorProto
    H, W, C = network.shape
    kind, size = (numbers.UINT8, (H, W, C)) if input == "pixels" else (numbers.FLOAT, (C, H, W))
    found = network.net.output_shape(network.shape)
    outputs = {OUTPUT: (*found[2:], *found[:2])}  # maps have the channels first
    if gates:
        channels = {name: shape[-1:] for name, _, shape in walk(network.net, network.shape)}
        outputs |= {tensor: channels[block] for block, tensor in graph.gates.items()}
    nodes = [make.make_node(n.op, n.inputs, [n.output], name=n.output, **n.attributes) for n in graph.nodes]
    built = make.make_graph(
        nodes, str(network.config.get("model", "network")),
        [make.make_tensor_value_info(INPUT, kind, ["N", *size])],
        [make.make_tensor_value_info(name, numbers.FLOAT, ["N", *shape]) for name, shape in outputs.items()],
        [onnx.numpy_helper.from_array(array, name) for name, array in graph.constants.items()],
    )  # fmt: skip
    return make.make_model(
        built, opset_imports=[make.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="se_numpy",
        producer_version=__version__,
    )  # fmt: skip


def contract(network: "Trained", input: str, fold: bool) -> dict[str, str]:
    """Return the metadata of a file: the layout, range and normalisation of its input, the classes and the network."""
    H, W, C = network.shape
    pixels = input == "pixels"
    colours = {1: "grey", 3: "RGB"}.get(C, f"{C} channels")
    prepare = network.config.get("prepare", {"resample": "bicubic", "crop": 1.0})
    return {
        "model": str(network.config.get("model", "")),
        "layout": "NHWC" if pixels else "NCHW",
        "input": f"{INPUT}: uint8 (N, {H}, {W}, {C}), {colours}, 0 to 255" if pixels else
                 f"{INPUT}: float32 (N, {C}, {H}, {W}), {colours}, x = (byte / 255 - mean) / std",
        "range": "0 to 255" if pixels else "normalised",
        "normalisation": "inside the graph" if pixels else "outside the graph: x = (byte / 255 - mean) / std",
        "mean": json.dumps(np.round(network.normalise.mean, 9).tolist()),
        "std": json.dumps(np.round(network.normalise.std, 9).tolist()),
        "resize": f"centre crop of {100 * prepare['crop']:g} %, {prepare['resample']}, to {H} x {W}",
        "output": _output(network),
        "classes": json.dumps(network.classes),
        "batch_norm": "folded into the convolutions" if fold else "separate",
    }  # fmt: skip


def _output(network: "Trained") -> str:
    """Return the description of the output."""
    K, maps = len(network.classes), network.net.output_shape(network.shape)
    if len(maps) == 1:
        return f"{OUTPUT}: float32 (N, {K}), before softmax"
    return (f"{OUTPUT}: float32 (N, {K + 4}, {maps[0]}, {maps[1]}), {K} logits before the sigmoid, then the width, the "
            "height and the offset in x and y of an object with its centre in the cell, in cells")  # fmt: skip
