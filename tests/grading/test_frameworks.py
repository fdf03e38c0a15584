"""PyTorch and JAX in submissions: arrays are converted at the edge, and only a declared framework is importable."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace

import pytest
from forms import in_form

from se_numpy.cli import main
from se_numpy.grading.bundle import read_bundle
from se_numpy.grading.course import Options, grade_path
from se_numpy.grading.declarations import Form
from se_numpy.grading.isolation import (
    FRAMEWORKS,
    Child,
    Limits,
    backends,
    examine,
    framework_missing,
    frameworks,
    seccomp,
)
from se_numpy.grading.isolation.child import limits_of
from se_numpy.grading.isolation.sandbox_paths import sandbox_paths
from se_numpy.grading.submission import from_source

FUNCTIONS = """
import torch
FRAMEWORK = "torch"

def relu(x):
    assert isinstance(x, torch.Tensor) and x.dtype == torch.float64
    return torch.clamp(x, min=0)

def relu_backward(dy, x):
    return torch.where(x > 0, dy, 0.0)

def excite_backward(ds, z, W1, W2):
    z, W1, W2 = (a.clone().requires_grad_() for a in (z, W1, W2))
    return torch.autograd.grad(torch.sigmoid(torch.relu(z @ W1.T) @ W2.T), (z, W1, W2), ds)

def softmax_cross_entropy(x, labels):
    return torch.nn.functional.cross_entropy(x, labels)
"""
LAYER = """
import torch
from torch import nn
FRAMEWORK = "torch"
LAYOUT = "NCHW"
CLASSES = {{"SELayer": "se_block"}}

class SELayer(nn.Module):
    def __init__(self, {arguments}):
        super().__init__()
        {layers}

    def forward(self, x):
        n, c, _, _ = x.shape
        s = {gates}
        return x * s.reshape(n, c, 1, 1)
