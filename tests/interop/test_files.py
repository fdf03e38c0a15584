"""Tests of weights files: round trips, and damaged or malicious files, which are refused cheaply."""

import io
import json
import struct
import sys
import tracemalloc
import zipfile
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from se_numpy import checkpoint, interop, layers, models, tree
from se_numpy.cli import main
from se_numpy.data.batches import Normalisation
from se_numpy.interop import commands
from se_numpy.train import Config, Trained

safetensors = pytest.importorskip("safetensors.numpy")
KINDS = [".safetensors", ".npz"]
ARRAYS = {
    "a.weight": np.arange(24.0).reshape(2, 3, 4),
    "b": np.float32([1, -2, 3]),
    "n": np.int64([7]),
    "empty": np.zeros((0, 3)),
}


@pytest.fixture(params=KINDS)
def path(request, tmp_path):
    return tmp_path / f"x{request.param}"


def assert_equal(found, expected):
    assert set(found) == set(expected)
    for name, a in expected.items():
        np.testing.assert_array_equal(found[name], a)
        assert found[name].dtype == a.dtype


def saved(name="se_resnet8", classes=10, **settings):
    """Return the state dict of a small network."""
    net, shape = models.build(name, classes=classes, **settings), models.image_shape(name)
    return interop.dump(net, shape, *layers.init(net, shape, np.random.default_rng(0)))


def test_a_round_trip_is_exact(path):
    interop.write(path, ARRAYS, {"model": "x", "settings": {"bias": True}})
    assert_equal(interop.read(path), ARRAYS)
    assert interop.read_metadata(path) == {"model": "x", "settings": {"bias": True}}
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_noncontiguous_arrays(path):
    a = np.arange(24.0).reshape(2, 3, 4)
    wide = np.broadcast_to(np.float32(3), (2, 2))
    odd = {"transposed": a.transpose(2, 0, 1), "strided": a[:, ::2], "reversed": a[::-1], "broadcast": wide}
    interop.write(path, odd)
    assert_equal(interop.read(path), odd)
    assert interop.read_metadata(path) == {}


def test_half_precision_becomes_float32(path):
    a = np.float16([1, -2.5, 6e-8])
    interop.write(path, {"a": a})
    assert_equal(interop.read(path), {"a": a.astype(np.float32)})


def test_bfloat16_is_the_upper_half_of_a_float32(tmp_path):
    values = np.float32([1, -2.5, 3e38, 0])
    header = json.dumps({"a": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}}).encode()
    upper = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + upper)
    found = interop.read(tmp_path / "a.safetensors")["a"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.ravel(), values, rtol=2**-7)
    assert found[0, 1] == -2.5


def test_files_are_compatible_with_safetensors_and_numpy(tmp_path):
    interop.write(tmp_path / "ours.safetensors", ARRAYS)
    assert_equal(safetensors.load_file(tmp_path / "ours.safetensors"), ARRAYS)
    interop.write(tmp_path / "ours.npz", ARRAYS)
    with np.load(tmp_path / "ours.npz") as found:
        assert_equal(dict(found), ARRAYS)
    safetensors.save_file(ARRAYS, tmp_path / "theirs.safetensors")
    assert_equal(interop.read(tmp_path / "theirs.safetensors"), ARRAYS)
    for save, name in ((np.savez, "theirs.npz"), (np.savez_compressed, "zipped.npz")):
        save(tmp_path / name, **ARRAYS, fortran=np.asfortranarray(ARRAYS["a.weight"]))
        assert_equal(interop.read(tmp_path / name), {**ARRAYS, "fortran": ARRAYS["a.weight"]})


