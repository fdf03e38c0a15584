"""Shape checks: error messages name the argument, what was given and what was expected."""

import numpy as np
import pytest
from pairs import PAIRS, Rng

import se_numpy as sn
from se_numpy import engine, layers
from se_numpy.optim import SGD
from se_numpy.shapes import check, whole


def ones(*shape):
    return np.ones(shape)


def test_sizes_are_returned_in_order_of_appearance():
    assert check("U: N H W C, s: N C", ones(2, 3, 4, 5), ones(2, 5)) == (2, 3, 4, 5)
    assert check("x: N ...", ones(2, 3, 4)) == (2,)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: sn.squeeze(ones(2, 3, 4)), ValueError, r"U has shape \(2, 3, 4\); expected \(N, H, W, C\)"),
        (lambda: sn.squeeze([[1.0]]), TypeError, "U is a list"),
        (lambda: sn.squeeze(ones(2, 3, 4, 5).astype(int)), TypeError, r"U has dtype int64; .*astype\('float32'\)"),
        (lambda: sn.squeeze(ones(2, 0, 4, 5)), ValueError, r"U has shape \(2, 0, 4, 5\); expected at least one element"),
        (lambda: sn.scale(ones(2, 3, 4, 5), ones(2, 4)), ValueError, r"s has shape \(2, 4\); expected \(N, C\) = \(2, 5\)"),
        (lambda: sn.excite(ones(2, 6), ones(3, 5), ones(6, 3)), ValueError, r"W1 has shape .* expected \(C/r, C\) = \(C/r, 6\)"),
        (lambda: sn.excite(ones(2, 6), ones(3, 6), ones(3, 6)), ValueError, r"W2 has shape .* expected \(C, C/r\) = \(6, 3\)"),
        (lambda: sn.excite(ones(2, 6), ones(0, 6), ones(6, 0)), ValueError, r"W1 has shape \(0, 6\); expected at least one element"),
        (lambda: sn.excite(ones(2, 6), ones(3, 6), ones(6, 3), ones(6)), ValueError, r"b1 has shape \(6,\); .* = \(3,\)"),
        (lambda: sn.excite(ones(2, 6), ones(3, 6), ones(6, 3), ones(3), ones(3)), ValueError, r"b2 .* = \(6,\)"),
        (lambda: sn.se_block(ones(2, 6), ones(3, 6), ones(6, 3)), ValueError, r"U has shape \(2, 6\)"),
        (lambda: sn.added_parameters([(3, 8)], 16), ValueError, "8 channels with reduction ratio r = 16 leave no hidden unit"),
        (lambda: sn.added_parameters([(3, 8)], 0), ValueError, "the reduction ratio r is 0"),
        (lambda: sn.conv2d(ones(2, 5, 5, 3), ones(3, 3, 4, 6)), ValueError, r"V has shape \(3, 3, 4, 6\).*C' = 3"),
        (lambda: sn.conv2d(ones(2, 5, 5, 4), ones(3, 3, 2, 3), groups=2), ValueError, "groups divides"),
        (lambda: sn.conv2d(ones(2, 5, 5, 3), ones(6, 3, 3, 6)), ValueError, "6x3 kernel does not fit"),
        (lambda: sn.conv2d(ones(2, 5, 5, 3), ones(3, 3, 3, 6), stride=0), ValueError, "stride is 0; expected a whole number, at least 1"),
        (lambda: sn.conv2d_backward(ones(2, 5, 5, 6), ones(2, 5, 5, 3), ones(3, 3, 3, 6)), ValueError, r"dU .*\(2, 3, 3, 6\)"),
        (lambda: sn.linear(ones(2, 3), ones(4, 5)), ValueError, r"W has shape \(4, 5\); expected \(K, D\) = \(K, 3\)"),
        (lambda: sn.linear(ones(2, 3), ones(4, 3), ones(3)), ValueError, r"b has shape \(3,\)"),
        (lambda: sn.normalize(ones(2, 3), ones(2), ones(3), ones(3), ones(3)), ValueError, r"mean has shape \(2,\)"),
        (lambda: sn.batch_statistics(ones(3)), ValueError, r"x has shape \(3,\); expected \(N, ..., C\)"),
        (lambda: sn.relu_backward(ones(2, 3), ones(3, 2)), ValueError, r"dy has shape \(2, 3\); expected .* = \(3, 2\)"),
        (lambda: sn.relu_backward(ones(2, 3).astype(int), ones(2, 3)), TypeError, "dy has dtype int64; expected float32"),
        (lambda: sn.relu_backward([1.0], ones(1)), TypeError, "dy is a list"),
        (lambda: sn.dropout(ones(2, 3), ones(2, 3), p=0.5), TypeError, "mask has type float64; expected a boolean array"),
        (lambda: sn.dropout(ones(2, 3), ones(2, 3) > 0, p=1.0), ValueError, "p is 1.0"),
        (lambda: sn.max_pool2d(ones(2, 3, 3, 1), kernel=4), ValueError, "4x4 window does not fit"),
        (lambda: sn.max_pool2d(ones(2, 3, 3, 1), kernel=2, padding=2), ValueError, "padding=2"),
        (lambda: sn.max_pool2d_backward(ones(2, 3, 3, 1), ones(2, 4, 4, 1), kernel=2), ValueError, r"dy has .* = \(2, 2, 2, 1\)"),
        (lambda: sn.softmax_cross_entropy(ones(2, 3), np.array([0, 3])), ValueError, r"labels\[1\] is 3; expected 0 to 2"),
        (lambda: sn.softmax_cross_entropy(ones(2, 3), np.array([-1, 0])), ValueError, r"labels\[0\] is -1"),
        (lambda: sn.softmax_cross_entropy(ones(2, 3), ones(2)), TypeError, "labels have type float64"),
        (lambda: sn.softmax_cross_entropy(ones(2, 3), np.array([0])), ValueError, r"labels have shape \(1,\)"),
        (lambda: sn.softmax_cross_entropy(ones(2, 3), np.array([0, 1]), smoothing=2), ValueError, "smoothing is 2"),
    ],
)  # fmt: skip
def test_errors_name_what_was_given_and_what_was_expected(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.int64, np.array])
def test_hyperparameters_may_be_integers_of_any_type(kind):
    """Unsigned integers must be converted, because negative values would wrap around."""
    X, V, one = ones(2, 5, 5, 4), ones(3, 3, 2, 6), kind(1)
    hyper, wanted = {"stride": one, "padding": one, "groups": kind(2)}, {"stride": 1, "padding": 1, "groups": 2}
    dU = sn.conv2d(X, V, **wanted)
    np.testing.assert_array_equal(sn.conv2d(X, V, **hyper), dU)
    for found, right in zip(sn.conv2d_backward(dU, X, V, **hyper), sn.conv2d_backward(dU, X, V, **wanted), strict=True):
        np.testing.assert_array_equal(found, right)
    for name in ("max_pool2d", "avg_pool2d"):
        pool, pool_backward = getattr(sn, name), getattr(sn, f"{name}_backward")
        y = pool(X, kernel=3, stride=1, padding=1)
        np.testing.assert_array_equal(pool(X, kernel=kind(3), stride=one, padding=one), y)
        found = pool_backward(y, X, kernel=kind(3), stride=one, padding=one)
        np.testing.assert_array_equal(found, pool_backward(y, X, kernel=3, stride=1, padding=1))
    layer = layers.Conv(kind(6), k=kind(3), stride=one, padding=one, groups=kind(2))
    assert layer == layers.Conv(6, 3, 1, 1, 2)
    assert all(type(v) is int for v in vars(layer).values())


