"""Each declared form is graded as the plain one is: right work passes, wrong work fails with the same names."""

import pytest
from forms import in_form, reproduced

from se_numpy.grading import check
from se_numpy.grading.declarations import Form, declared

# The right answers, in the style of cs231n and channels-first.
CS231N = """
import numpy as np

LAYOUT = "NCHW"
STYLE = "cs231n"


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def conv_forward_naive(x, w, b, conv_param):
    s, p = conv_param["stride"], conv_param["pad"]
    padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    k = w.shape[-1]
    view = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(2, 3))[:, :, ::s, ::s]
    out = np.einsum("nchwab,fcab->nfhw", view, w) + b[:, None, None]
    return out, (x, w, b, conv_param)


def conv_backward_naive(dout, cache):
    x, w, b, conv_param = cache
    s, p = conv_param["stride"], conv_param["pad"]
    padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    dx, dw, k = np.zeros_like(padded), np.zeros_like(w), w.shape[-1]
    H, W = dout.shape[2:]
    for i in range(k):
        for j in range(k):
            part = np.s_[:, :, i : i + s * H : s, j : j + s * W : s]
            dw[:, :, i, j] = np.einsum("nfhw,nchw->fc", dout, padded[part])
            dx[part] += np.einsum("nfhw,fc->nchw", dout, w[:, :, i, j])
    return dx[:, :, p : p + x.shape[2], p : p + x.shape[3]], dw, dout.sum((0, 2, 3))


def relu_forward(x):
    return np.maximum(x, 0), x


def relu_backward(dout, cache):
    return dout * (cache > 0)


def sigmoid_forward(x):
    return sigmoid(x), x


def sigmoid_backward(dout, x):
    return dout * sigmoid(x) * sigmoid(-x)


def batchnorm_forward(x, gamma, beta, bn_param):
    eps = bn_param.get("eps", 1e-5)
    if bn_param["mode"] == "test":
        return gamma * (x - bn_param["running_mean"]) / np.sqrt(bn_param["running_var"] + eps) + beta, None
    root = 1 / np.sqrt(x.var(0) + eps)
    x_hat = (x - x.mean(0)) * root
    return gamma * x_hat + beta, (x_hat, gamma, root)


def batchnorm_backward(dout, cache):
    x_hat, gamma, root = cache
    dgamma, dbeta, m = (dout * x_hat).sum(0), dout.sum(0), len(dout)
    return gamma * root * (dout - dbeta / m - x_hat * dgamma / m), dgamma, dbeta


def max_pool_forward_naive(x, pool_param):
    k, s = pool_param["pool_height"], pool_param["stride"]
    view = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(2, 3))[:, :, ::s, ::s]
    return view.max((-1, -2)), (x, pool_param)


def max_pool_backward_naive(dout, cache):
    x, pool_param = cache
    k, s = pool_param["pool_width"], pool_param["stride"]
    dx = np.zeros_like(x)
    for i, j in np.ndindex(dout.shape[2:]):
        window = x[:, :, i * s : i * s + k, j * s : j * s + k]
        first = window == window.max((2, 3), keepdims=True)
        dx[:, :, i * s : i * s + k, j * s : j * s + k] += first * dout[:, :, i, j][:, :, None, None]
    return dx


def softmax_loss(x, y):
    e = np.exp(x - x.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    rows = np.arange(len(x))
    shifted = x - x.max(1, keepdims=True)
    loss = (np.log(np.exp(shifted).sum(1)) - shifted[rows, y]).mean()
    dx = p.copy()
    dx[rows, y] -= 1
    return loss, dx / len(x)


def squeeze_forward(U):
    return U.mean((2, 3)), U.shape


def squeeze_backward(dz, shape):
    return np.zeros(shape) + dz[:, :, None, None] / (shape[2] * shape[3])


def excite_forward(z, W1, W2):
    a = z @ W1.T
    h = np.maximum(a, 0)
    s = sigmoid(h @ W2.T)
    return s, (z, W1, W2, a, h, s)


def excite_backward(ds, cache):
    z, W1, W2, a, h, s = cache
    db = ds * s * (1 - s)
    da = (db @ W2) * (a > 0)
    return da @ W1, da.T @ z, db.T @ h


def scale_forward(U, s):
    return U * s[:, :, None, None], (U, s)


def scale_backward(dout, cache):
    U, s = cache
    return dout * s[:, :, None, None], (dout * U).sum((2, 3))


def se_block_forward(U, W1, W2):
    z, squeezed = squeeze_forward(U)
    s, excited = excite_forward(z, W1, W2)
    out, scaled = scale_forward(U, s)
    return out, (squeezed, excited, scaled)


def se_block_backward(dout, cache):
    squeezed, excited, scaled = cache
    dU, ds = scale_backward(dout, scaled)
    dz, dW1, dW2 = excite_backward(ds, excited)
    return dU + squeeze_backward(dz, squeezed), dW1, dW2
"""
# For each covered task, a change that makes it wrong.
WRONG = {
    "conv2d": ("fcab->nfhw\", view, w)", "fcab->nfhw\", view, w[..., ::-1])"),
    "conv2d_backward": ("dx[part] +=", "dx[part] ="),
    "relu": ("np.maximum(x, 0), x", "np.minimum(x, 0), x"),
    "relu_backward": ("(cache > 0)", "(dout > 0)"),
    "sigmoid": ("return sigmoid(x), x", "return sigmoid(-x), x"),
    "sigmoid_backward": ("dout * sigmoid(x) * sigmoid(-x)", "dout * sigmoid(x)"),
    "batch_norm": ("np.sqrt(x.var(0) + eps)", "(np.sqrt(x.var(0)) + eps)"),
    "batch_norm_backward": (" - x_hat * dgamma / m", ""),
    "normalize": ('gamma * (x - bn_param["running_mean"])', "(x - x.mean(0))"),
    "squeeze": ("U.mean((2, 3))", "U.max((2, 3))"),
    "squeeze_backward": (" / (shape[2] * shape[3])", ""),
    "excite": ("h = np.maximum(a, 0)", "h = a"),
    "excite_backward": ("ds * s * (1 - s)", "ds"),
    "scale": ("return U * s[:, :, None, None]", "return U + s[:, :, None, None]"),
    "scale_backward": ("(dout * U).sum((2, 3))", "(dout * U).mean((2, 3))"),
    "se_block": ("out, scaled = scale_forward(U, s)", "out, scaled = scale_forward(U, 1 - s)"),
    "se_block_backward": ("dU + squeeze_backward(dz, squeezed)", "dU"),
    "max_pool2d": ("view.max((-1, -2))", "view.mean((-1, -2))"),
    "max_pool2d_backward": ("dx[:, :, i * s : i * s + k, j * s : j * s + k] +=",
                            "dx[:, :, i * s : i * s + k, j * s : j * s + k] ="),
    "softmax_cross_entropy": ("shifted[rows, y]).mean()", "shifted[rows, y]).sum()"),
    "softmax_cross_entropy_backward": ("dx / len(x)", "dx"),
}  # fmt: skip
# The names of mistakes that the plain form gives, too.
NAMED = {"relu_backward": "mask from dy", "squeeze": "largest pixel",
         "se_block_backward": "path through the gate left out", "excite": "no ReLU between the layers",
         "scale_backward": "ds as a mean"}  # fmt: skip