def test_missing_files_and_unknown_file_types(tmp_path):
    with pytest.raises(FileNotFoundError):
        interop.read(tmp_path / "x.safetensors")
    (tmp_path / "x.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(ValueError, match=r"x\.h5 is an HDF5 file, as Keras writes; expected \.safetensors, \.npz or"):
        interop.read(tmp_path / "x.h5")
    with pytest.raises(ValueError, match=r"expected a name ending in \.safetensors or \.npz"):
        interop.write(tmp_path / "x.pt", ARRAYS)


@pytest.mark.parametrize(("library", "suffix"), [("safetensors", ".safetensors"), ("torch", ".pt")])
def test_the_error_for_a_missing_library_says_how_to_install_it(tmp_path, monkeypatch, library, suffix):
    content = {".safetensors": safetensors_file({}), ".pt": zipped({"archive/data.pkl": b"."})}
    (tmp_path / f"x{suffix}").write_bytes(content[suffix])
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(RuntimeError, match=r"pip install"):
        interop.read(tmp_path / f"x{suffix}")


# ------------------------------------------------------------------------------------------------------ invalid files


def refused(path, content, match=None):
    """Check that reading raises a one-line ValueError that names the file, and uses little memory; return the error."""
    path.write_bytes(content)
    interop.read_metadata(path)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=match) as caught:
            interop.read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert peak < 3_000_000 + 4 * len(content)
    return str(caught.value)


def safetensors_file(header, data=b""):
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "content",
    [
        b"", b"x" * 7, struct.pack("<Q", 2**63) + b"{}", struct.pack("<Q", 90_000_000) + b"{}",
        safetensors_file(b"{" * 1000), safetensors_file([1, 2]),
        safetensors_file({"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}),
        safetensors_file({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 8]}}, b"12345678"),
        safetensors_file({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}, b"12345678"),
        safetensors_file({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}, b"12345678"),
        safetensors_file({"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}, b"12345678"),
        safetensors_file({"a": {"dtype": "nothing", "shape": [2], "data_offsets": [0, 8]}}, b"12345678"),
        safetensors_file({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"1234567890"),
        safetensors_file({n: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for n in "ab"}, b"12345678"),
    ],
    ids=range(14),
)  # fmt: skip
def test_safetensors_with_false_headers(tmp_path, content):
    refused(tmp_path / "x.safetensors", content, "damaged|empty|not a weights file")


def npy(header, data=b""):
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def zipped(members, how=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,)}", b""),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000)}", b"12345678"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -1)}", b"12345678"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"\x80\x04N."),
        ("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,)}", b"12345678"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}", b"12345678"),
        ("{'descr': '<f8', 'shape': (1,)}", b"12345678"),
        ("__import__('os').system('touch executed')", b""),
        ("(" * 5000, b""),
    ],
    ids=range(9),
)
def test_npz_with_false_headers(tmp_path, monkeypatch, header, data):
    monkeypatch.chdir(tmp_path)
    refused(tmp_path / "x.npz", zipped({"a.npy": npy(header, data)}), "damaged")
    assert not (tmp_path / "executed").exists()


def test_a_zip_bomb(tmp_path):
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (4000000,)}"
    bomb = zipped({"a.npy": npy(header, bytes(32_000_000))}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 100_000
    assert "uncompressed size is implausibly large" in refused(tmp_path / "x.npz", bomb)


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip", zipped({"a.npy": b""}), zipped({"a.txt": b"hello"})])
def test_files_that_are_not_npz(tmp_path, content):
    refused(tmp_path / "x.npz", content, "damaged|empty|not a weights file")


def test_a_checkpoint_is_not_a_file_of_weights(tmp_path):
    checkpoint.save(tmp_path / "c.npz", {"params": {"a": np.ones(2)}}, {})
    refused(tmp_path / "x.npz", (tmp_path / "c.npz").read_bytes(), "checkpoint of a run")


@pytest.mark.parametrize("suffix", KINDS)
@given(where=st.integers(0, 10**9), bit=st.integers(0, 7), cut=st.none() | st.integers(0, 10**9))
def test_random_damage_raises_only_value_error(tmp_path_factory, suffix, where, bit, cut):
    """A flipped bit in the data changes one value; a flipped bit elsewhere, or truncation, raises ValueError."""
    path = tmp_path_factory.getbasetemp() / f"damaged{suffix}"
    interop.write(path, {f"layer{i}.weight": np.full((4, 3), float(i)) for i in range(5)}, {"model": "x"})
    content = bytearray(path.read_bytes())
    content[where % len(content)] ^= 1 << bit
    if cut is not None:
        del content[cut % len(content) :]
    path.write_bytes(content)
    interop.read_metadata(path)
    tracemalloc.start()
    arrays, message = {}, str(path)
    try:
        arrays = interop.read(path)
    except ValueError as error:
        message = str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(path) in message
    assert peak < 3_000_000
    assert sum(a.nbytes for a in arrays.values()) <= len(content)


@given(metadata=st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["settings", "image_shape", "classes", "mean", "std", "reduction", "stages", "bias"]), inner),
    max_leaves=12,
))  # fmt: skip
def test_arbitrary_metadata(tmp_path_factory, metadata):
    """Invalid metadata is ignored or raises ValueError."""
    path = tmp_path_factory.getbasetemp() / "metadata.npz"
    metadata = metadata if isinstance(metadata, dict) else {"settings": metadata}
    interop.write(path, _WEIGHTS, {**metadata, "model": "se_resnet8"})
    try:
        trained = interop.pretrained(path, "se_resnet8")
    except ValueError:
        return
    assert len(trained.classes) == 10


