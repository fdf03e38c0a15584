"""The equations stay readable: short pairs, calls through few functions, and no code that exists for speed."""

import ast
import inspect
import sys
import threading
import tokenize
from pathlib import Path

import numpy as np
import pytest

import se_numpy
from se_numpy import layers, ops, se

PACKAGE = Path(se_numpy.__file__).parent
BOOK = sorted([*(PACKAGE / "ops").glob("*.py"), *(PACKAGE / "layers").glob("*.py"), PACKAGE / "se.py"])
PAIRS = [name.removesuffix("_backward") for name in se_numpy.__all__ if name.endswith("_backward")]
PAIRS.remove("check")


@pytest.mark.parametrize("name", PAIRS)
def test_a_pair_has_at_most_forty_lines(name):
    forward, backward = (inspect.unwrap(getattr(se_numpy, f)) for f in (name, f"{name}_backward"))
    assert forward.__module__ == backward.__module__
    lines, first = inspect.getsourcelines(backward)
    begins = inspect.getsourcelines(forward)[1]
    ends = first + len(lines) - 1
    assert ends - begins + 1 <= 40
    assert first > begins


# ------------------------------------------------------------------------- the number of functions that a call enters

rng = np.random.default_rng(0)
X, V, dU = (rng.standard_normal(shape) for shape in ((2, 5, 4, 6), (3, 3, 6, 4), (2, 5, 4, 4)))
grouped = rng.standard_normal((3, 3, 2, 6))
z, W1, W2 = (rng.standard_normal(shape) for shape in ((2, 6), (3, 6), (6, 3)))
gamma, mask, labels = np.ones(6), X > 0, np.array([1, 3])
heat = {"targets": np.where(mask, 1.0, 0.5), "weights": np.ones((2, 5, 4))}
boxes = {"targets": X + 1, "mask": mask[..., 0]}
one = {"padding": 1}
groups = {"padding": 1, "groups": 3}
pool = {"kernel": 2, "stride": 1, "padding": 1}
dpool = rng.standard_normal((2, 6, 5, 6))
CALLS = {  # name: the call, and the maximum numbers of functions and files that it may enter
    "conv2d": (lambda: ops.conv2d(X, V, **one), 6, 4),
    "conv2d_backward": (lambda: ops.conv2d_backward(dU, X, V, **one), 6, 4),
    "conv2d with groups": (lambda: ops.conv2d(X, grouped, **groups), 8, 4),
    "conv2d_backward with groups": (lambda: ops.conv2d_backward(X, X, grouped, **groups), 8, 4),
    "linear": (lambda: ops.linear(z, W1), 6, 4),
    "linear_backward": (lambda: ops.linear_backward(z @ W1.T, z, W1), 6, 4),
    "relu": (lambda: ops.relu(X), 6, 4),
    "relu_backward": (lambda: ops.relu_backward(X, X), 6, 4),
    "sigmoid": (lambda: ops.sigmoid(X), 6, 4),
    "sigmoid_backward": (lambda: ops.sigmoid_backward(X, X), 6, 4),
    "tanh": (lambda: ops.tanh(X), 6, 4),
    "tanh_backward": (lambda: ops.tanh_backward(X, X), 6, 4),
    "dropout": (lambda: ops.dropout(X, mask, p=0.5), 6, 4),
    "dropout_backward": (lambda: ops.dropout_backward(X, X, mask, p=0.5), 6, 4),
    "batch_statistics": (lambda: ops.batch_statistics(X), 6, 4),
    "batch_statistics_backward": (lambda: ops.batch_statistics_backward(gamma, gamma, X), 6, 4),
    "normalize": (lambda: ops.normalize(X, gamma, gamma, gamma, gamma), 6, 4),
    "normalize_backward": (lambda: ops.normalize_backward(X, X, gamma, gamma, gamma, gamma), 6, 4),
    "batch_norm": (lambda: ops.batch_norm(X, gamma, gamma), 6, 4),
    "batch_norm_backward": (lambda: ops.batch_norm_backward(X, X, gamma, gamma), 6, 4),
    "max_pool2d": (lambda: ops.max_pool2d(X, **pool), 6, 4),
    "max_pool2d_backward": (lambda: ops.max_pool2d_backward(dpool, X, **pool), 6, 4),
    "avg_pool2d": (lambda: ops.avg_pool2d(X, **pool), 6, 4),
    "avg_pool2d_backward": (lambda: ops.avg_pool2d_backward(dpool, X, **pool), 6, 4),
    "global_max_pool2d": (lambda: ops.global_max_pool2d(X), 6, 4),
    "global_max_pool2d_backward": (lambda: ops.global_max_pool2d_backward(z, X), 6, 4),
    "softmax": (lambda: ops.softmax(z), 6, 4),
    "softmax_backward": (lambda: ops.softmax_backward(z, z), 6, 4),
    "softmax_cross_entropy": (lambda: ops.softmax_cross_entropy(z, labels), 6, 4),
    "softmax_cross_entropy_backward": (lambda: ops.softmax_cross_entropy_backward(1.0, z, labels), 6, 4),
    "heatmap_focal_loss": (lambda: ops.heatmap_focal_loss(X, **heat), 6, 4),
    "heatmap_focal_loss_backward": (lambda: ops.heatmap_focal_loss_backward(1.0, X, **heat), 6, 4),
    "masked_l1_loss": (lambda: ops.masked_l1_loss(X, **boxes), 6, 4),
    "masked_l1_loss_backward": (lambda: ops.masked_l1_loss_backward(1.0, X, **boxes), 6, 4),
    "squeeze": (lambda: se.squeeze(X), 6, 4),
    "squeeze_backward": (lambda: se.squeeze_backward(z, X), 6, 4),
    "scale": (lambda: se.scale(X, z), 6, 4),
    "scale_backward": (lambda: se.scale_backward(X, X, z), 6, 4),
    "excite": (lambda: se.excite(z, W1, W2), 9, 5),
    "excite_backward": (lambda: se.excite_backward(z, z, W1, W2), 9, 5),
    "se_block": (lambda: se.se_block(X, W1, W2), 9, 5),
    "se_block_backward": (lambda: se.se_block_backward(X, X, W1, W2), 14, 5),
}