@pytest.mark.parametrize("task", WRONG)
def test_the_style_of_cs231n_is_graded(task):
    assert in_form(CS231N, task).status == "passed"
    before, after = WRONG[task]
    assert before in CS231N
    report = in_form(CS231N.replace(before, after), task, named=task in NAMED)
    assert report.status == "failed"
    assert report.points < report.max_points
    if task in NAMED:
        assert report.diagnosis.mistake == NAMED[task]


SPATIAL = (
    CS231N
    + """
def spatial_batchnorm_forward(x, gamma, beta, bn_param):
    rows, cache = batchnorm_forward(x.transpose(0, 2, 3, 1).reshape(-1, x.shape[1]), gamma, beta, bn_param)
    return rows.reshape(len(x), *x.shape[2:], -1).transpose(0, 3, 1, 2), cache


def spatial_batchnorm_backward(dout, cache):
    rows = dout.transpose(0, 2, 3, 1).reshape(-1, dout.shape[1])
    dx, dgamma, dbeta = batchnorm_backward(rows, cache)
    return dx.reshape(len(dout), *dout.shape[2:], -1).transpose(0, 3, 1, 2), dgamma, dbeta
"""
)


@pytest.mark.parametrize("task", ["batch_norm", "batch_norm_backward", "normalize"])
def test_batch_norm_of_maps_comes_before_that_of_rows(task):
    assert in_form(SPATIAL, task).status == "passed"
    assert in_form(SPATIAL.replace("transpose(0, 3, 1, 2)", "transpose(0, 3, 2, 1)"), task).status != "passed"


