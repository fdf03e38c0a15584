"""Tests of files of torch.save: other objects beside the tensors, and code, which is never executed."""

import argparse
import collections
import datetime
import enum
import functools
import os
import pathlib
import types

import numpy as np
import pytest

from se_numpy import interop
from se_numpy.cli import main
from se_numpy.interop.unwrapping import unwrap

torch = pytest.importorskip("torch")
WEIGHTS = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.ones(2)}
ENDINGS = (".pth", ".pt", ".pth.tar", ".pkl", ".ckpt", ".bin", ".PTH", ".model", ".npz", "")


class Colour(enum.Enum):
    RED = 1


class Settings(dict):
    """A dict with attributes, as configuration libraries have."""


class Call:
    """An object that calls a function when it is unpickled."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


BESIDE = {
    "Namespace": argparse.Namespace(lr=0.1, nested=argparse.Namespace(a=[1])),
    "NumPy scalar": np.float64(0.5),
    "NumPy array": np.arange(3),
    "device": torch.device("cpu"),
    "path": pathlib.PurePosixPath("runs/1"),
    "date": datetime.datetime(2026, 1, 2),
    "enum": Colour.RED,
    "own dict": Settings(lr=0.1, b={"c": 3}),
    "defaultdict": collections.defaultdict(list, a=[1]),
    "SimpleNamespace": types.SimpleNamespace(a=1),
    "partial": functools.partial(dict, a=1),
    "dtype": torch.float16,
    "size": torch.Size([1, 2]),
    "set": {1, 2},
    "counter": collections.Counter("abc"),
    "escapes": {"\x1b[2J": "\x1b[31m"},
}


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("kind", BESIDE)
def test_other_objects_are_left_out(tmp_path, kind, new):
    source = {"epoch": 3, "args": BESIDE[kind], "state_dict": WEIGHTS, "optimizer": {"state": {}}}
    torch.save(source, tmp_path / "x.pth.tar", _use_new_zipfile_serialization=new)
    found = interop.read(tmp_path / "x.pth.tar")
    assert set(found) == set(WEIGHTS)
    np.testing.assert_array_equal(found["fc.weight"], WEIGHTS["fc.weight"].numpy())


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_the_ending_does_not_matter(tmp_path, ending, new):
    torch.save({"model": WEIGHTS}, tmp_path / f"x{ending}", _use_new_zipfile_serialization=new)
    assert set(interop.read(tmp_path / f"x{ending}")) == set(WEIGHTS)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    ("function", "args"),
    [(open, ("executed", "w")), (os.system, ("touch executed",)), (eval, ("open('executed', 'w')",)),
     (pathlib.Path.touch, (pathlib.PurePosixPath("executed"),)), (np.savetxt, ("executed", [1.0])),
     (torch.save, ({}, "executed")), (getattr, (os, "system"))],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_code_is_never_executed(tmp_path, monkeypatch, function, args, new):
    monkeypatch.chdir(tmp_path)
    try:
        torch.save({"state_dict": WEIGHTS, "x": Call(function, *args)}, "x.pt", _use_new_zipfile_serialization=new)
    except TypeError:  # a module cannot be pickled
        pytest.skip("cannot be stored")
    try:
        interop.read("x.pt")
    except ValueError as error:
        assert str(error).startswith("x.pt")  # noqa: PT017
    assert sorted(os.listdir()) == ["x.pt"]


@pytest.mark.parametrize("function", [open, os.system, eval], ids=lambda f: f.__name__)
def test_functions_of_the_standard_library_are_refused_by_name(tmp_path, capsys, function):
    torch.save({"state_dict": WEIGHTS, "x": Call(function, "a")}, tmp_path / "x.pt")
    assert main(["weights", str(tmp_path / "x.pt"), "--model", "se_resnet8"]) == 2
    err = capsys.readouterr().err
    assert f".{function.__name__}, which is code, so it is not read; save the weights alone with torch.save(" in err
    assert "\x1b" not in err


def test_a_whole_model_is_refused(tmp_path):
    torch.save(torch.nn.Linear(3, 2), tmp_path / "x.pt")
    with pytest.raises(
        ValueError, match=r"holds a whole object, torch\.nn\.modules\.linear\.Linear, not its weights; save"
    ):
        interop.read(tmp_path / "x.pt")


@pytest.mark.parametrize("held", [[1, 2], {"epoch": 3}, {}, 3, None, torch.ones(2), {"model": torch.nn.Linear(3, 2)}])
def test_a_file_without_weights(tmp_path, held):
    torch.save(held, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="expected a state dict"):
        interop.read(tmp_path / "x.pt")


def test_another_pickle_protocol(tmp_path):
    torch.save({"args": argparse.Namespace(), **WEIGHTS}, tmp_path / "x.pt", pickle_protocol=4)
    with pytest.raises(ValueError, match=r"x\.pt is damaged or not .*pickle protocol"):
        interop.read(tmp_path / "x.pt")


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_damaged_files(tmp_path, new):
    torch.save(
        {"state_dict": WEIGHTS, "args": argparse.Namespace(a=1)}, tmp_path / "x.pt", _use_new_zipfile_serialization=new
    )
    content, chance = (tmp_path / "x.pt").read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(content)
        damaged[chance.integers(len(content))] ^= 1 << chance.integers(8)
        (tmp_path / "x.pt").write_bytes(damaged[: chance.integers(1, len(content)) if chance.random() < 0.5 else None])
        try:
            interop.read(tmp_path / "x.pt")
        except ValueError as error:
            assert str(error).isprintable()  # noqa: PT017
            assert str(error).startswith(str(tmp_path))  # noqa: PT017


@pytest.mark.filterwarnings("ignore:torch.quantize")
def test_types_of_tensors(tmp_path):
    fine = {
        "a.half": torch.ones(2, dtype=torch.float16), "a.bfloat16": torch.ones(2, dtype=torch.bfloat16),
        "a.float8": torch.ones(2).to(torch.float8_e4m3fn), "a.num_batches_tracked": torch.tensor(3),
        "a.sparse": torch.eye(2).to_sparse(), "a.parameter": torch.nn.Parameter(torch.ones(2)),
        "a.transposed": torch.ones(2, 3).T,
    }  # fmt: skip
    fine["a.tied"] = fine["a.parameter"]
    torch.save(fine, tmp_path / "x.pt")
    for found in (interop.read(tmp_path / "x.pt"), unwrap(fine)):
        assert {a.dtype.name for a in found.values()} == {"float32", "int64"}
    quantised = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)
    for name, tensor, words in (
        ("quantised", quantised, r"quantised is quantised \(torch\.qint8\)"),
        ("meta", torch.ones(2, device="meta"), "has a shape and no values"),
        ("complex", torch.ones(2, dtype=torch.complex64), "complex64; expected a numeric"),
    ):
        torch.save({f"a.{name}": tensor}, tmp_path / "x.pt")
        with pytest.raises(ValueError, match=words):
            interop.read(tmp_path / "x.pt")


def test_averaged_weights_are_said_on_the_command_line(tmp_path, capsys):
    from test_unwrapping import WEIGHTS as SMALL

    weights = {f"module.{name}": torch.from_numpy(a) for name, a in SMALL.items()}
    source = {"state_dict": weights, "model_ema": {n: a / 2 for n, a in weights.items()}, "args": argparse.Namespace()}
    torch.save(source, tmp_path / "x.ckpt")
    arguments = ["weights", str(tmp_path / "x.ckpt"), "--model", "se_resnet8"]
    for more, half in (([], 2), (["--no-ema"], 1), (["--part", "state_dict"], 1), (["--part", "model_ema"], 2)):
        assert main([*arguments, *more, "--out", str(tmp_path / f"x{'-'.join(more)}.npz")]) == 0
        assert ("(EMA) in model_ema are used, as timm" in " ".join(capsys.readouterr().out.split())) == (not more)
        written = interop.read(tmp_path / f"x{'-'.join(more)}.npz")
        np.testing.assert_array_equal(written["fc.weight"] * half, SMALL["fc.weight"])