_WEIGHTS = saved()


# ---------------------------------------------------------------------------------------------------------- pretrained


def test_pretrained_uses_the_metadata(tmp_path):
    metadata = {
        "model": "se_resnet8", "image_shape": [20, 24, 3], "classes": list("abcdefghij"), "mean": [0.1, 0.2, 0.3],
        "std": [1, 2, 3], "settings": {"reduction": 4, "gate": "tanh", "stages": [1, 2, 3]},
    }  # fmt: skip
    interop.write(tmp_path / "x.safetensors", _WEIGHTS, metadata)
    with pytest.raises(ValueError, match="has no name for"):  # timm has no tanh gate
        interop.pretrained(tmp_path / "x.safetensors", "se_resnet8")
    del metadata["settings"]["gate"]
    interop.write(tmp_path / "x.npz", _WEIGHTS, metadata)
    trained = interop.pretrained(tmp_path / "x.npz", "se_resnet8")
    assert trained.net == models.build("se_resnet8")
    assert (trained.shape, trained.classes) == ((20, 24, 3), tuple("abcdefghij"))
    np.testing.assert_array_equal(trained.normalise.std, [1, 2, 3])
    assert trained.config["prepare"] == {"resample": "bicubic", "crop": 1.0}
    assert trained.probabilities(np.zeros((2, 20, 24, 3), np.uint8)).shape == (2, 10)


def test_metadata_cannot_enlarge_the_network(tmp_path):
    """Settings that change the size of the network, and invalid values, are ignored."""
    metadata = {"model": "se_resnet8", "mean": [0.5] * 3, "std": [0.2] * 3}
    settings = {"width": 10**6, "depth": 20, "bias": False}
    interop.write(tmp_path / "x.npz", _WEIGHTS, {**metadata, "settings": settings})
    assert interop.pretrained(tmp_path / "x.npz", "se_resnet8").net == models.build("se_resnet8")
    for std in ([0.2, 0, 0.2], [0.2, -1, 0.2], [0.2], "abc", None, [[0.2] * 3] * 3):
        interop.write(tmp_path / "x.npz", _WEIGHTS, {**metadata, "std": std})
        with pytest.raises(ValueError, match="does not state how images are normalised"):
            interop.pretrained(tmp_path / "x.npz", "se_resnet8")


def test_networks_for_small_images_need_a_normalisation(tmp_path):
    interop.write(tmp_path / "x.npz", _WEIGHTS)
    with pytest.raises(ValueError, match=r"expected normalise=Normalisation\(mean, std\)"):
        interop.pretrained(tmp_path / "x.npz", "se_resnet8")
    own = Normalisation(np.full(3, 0.5), np.full(3, 0.25))
    trained = interop.pretrained(tmp_path / "x.npz", "se_resnet8", normalise=own)
    assert trained.normalise is own
    assert trained.classes == tuple("0123456789")
    with pytest.raises(ValueError, match="got 2 class names; expected 10"):
        interop.pretrained(tmp_path / "x.npz", "se_resnet8", normalise=own, names=["a", "b"])
    with pytest.raises(ValueError, match="do not fit se_resnet8"):
        interop.pretrained(tmp_path / "x.npz", "se_resnet8", normalise=own, bias=True)


