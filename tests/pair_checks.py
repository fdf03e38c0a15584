"""Tests of every pair f, f_backward: values, gradients, dtypes, memory layouts, and unmodified arguments.

``checks("conv2d", ...)`` returns a class of tests for these pairs of ``pairs.py``. The test file of each module of
equations has one such class.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pairs import PAIRS, Rng

import se_numpy
from se_numpy import to_host

UPSTREAM = 3, 1  # not a seed of a case: if dy equalled x, the gradient of batch norm would be only rounding error


class Steered(Rng):
    """A source of cases that hypothesis controls and shrinks."""

    def __init__(self, data: st.DataObject) -> None:
        super().__init__(data.draw(st.integers(0, 2**32 - 1), label="seed"))
        self.data = data

    def integer(self, low: int, high: int) -> int:
        return self.data.draw(st.integers(low, high))


LAYOUTS = {
    "contiguous": lambda x: x,
    "every second": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "reversed": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape),
}


def checks(*names: str) -> type:
    """Return a class of tests for these pairs."""
    every = pytest.mark.parametrize("pair", [PAIRS[name] for name in names], ids=names)

    class Checks:
        @every
        @given(data=st.data())
        def test_value_equals_the_witness(self, pair, data):
            pair.check_value(se_numpy, *pair.case(Steered(data)))

        @every
        @given(data=st.data())
        def test_gradient_is_the_derivative(self, pair, data):
            pair.check_gradient(se_numpy, *pair.case(Steered(data)))

        @every
        @pytest.mark.parametrize("layout", LAYOUTS)
        @given(data=st.data())
        def test_memory_layouts_give_equal_results_and_arguments_stay_unmodified(self, pair, layout, data):
            args, hyper = pair.case(Steered(data))
            arranged = tuple(LAYOUTS[layout](a) if a.ndim else a for a in args)
            plain = tuple(np.ascontiguousarray(a) for a in arranged)
            for a in arranged:
                a.flags.writeable = False
            y, y_plain = pair.forward(se_numpy)(*arranged, **hyper), pair.forward(se_numpy)(*plain, **hyper)
            upstream = np.random.default_rng(UPSTREAM)
            dys = [upstream.standard_normal(part.shape) for part in as_tuple(y_plain)]
            for dy in dys:
                dy.flags.writeable = False
            grads = pair.backward(se_numpy)(*dys, *arranged, **hyper)
            grads_plain = pair.backward(se_numpy)(*dys, *plain, **hyper)
            found, wanted = (*as_tuple(y), *as_tuple(grads)), (*as_tuple(y_plain), *as_tuple(grads_plain))
            for got, expected in zip(found, wanted, strict=True):
                np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)

        @every
        @given(data=st.data())
        def test_float32_stays_float32_and_agrees_with_float64(self, pair, data):
            args, hyper = pair.case(Steered(data))
            narrow = tuple(a.astype(np.float32) if a.dtype == np.float64 else a for a in args)
            wide = tuple(a.astype(np.float64) if a.dtype == np.float32 else a for a in narrow)
            narrow_hyper = {name: np.float32(a) if is_floating(a) else a for name, a in hyper.items()}
            hyper = {name: np.float64(a) if is_floating(a) else a for name, a in narrow_hyper.items()}
            y = as_tuple(pair.forward(se_numpy)(*narrow, **narrow_hyper))
            y_wide = as_tuple(pair.forward(se_numpy)(*wide, **hyper))
            upstream = np.random.default_rng(UPSTREAM)
            dys = [upstream.standard_normal(part.shape).astype(np.float32) for part in y]
            grads = as_tuple(pair.backward(se_numpy)(*dys, *narrow, **narrow_hyper))
            grads_wide = as_tuple(pair.backward(se_numpy)(*(dy.astype(np.float64) for dy in dys), *wide, **hyper))
            for got, expected in zip((*y, *grads), (*y_wide, *grads_wide), strict=True):
                assert got.dtype == np.float32
                assert expected.dtype == np.float64
                size = np.sqrt(np.mean(np.square(expected))) + 1e-3
                np.testing.assert_allclose(got / size, expected / size, atol=2e-4)

        @every
        @pytest.mark.parametrize("seed", range(4))
        def test_device_arrays_give_equal_results(self, pair, seed, device_xp):
            xp = device_xp
            args, hyper = pair.case(Rng(seed))
            y = pair.forward(se_numpy)(*args, **hyper)
            upstream = np.random.default_rng(UPSTREAM)
            dys = [np.asarray(upstream.standard_normal(np.shape(part))) for part in as_tuple(y)]
            grads = pair.backward(se_numpy)(*dys, *args, **hyper)
            args_there, dys_there = [xp.asarray(a) for a in args], [xp.asarray(dy) for dy in dys]
            hyper_there = {name: xp.asarray(a) if isinstance(a, np.ndarray) else a for name, a in hyper.items()}
            y_there = pair.forward(se_numpy)(*args_there, **hyper_there)
            grads_there = pair.backward(se_numpy)(*dys_there, *args_there, **hyper_there)
            found, wanted = (*as_tuple(y_there), *as_tuple(grads_there)), (*as_tuple(y), *as_tuple(grads))
            for got, expected in zip(found, wanted, strict=True):
                assert isinstance(got, xp.ndarray)
                np.testing.assert_allclose(to_host(got), expected, rtol=1e-9, atol=1e-10)

        @every
        @pytest.mark.parametrize("seed", range(4))
        def test_no_floating_point_error_is_raised(self, pair, seed):
            """This includes extreme values, whose exponentials correctly underflow to 0."""
            args, hyper = pair.case(Rng(seed))
            grow = pair.name in ("sigmoid", "softmax", "softmax_cross_entropy", "excite", "heatmap_focal_loss")
            args = tuple(500 * a if grow and k == 0 else a for k, a in enumerate(args))
            with np.errstate(all="raise"):
                y = pair.forward(se_numpy)(*args, **hyper)
                upstream = np.random.default_rng(UPSTREAM)
                dys = [np.asarray(upstream.standard_normal(np.shape(part))) for part in as_tuple(y)]
                pair.backward(se_numpy)(*dys, *args, **hyper)

    linear = [name for name in names if PAIRS[name].linear_in_first]
    if not linear:
        return Checks

    class LinearChecks(Checks):
        @pytest.mark.parametrize("pair", [PAIRS[name] for name in linear], ids=linear)
        @given(data=st.data())
        def test_backward_is_the_adjoint_of_a_linear_map(self, pair, data):
            pair.check_adjoint(se_numpy, *pair.case(Steered(data)))

    return LinearChecks


def as_tuple(x):
    return x if isinstance(x, tuple) else (x,)


def is_floating(x):
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"