@pytest.mark.parametrize("value", [(1, 1), "same", 1.5, 2.0, None, [1], np.array([1, 2])])
@pytest.mark.parametrize("name", ["stride", "padding", "groups", "kernel"])
def test_non_integer_hyperparameters_are_refused(name, value):
    X, V = ones(2, 5, 5, 4), ones(3, 3, 4, 6)
    if name != "kernel":
        with pytest.raises(TypeError, match=rf"{name} is .*; expected a whole number"):
            sn.conv2d(X, V, **{name: value})
        with pytest.raises(TypeError, match=rf"{name} is .*; expected a whole number"):
            sn.conv2d_backward(ones(2, 3, 3, 6), X, V, **{name: value})
    if name != "groups" and not (name == "stride" and value is None):
        with pytest.raises(TypeError, match=rf"{name} is .*; expected a whole number"):
            sn.max_pool2d(X, **{"kernel": 3, name: value})


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda: layers.Conv(4, k=2.0), "k of Conv is 2.0"),
        (lambda: layers.Conv(4, padding=-1), "padding of Conv is -1"),
        (lambda: layers.Linear(-1), "K of Linear is -1"),
        (lambda: layers.Pool(k="2"), "k of Pool is '2'"),
        (lambda: layers.ChannelShuffle(0), "groups of ChannelShuffle is 0"),
    ],
)
def test_layers_name_invalid_hyperparameters(layer, message):
    with pytest.raises((TypeError, ValueError), match=message):
        layer()