def test_a_network_for_imagenet(tmp_path):
    """The defaults are timm's: the 1000 class names, normalisation, preprocessing and strides."""
    net = models.build("resnet18", classes=1000)
    params, state = layers.init(net, (64, 64, 3), np.random.default_rng(0))
    interop.write(tmp_path / "r.safetensors", interop.dump(net, (64, 64, 3), params, state))
    trained = interop.pretrained(tmp_path / "r.safetensors", "resnet18", shape=(64, 64, 3))
    assert trained.classes[281] == "tabby"
    assert trained.config["stride_in"] == "3x3"
    np.testing.assert_allclose(trained.normalise(np.full((1, 3), 255, np.uint8)), [[2.2489, 2.4286, 2.64]], rtol=1e-4)
    assert trained.config["prepare"] == {"resample": "bicubic", "crop": 0.875}


def test_bn_inception_accepts_rgb_images(tmp_path):
    """It was trained on BGR images; ``pretrained`` reverses the first filters' channels, so RGB works."""
    net, shape = models.build("bn_inception", classes=4), (64, 64, 3)
    params, state = layers.init(net, shape, np.random.default_rng(0), np.float64)
    interop.write(tmp_path / "b.npz", interop.dump(net, shape, params, state))
    images = np.random.default_rng(1).integers(0, 256, (1, *shape), np.uint8)
    trained = interop.pretrained(tmp_path / "b.npz", "bn_inception", shape=shape)
    expected, _ = net.forward(params, state, images[..., ::-1] - np.array([104.0, 117, 128]))
    found, _ = trained.net.forward(trained.params, trained.state, trained.normalise(images, np.float64))
    np.testing.assert_allclose(found, expected, rtol=1e-10)


# -------------------------------------------------------------------------------------------------------- command line