def entered(call) -> set[tuple[str, str]]:
    """Return (file, function) for each named function of the package that a warm call enters."""
    call()
    found = set()

    def look(frame, event, arg):
        code = frame.f_code
        path = Path(code.co_filename)
        if event == "call" and path.is_relative_to(PACKAGE) and not code.co_name.startswith("<"):
            found.add((str(path.relative_to(PACKAGE)), code.co_qualname))

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        call()
    finally:
        sys.setprofile(before)
    return found


@pytest.mark.parametrize("name", CALLS)
def test_a_call_enters_few_functions_in_few_files(name):
    call, functions, files = CALLS[name]
    found = entered(call)
    assert 1 <= len(found) <= functions, sorted(found)
    assert len({file for file, _ in found}) <= files


def test_every_pair_has_its_budget():
    assert {name.removesuffix("_backward").removesuffix(" with groups") for name in CALLS} >= set(PAIRS)


# ----------------------------------------------------------------------------------- no code that exists for speed


@pytest.mark.parametrize("path", BOOK, ids=lambda path: path.name)
def test_no_code_exists_for_speed(path):
    """The equations use no engine, threads, workspaces, blocks, C code or explicit strides."""
    with path.open("rb") as file:
        names = {token.string for token in tokenize.tokenize(file.readline) if token.type == tokenize.NAME}
    forbidden = {
        "engine", "threading", "Thread", "concurrent", "ctypes", "as_strided", "stride_tricks", "workspace", "scratch",
        "parallel_for", "over_blocks", "ElementwiseKernel", "ReductionKernel", "RawKernel", "out", "nbytes",
        "setbufsize", "empty", "empty_like",
    }  # fmt: skip
    assert not names & forbidden
    strings = [node.value for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
               if isinstance(node, ast.Constant) and isinstance(node.value, str)]  # fmt: skip
    assert not [text for text in strings if "float64 " in text and "raw T" in text]


def test_a_step_of_plain_layers_enters_no_engine_and_starts_no_thread():
    net = layers.serial(layers.Conv(4), layers.BatchNorm(), layers.SE(2), layers.GlobalAveragePool(), layers.Linear(3))
    params, state = layers.init(net, (5, 4, 6), rng, np.float64)
    before = threading.active_count()

    def step():
        _, cache = net.forward(params, state, X, train=True)
        net.backward(params, cache, z[:, :3])

    files = {file for file, _ in entered(step)}
    assert threading.active_count() == before
    assert not [file for file in files if not file.startswith(("ops", "layers", "se.py", "shapes", "arrays"))]


@pytest.mark.parametrize("number", range(1, 6))
def test_each_equation_has_one_function(number):
    """The function's docstring begins with the equation; layers call the functions and do not repeat the equations."""
    homes = [
        (path.relative_to(PACKAGE).as_posix(), node.name)
        for path in BOOK for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and (ast.get_docstring(node) or "").startswith(f"Eq. ({number}):")
    ]  # fmt: skip
    home = {1: ("ops/conv.py", "conv2d"), 2: ("se.py", "squeeze"), 3: ("se.py", "excite"), 4: ("se.py", "scale"),
            5: ("se.py", "added_parameters")}  # fmt: skip
    assert homes == [home[number]]