STYLED = """
import numpy as np
STYLE = "cs231n"
def relu(x):
    return {returned}
def relu_backward(dout, cache):
    return dout * (cache > 0)
def conv2d(X, V, conv_param):
    return X, None
"""


@pytest.mark.parametrize(("returned", "task", "message"), [
    ("np.maximum(x, 0)", "relu", "relu returned 1 value; in the style cs231n it returns out, cache"),
    ("x, x, x", "relu_backward", "relu returned 3 values; in the style cs231n it returns out, cache"),
    ("x, x", "excite", "excite_forward is not defined"),
    ("x, x", "sigmoid_backward", "sigmoid_forward is not defined"),
])  # fmt: skip
def test_other_forms_than_the_declared_style_are_refused(returned, task, message):
    assert message in in_form(STYLED.format(returned=returned), task).message


def test_a_function_with_other_parameters_is_told_what_it_is_given():
    source = "STYLE = 'cs231n'\ndef relu_forward(x, alpha):\n    return x, x\n"
    assert "relu_forward(x, alpha) is called with (shape (3, " in in_form(source, "relu").message


# Classes.

METHODS = """
def forward(self, {arguments}):
    self.U, self.z = {U}, {U}.mean((1, 2))
    W1, W2 = {weights}
    self.a = self.z @ W1.T
    self.s = 1 / (1 + np.exp(-np.maximum(self.a, 0) @ W2.T))
    self.kept = W1, W2
    return {U} * self.s[:, None, None]

def backward(self, dX):
    W1, W2 = self.kept
    ds = (dX * self.U).sum((1, 2))
    db = ds * self.s * (1 - self.s)
    da = (db @ W2) * (self.a > 0)
    dU = dX * self.s[:, None, None] + (da @ W1)[:, None, None] / (self.U.shape[1] * self.U.shape[2])
    {returned}
"""
HEAD = "import numpy as np\nCLASSES = {'SEBlock': 'se_block'}\nclass SEBlock:\n"
ALL = "return dU, da.T @ self.z, db.T @ np.maximum(self.a, 0)"
REST = "self.dW1, self.dW2 = da.T @ self.z, db.T @ np.maximum(self.a, 0)\n    return dU"


def block(constructor: str = "", **parts) -> str:
    """Return a class for se_block; by default its methods take all arguments and return all gradients."""
    parts = {"arguments": "U, W1, W2", "weights": "W1, W2", "U": "U", "returned": ALL} | parts
    lines = [*constructor.splitlines(), *METHODS.format(**parts).splitlines()]
    return HEAD + "\n".join(f"    {line}" for line in lines) + "\n"


STORED = "def __init__(self, W1, W2):\n    self.W1, self.W2 = W1, W2"
EMPTY = "W1 = W2 = np.zeros(())"
CLASSES = {
    "arguments of forward": block(),
    "with a default": block(arguments="U, W1, W2, train=True"),
    "of the constructor": block(STORED, arguments="x", U="x", weights="self.W1, self.W2"),
    "attributes": block(EMPTY, arguments="x", U="x", weights="self.W1, self.W2"),
    "gradients as attributes": block(STORED, arguments="U", weights="self.W1, self.W2", returned=REST),
}  # fmt: skip


@pytest.mark.parametrize("form", CLASSES)
def test_a_class_is_graded_as_a_pair_of_tasks(form):
    for task in ("se_block", "se_block_backward"):
        assert in_form(CLASSES[form], task).status == "passed"
    wrong = CLASSES[form].replace("dX * self.s[:, None, None] +", "")
    assert in_form(wrong, "se_block").status == "passed"
    assert in_form(wrong, "se_block_backward").status == "failed"