def run_of(folder, **settings):
    """Write a run folder with an untrained network."""
    config = Config(model="se_resnet8", epochs=1, lr=0.1, augment=False, bias=True, **settings)
    net = config.network(3)
    params, state = layers.init(net, (32, 32, 3), np.random.default_rng(0))
    meta = {"config": asdict(config), "classes": ["a", "b", "c"], "image_shape": [32, 32, 3],
            "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.2, 0.3]}  # fmt: skip
    folder.mkdir()
    checkpoint.save(folder / "best.npz", {"params": params, "state": state}, meta)
    return folder


def test_a_run_is_exported_and_imported(tmp_path, capsys):
    run = run_of(tmp_path / "run")
    out = tmp_path / "r.safetensors"
    assert main(["weights", str(run), "--out", str(out)]) == 0
    assert "named as in the timm scheme" in capsys.readouterr().out
    assert "layer3.0.se.fc2.bias" in safetensors.load_file(out)
    trained, before = interop.pretrained(out, "se_resnet8"), Trained.load(run / "best.npz")
    assert trained.classes == before.classes
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(trained.probabilities(images), before.probabilities(images))
    assert main(["weights", str(out)]) == 0  # the file contains the name of its model
    assert "fits     se_resnet8 with classes=3, bias=True, reduction=4" in capsys.readouterr().out
    assert main(["weights", str(out), "--out", str(tmp_path / "own.npz"), "--to", "se_numpy"]) == 0
    again = interop.pretrained(tmp_path / "own.npz", "se_resnet8")
    np.testing.assert_array_equal(again.probabilities(images), before.probabilities(images))


def test_the_settings_of_an_ablation_are_stored(tmp_path, capsys):
    """Other libraries have no such gate, so the file uses our names, and its metadata holds the settings."""
    run, out = run_of(tmp_path / "run", gate="tanh", squeeze="max"), tmp_path / "t.safetensors"
    assert main(["weights", str(run), "--out", str(out)]) == 0
    assert "named as in the se_numpy scheme" in capsys.readouterr().out
    assert main(["weights", str(out), "--out", str(tmp_path / "again.npz")]) == 0
    assert "gate='tanh', squeeze='max'" in capsys.readouterr().out
    assert interop.pretrained(tmp_path / "again.npz", "se_resnet8").net == Trained.load(run / "best.npz").net


def test_the_command_lists_differences(tmp_path, capsys):
    interop.write(tmp_path / "x.npz", _WEIGHTS)
    assert main(["weights", str(tmp_path / "x.npz"), "--model", "se_resnet14"]) == 2
    out, err = capsys.readouterr()
    assert "scheme   timm" in out
    assert "do not fit se_resnet14" in err
    assert "these are the tensors of build('se_resnet8'" in err


@pytest.mark.parametrize(
    ("scheme", "settings", "expected"),
    [
        ("timm", {"stride_in": "3x3"}, ""),
        ("timm", {"stride_in": "1x1"}, "usually have stride_in='3x3'"),
        ("timm", {}, "usually have stride_in='3x3'"),
        ("legacy", {"stride_in": "1x1"}, "usually have stride_in='1x1', ceil=True"),
        ("legacy", {"ceil": True}, ""),
        ("se_numpy", {}, ""),
    ],
)
def test_unusual_settings_are_noted(scheme, settings, expected):
    net, metadata = models.build("se_resnet50", **settings), {"model": "se_resnet50", "settings": settings}
    found = commands.note(net, metadata, interop.SCHEMES[scheme])
    assert expected in found
    assert bool(expected) == bool(found)


def test_nan_and_infinity_are_reported(tmp_path, capsys):
    interop.write(tmp_path / "x.npz", {**_WEIGHTS, "fc.bias": np.full(10, np.nan, np.float32)})
    assert main(["weights", str(tmp_path / "x.npz"), "--model", "se_resnet8"]) == 0
    assert "warning  1 tensor contains NaN or infinite values: fc.bias\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{x}"], "expected --model NAME"),
        (["{x}", "--model", "se_resnet9"], "did you mean"),
        (["{x}", "--model", "se_resnet8", "--scheme", "tim"], "unknown scheme 'tim'"),
        (["{x}", "--model", "se_resnet8", "--to", "legacy"], "--to needs --out FILE"),
        (["{x}", "--model", "se_resnet8", "--to", "legacy", "--out", "{y}"], "additional ReLU"),
        (["{x}", "--model", "se_resnet8", "--out", "{x}"], "already exists; choose another file name"),
        (["{x}", "--model", "se_resnet8", "--out", "{y}.h5"], "ending in .safetensors or .npz"),
        (["{run}", "--model", "resnet8"], "is a checkpoint of se_resnet8"),
        (["{run}", "--scheme", "timm"], "--scheme is for files from other libraries"),
        (["{y}"], "No such file"),
        (["{empty}"], "best.npz"),
    ],
)
def test_invalid_arguments_exit_with_code_2(tmp_path, capsys, arguments, message):
    interop.write(tmp_path / "x.npz", _WEIGHTS)
    (tmp_path / "empty").mkdir()
    places = {"x": tmp_path / "x.npz", "y": tmp_path / "y.npz", "run": run_of(tmp_path / "run"),
              "empty": tmp_path / "empty"}  # fmt: skip
    before = sorted(p.name for p in tmp_path.iterdir())
    assert main(["weights", *(word.format(**places) for word in arguments)]) == 2
    assert message in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_every_array_of_a_run_is_converted(tmp_path):
    run = run_of(tmp_path / "run")
    assert main(["weights", str(run), "--out", str(tmp_path / "r.npz"), "--to", "se_numpy"]) == 0
    trees, _ = checkpoint.load(run / "best.npz")
    held = dict(tree.leaves(trees["params"])) | dict(tree.leaves(trees["state"]))
    assert_equal(interop.read(tmp_path / "r.npz"), held)


def test_metadata_that_would_exhaust_the_memory_are_not_read(tmp_path):
    """Such metadata is a thousand times smaller when compressed."""
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("se_numpy.npy", bytes(50 << 20))
    tracemalloc.start()
    assert interop.read_metadata(tmp_path / "x.npz") == {}
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_settings_of_the_wrong_type_are_ignored(tmp_path):
    net = models.build("se_resnet8")
    params, state = layers.init(net, (32, 32, 3), np.random.default_rng(0))
    metadata = {"model": "se_resnet8", "settings": {"reduction": "4", "classes": "x", "gate": 3}}
    interop.write(tmp_path / "x.npz", interop.dump(net, (32, 32, 3), params, state, scheme="se_numpy"), metadata)
    normalise = Normalisation(np.zeros(3), np.ones(3))
    assert interop.pretrained(tmp_path / "x.npz", "se_resnet8", normalise=normalise).net == net
