"""Tests of ONNX: PyTorch's functions and onnxruntime compute the network's own logits and gates from the graph."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from onnx_networks import NETWORKS, error, expected, images, named, trained
from specimens import save

from se_numpy import layers, models
from se_numpy.cli import main
from se_numpy.interop import read, read_metadata, write
from se_numpy.interop.onnx_file import contract, onnx_model, write_onnx
from se_numpy.interop.onnx_graph import CONVERTERS, to_graph
from se_numpy.layers import Conv, GlobalAveragePool, Linear, ReLU, serial, walk
from se_numpy.models.detector import detector
from se_numpy.train import Trained

NETWORK_DOCS = Path(__file__).parents[2] / "docs" / "networks.md"
CIFAR = [name for name in models.NAMES if models.image_shape(name) == models.SMALL]
DEEP = [name for name in CIFAR if int(re.sub(r"\D", "", name) or 0) > 20]
SHALLOW = [name for name in CIFAR if name not in DEEP]
LARGE = ("se_resnet50", "se_shufflenet", "se_bn_inception")
FORMS = [(fold, bytes_) for fold in (True, False) for bytes_ in (True, False)]
WITHIN = 1e-5  # of the largest logit


def slow(names):
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


def graph_of(network, fold=True, bytes_=True):
    return to_graph(network.net, network.shape, network.params, network.state, fold=fold,
                    normalise=network.normalise if bytes_ else None)  # fmt: skip


def given(network, pixels, bytes_):
    """Return the input of a graph."""
    return pixels if bytes_ else np.ascontiguousarray(network.normalise(pixels).transpose(0, 3, 1, 2))


def test_every_layer_has_a_converter_and_is_tested():
    kinds = {kind for kind in vars(layers).values() if isinstance(kind, type) and issubclass(kind, layers.Layer)}
    assert set(CONVERTERS) == kinds - {layers.Layer, layers.Combinator}
    tested = {type(layer) for net in NETWORKS.values() for _, layer, _ in walk(net, (11, 9, 3))}
    assert tested | {layers.Serial, layers.Sum, layers.Concat} == set(CONVERTERS)


@pytest.mark.parametrize("name", [*NETWORKS, *SHALLOW])
def test_the_graph_computes_the_same_by_other_functions(name):
    other = pytest.importorskip("onnx_with_torch")
    network = trained(NETWORKS[name]) if name in NETWORKS else named(name)
    pixels = images(network.shape)
    right = expected(network, pixels)
    for fold, bytes_ in FORMS:
        graph = graph_of(network, fold, bytes_)
        tensors = other.run(graph, given(network, pixels, bytes_))
        assert error(tensors["logits"], right) < WITHIN, (fold, bytes_)


def test_the_gates_are_those_of_the_blocks():
    other = pytest.importorskip("onnx_with_torch")
    network = trained(NETWORKS["SE"])
    graph = graph_of(network)
    assert graph.gates == {name: f"{name}.s" for name in ("se1", "sum1.branch.se1", "sum1.shortcut")}
    U = network.normalise(images())
    for name, layer in network.net.parts[:2]:  # the second is the block
        U, cache = layer.forward(network.params[name], {}, U)
    assert np.allclose(other.run(graph, images())["se1.s"], cache.s, atol=1e-6)


@pytest.mark.parametrize("name", ["se_resnet8", "biases"])
def test_folded_batch_norms_and_biases_leave_one_operator(name):
    network = named(name) if name in models.NAMES else trained(NETWORKS[name])
    count = {fold: [node.op for node in graph_of(network, fold, False).nodes] for fold in (True, False)}
    assert "BatchNormalization" not in count[True]
    if name == "se_resnet8":
        assert count[True].count("Add") == 3  # the residual units alone
        assert count[False].count("BatchNormalization") == 9
    else:
        convs = [node for node in graph_of(network, True, False).nodes if node.op == "Conv"]
        assert [len(conv.inputs) for conv in convs] == [3]
        assert count[True].count("Add") == 3


@dataclass(frozen=True)
class Doubled(ReLU):
    def forward(self, params, state, X, **mode):
        return super().forward(params, state, 2 * X, **mode)


@pytest.mark.parametrize(("net", "words"), [
    (serial(Conv(2), serial(Doubled()), GlobalAveragePool(), Linear(3)), "the layer Doubled (serial1.doubled1) cannot"),
    (Doubled(), "the layer Doubled cannot be written to ONNX: it has no converter"),
])  # fmt: skip
def test_a_layer_without_a_converter_is_named(net, words):
    params, state = layers.init(net, (5, 4, 3), np.random.default_rng(0))
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        to_graph(net, (5, 4, 3), params, state)
    assert len(str(caught.value).splitlines()) == 1


def test_a_converter_of_ones_own_is_used(monkeypatch):
    other = pytest.importorskip("onnx_with_torch")
    monkeypatch.setitem(
        CONVERTERS, Doubled, lambda at, layer, x: at.add("Relu", at.add("Mul", x, at.constant("two", 2.0), name="x2"))
    )
    network = trained(serial(Conv(2), Doubled(), GlobalAveragePool(), Linear(3)))
    found = other.run(graph_of(network), images())["logits"]
    assert error(found, expected(network, images())) < WITHIN


@pytest.mark.parametrize("input", ["pixels", "normalised"])
def test_the_metadata_state_what_the_file_expects(input):
    network = named("se_resnet8")
    found = contract(network, input, True)
    assert found["layout"] == {"pixels": "NHWC", "normalised": "NCHW"}[input]
    assert found["normalisation"].startswith({"pixels": "inside", "normalised": "outside"}[input])
    assert "32, 32" in found["input"]
    assert json.loads(found["classes"]) == list(network.classes)
    assert np.allclose(json.loads(found["mean"]), network.normalise.mean)
    assert np.allclose(json.loads(found["std"]), network.normalise.std)
    assert all(isinstance(value, str) for value in found.values())


# With the onnx package and onnxruntime.


def session(model):
    return pytest.importorskip("onnxruntime").InferenceSession(
        model if isinstance(model, str) else model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


@pytest.mark.parametrize("name", [*NETWORKS, *SHALLOW, *slow(DEEP), *slow(LARGE)])
def test_onnxruntime_computes_the_same(name):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    network = trained(NETWORKS[name]) if name in NETWORKS else named(name)
    large = network.shape[0] > 100
    pixels = images(network.shape, 1 if large else 3)
    right = expected(network, pixels)
    for fold, bytes_ in FORMS[:3:2] if large else FORMS:
        ready = session(onnx_model(network, input="pixels" if bytes_ else "normalised", fold=fold))
        for n in (len(pixels), 1):  # the batch is free
            (found,) = ready.run(None, {"images": given(network, pixels[:n], bytes_)})
            assert error(found, right[:n]) < WITHIN * abs(right).max() / abs(right[:n]).max(), (fold, bytes_, n)


def test_maps_of_a_detector_have_the_channels_first():
    pytest.importorskip("onnx")
    network = trained(detector(models.build("se_resnet8"), classes=3), shape=(16, 20, 3))
    network = replace(network, classes=("a", "b", "c"), config={"task": "detect"})
    pixels = images(network.shape)
    (found,) = session(onnx_model(network)).run(None, {"images": pixels})
    assert found.shape == (3, 7, 4, 5)
    assert error(found.transpose(0, 2, 3, 1), expected(network, pixels)) < WITHIN
    assert "(N, 7, 4, 5), 3 logits before the sigmoid, then the width" in contract(network, "pixels", True)["output"]


def test_gates_are_outputs_if_asked_for():
    pytest.importorskip("onnx")
    network = named("se_resnet8")
    ready = session(onnx_model(network, gates=True))
    _, *gates = ready.run(None, {"images": images(network.shape)})
    assert [one.name for one in ready.get_outputs()] == ["logits", *graph_of(network).gates.values()]
    assert [s.shape for s in gates] == [(3, 16), (3, 32), (3, 64)]
    assert all(0 < s.min() < s.max() < 1 for s in gates)


@pytest.fixture
def run(tmp_path):
    return save(tmp_path / "net.npz")


def test_the_command_writes_a_file_that_states_its_contract(run, tmp_path, capsys):
    pytest.importorskip("onnx")
    file = tmp_path / "a.onnx"
    assert main(["export", str(run), "--onnx", str(file), "--gates"]) == 0
    printed = capsys.readouterr().out
    assert "input    images: uint8 (N, 32, 32, 3), RGB, 0 to 255" in printed
    assert "output   logits: float32 (N, 10), before softmax" in printed
    ready = session(str(file))
    stated = ready.get_modelmeta().custom_metadata_map
    assert stated["model"] == "se_resnet8"
    assert len(json.loads(stated["classes"])) == 10
    assert main(["export", str(run), "--onnx", str(file)]) == 2
    assert "already exists; choose another file name" in capsys.readouterr().err
    other = str(tmp_path / "b.onnx")
    assert main(["export", str(run), "--onnx", other, "--input", "normalised", "--keep-batch-norm"]) == 0
    assert "mean [0.5, 0.5, 0.5], std [0.1, 0.1, 0.1]" in capsys.readouterr().out
    assert session(other).get_inputs()[0].shape == ["N", 3, 32, 32]


def test_a_weights_file_can_be_exported(run, tmp_path, capsys):
    pytest.importorskip("onnx")
    assert main(["weights", str(run), "--out", str(tmp_path / "w.npz")]) == 0
    assert main(["export", str(tmp_path / "w.npz"), "--onnx", str(tmp_path / "a.onnx"), "--model", "se-resnet8"]) == 0
    network = Trained.load(run)
    (found,) = session(str(tmp_path / "a.onnx")).run(None, {"images": images(network.shape)})
    assert error(found, expected(network, images(network.shape))) < WITHIN
    write(tmp_path / "x.npz", {"a": np.zeros(3)})
    assert main(["export", str(tmp_path / "x.npz"), "--onnx", str(tmp_path / "b.onnx")]) == 2
    assert "is not a run; to export a weights file, give --model NAME" in capsys.readouterr().err


def test_safetensors_are_those_of_the_weights_command(run, tmp_path, capsys):
    pytest.importorskip("safetensors")
    one, two = str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors")
    assert main(["export", str(run), "--safetensors", one]) == 0
    assert main(["weights", str(run), "--out", two]) == 0
    assert read_metadata(one) == read_metadata(two)
    left, right = read(one), read(two)
    assert left.keys() == right.keys()
    assert all((left[name] == right[name]).all() for name in left)


@pytest.mark.parametrize(("words", "message"), [
    ([], "nothing to write; give --onnx FILE.onnx or --safetensors FILE.safetensors, or both"),
    (["--onnx", "a.pb"], "--onnx is 'a.pb'; expected the name of a .onnx file"),
    (["--safetensors", "a.npz"], "--safetensors is 'a.npz'; expected the name of a .safetensors file"),
    (["--onnx", "no/a.onnx"], "--onnx no/a.onnx: folder no does not exist; create it first"),
    (["--onnx", "a.onnx", "--model", "resnet8"], "is a checkpoint of se_resnet8; leave --model out"),
])  # fmt: skip
def test_wrong_arguments_are_refused(run, tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(run), *words]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [run]


def test_gates_of_a_network_without_blocks_are_refused(tmp_path, capsys):
    plain = save(tmp_path / "plain.npz", model="resnet8")
    assert main(["export", str(plain), "--onnx", str(tmp_path / "a.onnx"), "--gates"]) == 2
    assert "--gates: the network has no SE blocks" in capsys.readouterr().err


def test_without_the_onnx_package_the_message_says_how_to_install_it(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["export", str(run), "--onnx", str(tmp_path / "a.onnx")]) == 2
    assert "ONNX files need the onnx package, which is not installed: pip install" in capsys.readouterr().err


def test_an_unknown_form_of_input_is_refused(tmp_path):
    with pytest.raises(ValueError, match="input is 'bytes'; expected 'pixels' or 'normalised'"):
        write_onnx(tmp_path / "a.onnx", named("se_resnet8"), input="bytes")


def test_the_example_in_the_documentation_runs_without_this_library(tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    image = pytest.importorskip("PIL.Image")
    code = re.search(r"```python\n(import json, sys\n.*?onnxruntime.*?)```", NETWORK_DOCS.read_text(), re.S)[1]
    assert len(code.splitlines()) <= 12
    assert "se_numpy" not in code
    network = named("se_resnet8")
    write_onnx(tmp_path / "net.onnx", network)
    pixels = images(network.shape, 2)
    for i, picture in enumerate(pixels):
        image.fromarray(picture).save(tmp_path / f"{i}.png")
    done = subprocess.run([sys.executable, "-I", "-c", code, "0.png"], cwd=tmp_path, capture_output=True, text=True)
    best = network.probabilities(pixels)[0]
    assert done.stdout.split("\n")[0] == f"{network.classes[best.argmax()]} {best.max():.3f}", done.stderr