def test_whole_returns_an_int():
    assert whole("n", True) == 1
    assert type(whole("n", np.uint8(3))) is int
    with pytest.raises(ValueError, match="n is 1; expected a whole number, at least 2"):
        whole("n", 1, least=2)


def test_dots_stand_for_the_same_axes_throughout():
    assert check("x: N ... C, gamma: C, dy: N ... C", ones(2, 3, 4, 5), ones(5), ones(2, 3, 4, 5)) == (2, 5)
    with pytest.raises(ValueError, match=r"dy has shape \(2, 4, 5\); expected \(N, ..., C\) = \(2, 3, 4, 5\)"):
        check("x: N ... C, dy: N ... C", ones(2, 3, 4, 5), ones(2, 4, 5))
    assert check("x: N D, b: D", ones(2, 3), None) == (2, 3)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda bad: sn.conv2d(bad, ones(3, 3, 2, 4)), "X"),
        (lambda bad: sn.conv2d(ones(2, 5, 5, 2), bad), "V"),
        (lambda bad: sn.conv2d_backward(bad, ones(2, 5, 5, 2), ones(3, 3, 2, 4)), "dU"),
        (lambda bad: sn.max_pool2d(bad, kernel=2), "x"),
        (lambda bad: sn.max_pool2d_backward(bad, ones(2, 4, 4, 1), kernel=2), "dy"),
        (lambda bad: sn.avg_pool2d_backward(bad, ones(2, 4, 4, 1), kernel=2), "dy"),
        (lambda bad: sn.softmax_cross_entropy(bad, np.array([0])), "x"),
        (lambda bad: sn.batch_norm(bad, ones(2), ones(2)), "x"),
        (lambda bad: sn.batch_norm_backward(bad, ones(3, 2), ones(2), ones(2)), "dy"),
        (lambda bad: sn.se_block(bad, ones(1, 2), ones(2, 1)), "U"),
        (lambda bad: sn.excite_backward(bad, ones(3, 2), ones(1, 2), ones(2, 1)), "ds"),
    ],
)
def test_a_list_is_refused_by_name(call, name):
    with pytest.raises(TypeError, match=rf"^{name} is a list; expected a NumPy or CuPy array of shape"):
        call([1.0])


def test_the_upstream_gradient_of_the_loss_must_be_a_scalar():
    with pytest.raises(ValueError, match=r"dL has shape \(2, 3\); expected a number"):
        sn.softmax_cross_entropy_backward(ones(2, 3), ones(2, 3), np.array([0, 1]))


# ----------------------------------------------------------------------- dtypes and subclasses that would fail silently