def test_a_class_of_batch_norm_needs_no_statistics_from_outside():
    source = """
import numpy as np
CLASSES = {"BatchNorm": "batch_norm"}
class BatchNorm:
    def __init__(self, gamma, beta, eps):
        self.gamma, self.beta, self.eps = gamma, beta, eps
    def forward(self, x):
        axes = (0, 1, 2)
        self.root = 1 / np.sqrt(x.var(axes) + self.eps)
        self.x_hat = (x - x.mean(axes)) * self.root
        return self.gamma * self.x_hat + self.beta
    def backward(self, dy):
        axes, m = (0, 1, 2), dy.size // dy.shape[-1]
        self.dgamma, self.dbeta = (dy * self.x_hat).sum(axes), dy.sum(axes)
        return self.gamma * self.root * (dy - self.dbeta / m - self.x_hat * self.dgamma / m)
"""
    for task in ("batch_norm", "batch_norm_backward"):
        assert in_form(source, task).status == "passed"
    assert in_form(source.replace(" - self.dbeta / m", ""), "batch_norm_backward").status == "failed"


@pytest.mark.parametrize(("source", "message"), [
    (block("def __init__(self, channels):\n    pass"), "the constructor of SEBlock takes channels, which is not an"),
    (block(arguments="U, V, W1, W2"), "SEBlock.forward takes U, V, W1, W2; expected at most U, W1, W2"),
    (block(arguments="U", weights="1, 2"), "SEBlock does not take W1; expected it as an argument of forward or of"),
    (block(STORED, arguments="U", weights="self.W1, self.W2", returned="return dU"),
     "SEBlock.backward returned dU alone; expected dU, dW1, dW2, or the others as attributes dW1, dW2"),
    (block().replace("def backward(self, dX)", "def back(self, dX)"), "SEBlock has no method backward"),
    (block().replace("def forward", "def call"), "SEBlock has no method forward"),
    (block().replace("backward(self, dX)", "backward(self, dX, lr)"), "SEBlock.backward(dX, lr) is called with (shape"),
    ("CLASSES = {'SEBlock': 'se_block'}\n", "SEBlock is not defined"),
])  # fmt: skip
def test_other_classes_are_refused_with_a_sentence(source, message):
    assert message in in_form(source, "se_block_backward").message


def test_declarations_without_effect_are_named():
    found = declared({"STYLE": "seaborn", "FRAMEWORK": "tensorflow", "CLASSES": {"Net": "se_blok"}}, {"Net": {}})
    assert (found.style, found.framework, found.classes) == ("plain", "numpy", {})
    assert found.notes == (
        'STYLE = "seaborn" has no effect; expected plain or cs231n',
        'FRAMEWORK = "tensorflow" has no effect; expected numpy or torch or jax',
        'CLASSES = {"Net": "se_blok"} has no effect: se_blok is not a task; did you mean se_block?',
    )
    assert not declared({"CLASSES": {"cat": "Katze"}}, {"Net": {}}).notes


def test_the_file_declares_before_the_assignment():
    form = Form(style="cs231n", classes={"SEBlock": "se_block", "Relu": "relu"})
    assert declared({}, {}, form).style == "cs231n"
    assert declared({"STYLE": "plain"}, {}, form).style == "plain"
    assert declared({}, {"SEBlock": {}}, form).classes == {"SEBlock": "se_block"}  # it defines no class Relu
    assert declared({"CLASSES": {"Relu": "sigmoid"}}, {"Relu": {}}, form).classes == {"Relu": "sigmoid"}


@pytest.mark.parametrize(("source", "tasks"), [
    *((source, ("se_block", "se_block_backward")) for source in CLASSES.values()),
    (SPATIAL, ("conv2d", "max_pool2d_backward", "batch_norm_backward", "normalize", "excite")),
])  # fmt: skip
def test_the_code_to_reproduce_calls_the_function_as_the_grader_does(source, tasks):
    for task in tasks:
        printed, graded = reproduced(source, task)
        for a, b in zip(printed, graded, strict=False):
            assert a == pytest.approx(b)


def test_a_class_is_checked_in_a_notebook():
    scope: dict = {}
    exec(CLASSES["of the constructor"], scope)
    for task in ("se_block", "se_block_backward"):
        assert check(task, scope["SEBlock"]).passed
    card = check("squeeze", scope["SEBlock"])
    assert "the constructor of SEBlock takes W1, which is not an argument of squeeze (U)" in card.task.message
    with pytest.raises(ValueError, match="framework is 'theano'; expected numpy or torch or jax"):
        check("squeeze", scope["SEBlock"], framework="theano")
