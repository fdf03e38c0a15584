"""The environment of a run, on this machine and on simulated ones; it never identifies the user."""

import getpass
import json
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import se_numpy
from se_numpy.train import environment as env


@pytest.fixture
def linux(tmp_path, monkeypatch):
    """Simulate /proc and /sys/fs/cgroup with files written by the test."""
    monkeypatch.setattr(env, "PROC", tmp_path / "proc")
    monkeypatch.setattr(env, "CGROUP", tmp_path / "cgroup")

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write


def test_the_environment_of_this_machine_is_complete_and_serialisable():
    found = env.environment("abc", ["/home/ann/.venv/bin/se-numpy", "train", "--out", "my runs"])
    assert json.loads(json.dumps(found)) == found
    assert found["versions"]["numpy"] == np.__version__
    assert found["versions"]["se_numpy"] == se_numpy.__version__
    assert re.fullmatch(r"3\.\d+\..*", found["versions"]["python"])
    assert found["cpu"]["cores"] >= found["cpu"]["usable"] >= 1
    assert found["data_sha256"] == "abc"
    assert found["command"] == "se-numpy train --out 'my runs'"
    assert all(set(one) <= {"internal_api", "version", "architecture", "threading_layer", "num_threads"}
               for one in found["blas"])  # fmt: skip


def test_the_user_is_not_identified(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    text = json.dumps(env.environment(argv=["se-numpy", "train"]))
    assert "/home/ann" not in text
    assert str(env.PACKAGE) not in text
    assert sys.executable not in text
    if len(getpass.getuser()) > 4:
        assert getpass.getuser() not in text


def test_a_command_line_is_recorded_as_typed():
    assert env.command(["/usr/lib/se_numpy/__main__.py", "train", "--lr", "0.1"]) == "python -m se_numpy train --lr 0.1"
    assert env.command(["C/bin/se-numpy", "evaluate", "~/a b"]) == "se-numpy evaluate '~/a b'"
    assert env.command([]) == "''"


def test_threads_and_environment_variables(monkeypatch):
    monkeypatch.setenv("SE_NUMPY_THREADS", "3")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    found = env.environment()
    assert found["threads"] == 3
    assert found["variables"]["SE_NUMPY_THREADS"] == "3"
    assert "OMP_NUM_THREADS" not in found["variables"]
    monkeypatch.setenv("SE_NUMPY_THREADS", "many")  # an error in the trainer, but not here
    assert env.environment()["threads"] is None


@pytest.mark.parametrize(("files", "quota"), [
    ({}, None),
    ({"cgroup/cpu.max": "max 100000"}, None),
    ({"cgroup/cpu.max": "150000 100000"}, 1.5),
    ({"proc/self/cgroup": "0::/a/b", "cgroup/a/b/cpu.max": "max 100000", "cgroup/a/cpu.max": "50000 100000"}, 0.5),
    ({"proc/self/cgroup": "0::/a", "cgroup/cpu.max": "400000 100000", "cgroup/a/cpu.max": "200000 100000"}, 2.0),
    ({"cgroup/cpu/cpu.cfs_quota_us": "-1", "cgroup/cpu/cpu.cfs_period_us": "100000"}, None),
    ({"proc/self/cgroup": "4:cpu,cpuacct:/box", "cgroup/cpu/box/cpu.cfs_quota_us": "300000",
      "cgroup/cpu/box/cpu.cfs_period_us": "100000"}, 3.0),
    ({"cgroup/cpu.max": "150000 0"}, None),
    ({"cgroup/cpu.max": "nonsense"}, None),
])  # fmt: skip
def test_cpu_quota_of_a_container(linux, files, quota):
    for name, text in files.items():
        linux(name, text)
    assert env.cpu_quota() == quota


def test_memory_limit_of_a_container(linux, monkeypatch):
    monkeypatch.setattr(env, "_physical", lambda: 8 << 30)
    assert env.memory_gib() == 8.0
    linux("cgroup/memory.max", "max")
    assert env.memory_gib() == 8.0
    linux("cgroup/memory.max", str(3 << 29))
    assert env.memory_gib() == 1.5
    monkeypatch.setattr(env, "_physical", lambda: None)
    linux("cgroup/memory.max", "max")
    assert env.memory_gib() is None


@pytest.mark.parametrize(("text", "model"), [
    ("processor : 0\nmodel\t: 17\nmodel name\t: Some CPU @ 2 GHz\n", "Some CPU @ 2 GHz"),
    ("processor : 0\nModel\t: Raspberry Pi 4\n", "Raspberry Pi 4"),
])  # fmt: skip
def test_cpu_model(linux, text, model):
    linux("proc/cpuinfo", text)
    assert env._cpu_model() == model


def test_an_unknown_cpu_model_is_not_an_error(linux):
    assert env._cpu_model() is None or isinstance(env._cpu_model(), str)


def cupy_like(**changes):
    runtime = SimpleNamespace(
        getDeviceProperties=lambda i: {"name": b"H200", "totalGlobalMem": 139 << 30, "major": 9, "minor": 0},
        driverGetVersion=lambda: 12080, runtimeGetVersion=lambda: 12090,
    )  # fmt: skip
    return SimpleNamespace(cuda=SimpleNamespace(runtime=runtime, Device=lambda: SimpleNamespace(id=0)), **changes)


@pytest.mark.parametrize("line", [
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu Jan",
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build",
])  # fmt: skip
def test_the_gpu_is_described_if_cupy_is_imported(linux, monkeypatch, line):
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    assert env.gpu() is None
    monkeypatch.setitem(sys.modules, "cupy", cupy_like())
    linux("proc/driver/nvidia/version", line)
    assert env.gpu() == {"name": "H200", "memory_gib": 139.0, "compute_capability": "9.0", "driver_cuda": "12.8",
                         "runtime_cuda": "12.9", "driver": "570.86.15"}  # fmt: skip
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace())  # does not work
    assert env.gpu() is None


def test_recording_the_environment_does_not_import_cupy():
    code = ("import sys; from se_numpy.train.environment import environment; environment(); "
            "print('cupy' in sys.modules, 'matplotlib' in sys.modules)")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def git(folder, *words):
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


def test_commit_of_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(env, "PACKAGE", tmp_path / "se_numpy")
    assert env.commit() is None
    if not env._output("git", "--version"):
        pytest.skip("git is not installed")
    git(tmp_path, "init")
    assert env.commit() is None  # no commits yet
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-m", "one")
    first = env.commit()
    assert re.fullmatch("[0-9a-f]{40}", first["id"])
    assert first["changed"] is False
    (tmp_path / "a").write_text("2")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))  # as in a hook of another repository
    assert env.commit() == {"id": first["id"], "changed": True}
    monkeypatch.setenv("PATH", str(tmp_path))  # git is not found
    assert env.commit() is None


def test_output_of_a_failing_program_is_empty():
    assert env._output(sys.executable, "-c", "print(1); raise SystemExit(1)") == ""
    assert env._output("no-such-program-anywhere") == ""
    assert env._output(sys.executable, "-c", "print(1)") == "1\n"


def test_version_of_a_missing_library_is_none():
    assert env.version("no-such-library-anywhere") is None
    assert env.version("numpy") == np.__version__


def test_cupy_is_found_under_all_package_names(monkeypatch):
    monkeypatch.setattr(env, "version", {"cupy-cuda13x": "14.2"}.get)
    assert env.cupy_version() == "14.2"
    assert env.versions()["cupy"] == "14.2"