UNFIT = {
    "float16": (lambda a: a.astype(np.float16), r"\w+ has dtype float16; expected float32 or float64: use \w+.astype"),
    "integers": (lambda a: a.astype(np.int64), r"\w+ has dtype int64; expected float32 or float64"),
    "masked": (np.ma.masked_array, r"\w+ is a masked array, .* expected a plain array: use \w+.filled\(value\)"),
    "matrix": (
        lambda a: a.reshape(len(a), -1).view(np.matrix),
        r"\w+ is an np.matrix, .* expected a plain array: use np.asarray\(\w+\)",
    ),
}
FIT = {
    "complex": lambda a: a.astype(np.complex128),
    "memory map": lambda a: a.view(np.memmap),
    "other byte order": lambda a: a.astype(">f8"),
}


def calls(pair):
    """Yield the forward and backward functions of the book and the engine, each with arguments."""
    args, hyper = pair.case(Rng(0))
    forward, backward = pair.forward(sn), pair.backward(sn)
    y = forward(*args, **hyper)
    dys = [np.ones_like(part) for part in (y if isinstance(y, tuple) else (y,))]
    for book, given in ((forward, args), (backward, (*dys, *args))):
        for f in (book, engine.FUNCTIONS.get(book.__name__, book)):
            yield f, given, hyper


def with_one(args, convert):
    """Yield the arguments with one floating-point array converted, for each such array in turn."""
    for k, a in enumerate(args):
        if hasattr(a, "dtype") and a.dtype.kind == "f" and a.ndim:
            yield [*args[:k], convert(a), *args[k + 1 :]]


@pytest.mark.parametrize("kind", UNFIT)
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_every_operation_refuses_arrays_that_would_give_wrong_results(pair, kind):
    convert, message = UNFIT[kind]
    tried = 0
    for f, args, hyper in calls(pair):
        for changed in with_one(args, convert):
            with pytest.raises(TypeError, match=f"^{message}"):
                f(*changed, **hyper)
            tried += 1
    assert tried


@pytest.mark.parametrize("kind", FIT)
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_every_operation_accepts_other_arrays(pair, kind):
    for f, args, hyper in calls(pair):
        if kind == "complex" and f.__name__.endswith("_backward"):
            continue  # a complex step needs only the forward function
        for changed in with_one(args, FIT[kind]):
            f(*changed, **hyper)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sn.softmax_cross_entropy(ones(2, 3), np.ma.array([0, 1])), "labels is a masked array"),
        (lambda: sn.softmax_cross_entropy_backward(np.float16(1), ones(2, 3), np.array([0, 1])), "dL has dtype float16"),
        (lambda: sn.softmax_cross_entropy_backward(np.ma.array(1.0), ones(2, 3), np.array([0, 1])), "dL is a masked"),
        (lambda: engine.softmax_cross_entropy([[0.0, 1.0]], np.array([0])), "x is a list"),
        (lambda: engine.softmax_cross_entropy(ones(2, 3), [0, 1]), "labels have type list; expected integers"),
        (lambda: sn.dropout(ones(2, 3), np.ma.array(ones(2, 3) > 0), p=0.5), "mask is a masked array"),
        (lambda: sn.dropout(ones(2, 3), (ones(2, 3) > 0).view(np.matrix), p=0.5), "mask is an np.matrix"),
        (lambda: sn.to_device(np.ma.array([1.0]), "cpu"), "array is a masked array"),
        (lambda: SGD().step(ones(3), ones(3).astype(np.float16), ones(3), 0.1), "g has dtype float16"),
        (lambda: layers.update_running(ones(3).astype(np.float16), ones(3)), "running has dtype float16"),
        (lambda: layers.update_running(ones(3), np.ma.array(ones(3))), "batch is a masked array"),
    ],
)  # fmt: skip
def test_arrays_are_checked_outside_the_operations_too(call, message):
    with pytest.raises(TypeError, match=f"^{message}"):
        call()


def test_an_array_of_another_library_is_refused_by_name():
    class Tensor:
        dtype, shape = "torch.float32", (2, 3)

    with pytest.raises(TypeError, match=r"^x is a Tensor; expected a NumPy or CuPy array of shape \(...\)"):
        sn.relu(Tensor())
    with pytest.raises(TypeError, match=r"labels have type torch.float32; expected integers"):
        sn.softmax_cross_entropy(ones(2, 3), Tensor())
