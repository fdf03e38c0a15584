"""Tests of ``se-numpy info``, for this installation and for others."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from se_numpy import install_hints
from se_numpy.analysis import info
from se_numpy.cli import main

PYPROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(info, "SIDE", 64)


def test_text_and_json_hold_the_same(quick, capsys):
    assert main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    assert found["versions"]["numpy"] in text
    assert found["gflops"]["one thread"] > 0
    assert "GFLOP/s on one thread" in text
    assert set(found["data"]) == {"cifar10", "cifar100"}
    assert {one["name"] for one in found["libraries"]} >= {
        "matplotlib", "pillow", "cupy", "safetensors", "hypothesis", "distributed", "torch"}  # fmt: skip
    assert next(one for one in found["libraries"] if one["name"] == "hypothesis")["version"]
    assert "command" not in found
    assert re.search(r"^device +(cpu|gpu) \(", text, re.M)


def test_every_library_is_installed_by_the_extra_that_is_named():
    extras = PYPROJECT["project"]["optional-dependencies"]
    for one in info.OPTIONAL:
        if one.extra != "weights" or "weights" in extras:  # matplotlib depends on pillow
            wanted = {"pillow": "matplotlib"}.get(one.name, one.name)
            assert any(line.startswith(wanted) for line in extras[one.extra]), one


def test_missing_libraries_are_listed_with_their_install_command(quick, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(info, "find_spec", lambda name: None)
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    assert re.search(r'^  matplotlib .* not installed: pip install -e "\.\[plot\]"$', text, re.M)
    assert re.search(r'^  cupy .* not installed: pip install -e "\.\[cuda12\]" \(or cuda13', text, re.M)
    monkeypatch.setattr(install_hints, "PACKAGE", tmp_path / "se_numpy")  # installed, not a copy of the repository
    assert install_hints.install_command("plot") == 'pip install "se-numpy[plot]"'


def test_where_data_is_found(monkeypatch, tmp_path):
    def find(name):
        if name == "cifar10":
            return tmp_path
        raise ValueError("nowhere")

    monkeypatch.setattr(info, "find", find)
    assert info.copies_of_data() == {
        "cifar10": str(tmp_path),
        "cifar100": "not found; download it with: se-numpy data download cifar100",
    }


def test_an_environment_becomes_rows_of_text():
    rows = dict(info.in_words({
        "versions": {"python": "3.12", "cupy": None}, "cpu": {"model": "M", "cores": 8, "usable": 4, "quota": 1.5},
        "threads": 4, "memory_gib": 3.5, "gpu": {"name": "H200", "memory_gib": 139.0, "runtime_cuda": "12.9"},
        "blas": [{"internal_api": "openblas", "version": "0.3", "architecture": "Zen", "num_threads": 2}],
        "commit": {"id": "abc", "changed": True}, "variables": {"OMP_NUM_THREADS": "1"}, "data_sha256": "d1",
    }))  # fmt: skip
    assert rows == {
        "versions": "python 3.12", "processor": "M", "cores": "4 of 8 cores, a quota of 1.5 cores, 4 threads",
        "memory": "3.5 GiB", "BLAS": "openblas 0.3 for Zen, 2 threads", "variables": "OMP_NUM_THREADS=1",
        "GPU": "H200, 139.0 GiB, CUDA 12.9", "commit": "abc, with uncommitted changes", "data": "SHA-256 d1",
    }  # fmt: skip
    assert info.in_words({}) == []