"""
SEQUENTIAL = LAYER.format(
    arguments="channel, reduction=16", gates="self.fc(x.mean((2, 3)))",
    layers="self.fc = nn.Sequential(nn.Linear(channel, channel // reduction), nn.ReLU(inplace=True), "
           "nn.Linear(channel // reduction, channel), nn.Sigmoid())")  # fmt: skip
CONVOLUTIONS = LAYER.format(
    arguments="in_channels, squeeze_channels",
    gates="torch.sigmoid(self.fc2(torch.relu(self.fc1(x.mean((2, 3), keepdim=True)))))",
    layers="self.fc1 = nn.Conv2d(in_channels, squeeze_channels, 1)\n"
           "        self.fc2 = nn.Conv2d(squeeze_channels, in_channels, 1, bias=False)")  # fmt: skip
PARAMETERS = LAYER.format(
    arguments="channels, hidden", gates="torch.sigmoid(torch.relu(x.mean((2, 3)) @ self.W1.T) @ self.W2.T)",
    layers="self.W1 = nn.Parameter(torch.zeros(hidden, channels))\n"
           "        self.W2 = nn.Parameter(torch.zeros(channels, hidden))")  # fmt: skip


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.mark.parametrize("task", ["relu", "relu_backward", "excite_backward", "softmax_cross_entropy"])
def test_functions_of_tensors_are_graded(torch, task):
    assert in_form(FUNCTIONS, task, framework=torch).status == "passed"


def test_wrong_functions_of_tensors_get_the_same_names(torch):
    report = in_form(FUNCTIONS.replace("x > 0", "dy > 0"), "relu_backward", framework=torch, named=True)
    assert report.diagnosis.mistake == "mask from dy"
    in_place = in_form(FUNCTIONS.replace("torch.clamp(x, min=0)", "x.clamp_(min=0)"), "relu", framework=torch)
    assert [check.name for check in in_place.checks if not check.passed] == ["inputs untouched"]


@pytest.mark.parametrize("source", [SEQUENTIAL, CONVOLUTIONS, PARAMETERS], ids=["Linear", "Conv2d", "Parameter"])
def test_a_module_is_graded_forward_and_through_its_autograd(torch, source):
    for task in ("se_block", "se_block_backward"):
        assert in_form(source, task, framework=torch).status == "passed"
    for wrong in (source.replace("s = ", "s = 1 - "), source.replace("mean(", "amax(")):
        assert in_form(wrong, "se_block", framework=torch).status == "failed"
    detached = source.replace("return x * s", "return x * s.detach()")
    assert in_form(detached, "se_block", framework=torch).status == "passed"
    assert in_form(detached, "se_block_backward", framework=torch).status == "failed"


@pytest.mark.parametrize(("source", "message"), [
    (LAYER.format(arguments="width", layers="pass", gates="x"), "the constructor of SELayer takes width, whose"),
    (LAYER.format(arguments="channels", layers="self.bn = nn.BatchNorm2d(channels)", gates="x"),
     "SELayer: the parameter bn.weight has the shape"),
    (LAYER.format(arguments="channels", layers="pass", gates="x"), "SELayer has no parameter for W1, W2"),
    (SEQUENTIAL.replace("nn.Linear(channel, channel // reduction)", "nn.Linear(channel + 1, channel)"),
     "SELayer: the parameter fc.0.weight has the shape (6, 7); expected W1 (R, C)"),
    (SEQUENTIAL.replace("nn.Sigmoid()", "nn.Sigmoid(), nn.Linear(channel, 3)"), "expected no further one"),
    (SEQUENTIAL.replace("forward(self, x)", "forward(self, x, a, b, c)"), "SELayer.forward takes 4 arguments"),
])  # fmt: skip
def test_other_modules_are_refused_with_a_sentence(torch, source, message):
    assert message in in_form(source, "se_block", framework=torch).message.replace("(5, 6)", "(6, 7)")


def test_functions_of_jax_are_graded():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    source = 'import jax\nFRAMEWORK = "jax"\ndef relu(x):\n    return jax.numpy.maximum(x, 0)\n'
    assert in_form(source, "relu", framework=jax).status == "passed"


# The sandbox.


def test_a_framework_adds_nothing_to_the_sandbox_of_others():
    plain = sandbox_paths()
    assert plain.devices == ()
    assert limits_of(Limits(), "numpy") == Limits()
    for machine in seccomp.MACHINES:
        assert seccomp.allow_list(machine, "numpy") == seccomp.allow_list(machine)
        assert seccomp.allow_list(machine, "torch") == seccomp.allow_list(machine)
    for name in FRAMEWORKS:
        shown = set(sandbox_paths(name).shown) - set(plain.shown)
        assert shown <= {*frameworks.package_paths(name).values(), *frameworks.library_paths(name)}


@pytest.mark.parametrize("machine", seccomp.MACHINES)
def test_what_jax_asks_for_is_answered_without_asking_the_kernel(machine):
    program, plain = seccomp.allow_list(machine, "jax"), seccomp.allow_list(machine)
    which = seccomp.MACHINES.index(machine)
    added = [line for line in program if line not in plain]
    numbers = [numbers[which] for numbers in FRAMEWORKS["jax"].unmade.values()]
    assert added == [
        line for n in numbers for line in ((seccomp.EQUAL, 0, 1, n), (seccomp.RETURN, 0, 0, seccomp.UNMADE))
    ]


def test_a_missing_framework_is_one_sentence(monkeypatch, tmp_path, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "jax" else find(name, *a))
    assert framework_missing("jax").startswith("jax is not installed, so submissions cannot use it; install it with")
    assert not framework_missing("numpy")
    (tmp_path / "hw.py").write_text("x = 1")
    assert main(["grade", str(tmp_path / "hw.py"), "--framework", "jax"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_framework_must_be_declared_and_allowed(tmp_path):
    (tmp_path / "hw.py").write_text("import torch\ndef relu(x):\n    return torch.relu(x)\n")
    options = Options(isolation="process", tasks=("relu",), framework="torch")
    message = grade_path(tmp_path / "hw.py", options).tasks[0].message
    assert "No module named 'torch'" in message
    assert 'a file that uses torch sets FRAMEWORK = "torch", and the grader must allow it' in message
    (tmp_path / "hw.py").write_text('FRAMEWORK = "torch"\n')
    message = grade_path(tmp_path / "hw.py", replace(options, framework="")).message
    assert 'declares FRAMEWORK = "torch", which is not allowed here' in message


def test_an_import_of_an_allowed_framework_is_kept_in_a_notebook(tmp_path):
    cells = [
        "import torch\nfrom torch import nn\nimport torchvision\nFRAMEWORK = 'torch'",
        "def relu(x):\n    return x",
    ]
    notebook = {"cells": [{"cell_type": "code", "source": cell} for cell in cells]}
    (tmp_path / "hw.ipynb").write_text(json.dumps(notebook))
    with Child(from_source(""), isolation="process") as child:
        for framework, kept in (("torch", True), ("", False)):
            found = child.parse(read_bundle(tmp_path / "hw.ipynb"), definitions=False, form=Form(framework=framework))
            assert ("import torch\nfrom torch import nn\n" in found.source) == kept
            assert "torchvision" not in found.source
            assert found.form.framework == "torch"


STRICT = [b.option for b in backends.BACKENDS if b.level != "L1"]


@pytest.mark.slow
@pytest.mark.parametrize("isolation", STRICT)
def test_a_module_of_torch_is_graded_in_the_sandbox(torch, tmp_path, isolation):
    if problem := backends.problem_of(next(b for b in backends.BACKENDS if b.option == isolation)):
        pytest.skip(problem)
    (tmp_path / "hw.py").write_text(SEQUENTIAL)
    options = Options(isolation=isolation, tasks=("se_block", "se_block_backward"), framework="torch")
    report = grade_path(tmp_path / "hw.py", options)
    assert [task.status for task in report.tasks] == ["passed", "passed"]
    assert not any(task.stdout for task in report.tasks)
    assert report.notes[0] == "se_block, se_block_backward: the methods forward and backward of the class SELayer."


@pytest.mark.slow
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_each_promise_is_kept_with_a_framework(name):
    pytest.importorskip(name)
    assert [result.promise.sentence for result in examine(name) if result.broken] == []


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_a_first_backward_pass_imports_nothing_in_the_time_of_a_call():
    code = """
import sys
from se_numpy.grading.sandbox_worker import _framework
torch = _framework("torch")
before = set(sys.modules)
torch.nn.Linear(2, 3)(torch.ones(1, 2)).backward(torch.ones(1, 3))
assert not set(sys.modules) - before, sorted(set(sys.modules) - before)[:9]
"""
    subprocess.run([sys.executable, "-c", code], check=True)
