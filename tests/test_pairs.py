"""Every pair of forward and backward: values, gradients, dtypes, layouts of memory, and what is left untouched."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pairs import PAIRS, Chance

import se_numpy
from se_numpy.backend import blocks, to_host

EVERY_PAIR = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())


class Steered(Chance):
    """Chance that hypothesis steers and shrinks."""

    def __init__(self, data: st.DataObject) -> None:
        super().__init__(data.draw(st.integers(0, 2**32 - 1), label="seed"))
        self.data = data

    def integer(self, low: int, high: int) -> int:
        return self.data.draw(st.integers(low, high))


@EVERY_PAIR
@given(data=st.data())
def test_value_is_what_plain_loops_say(pair, data):
    pair.check_value(se_numpy, *pair.case(Steered(data)))


@EVERY_PAIR
@given(data=st.data())
def test_gradient_is_the_derivative(pair, data):
    pair.check_gradient(se_numpy, *pair.case(Steered(data)))


@pytest.mark.parametrize("pair", [p for p in PAIRS.values() if p.linear_in_first], ids=lambda p: p.name)
@given(data=st.data())
def test_backward_is_the_adjoint_of_a_linear_map(pair, data):
    pair.check_adjoint(se_numpy, *pair.case(Steered(data)))


LAYOUTS = {
    "contiguous": lambda x: x,
    "every other": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "backwards": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape),
}


@EVERY_PAIR
@pytest.mark.parametrize("layout", LAYOUTS)
@given(data=st.data())
def test_any_layout_of_memory_gives_the_same_and_stays_untouched(pair, layout, data):
    args, hyper = pair.case(Steered(data))
    strange = tuple(LAYOUTS[layout](a) if a.ndim else a for a in args)
    plain = tuple(np.ascontiguousarray(a) for a in strange)
    for a in strange:
        a.flags.writeable = False
    y, y_plain = pair.forward(se_numpy)(*strange, **hyper), pair.forward(se_numpy)(*plain, **hyper)
    dys = [np.random.default_rng(3).standard_normal(part.shape) for part in _tuple(y_plain)]
    for dy in dys:
        dy.flags.writeable = False
    grads = pair.backward(se_numpy)(*dys, *strange, **hyper)
    grads_plain = pair.backward(se_numpy)(*dys, *plain, **hyper)
    for got, expected in zip((*_tuple(y), *_tuple(grads)), (*_tuple(y_plain), *_tuple(grads_plain)), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


@EVERY_PAIR
@given(data=st.data())
def test_float32_stays_float32_and_agrees_with_float64(pair, data):
    args, hyper = pair.case(Steered(data))
    narrow = tuple(a.astype(np.float32) if a.dtype == np.float64 else a for a in args)
    wide = tuple(a.astype(np.float64) if a.dtype == np.float32 else a for a in narrow)
    y, y_wide = _tuple(pair.forward(se_numpy)(*narrow, **hyper)), _tuple(pair.forward(se_numpy)(*wide, **hyper))
    dys = [np.random.default_rng(4).standard_normal(part.shape).astype(np.float32) for part in y]
    grads = _tuple(pair.backward(se_numpy)(*dys, *narrow, **hyper))
    grads_wide = _tuple(pair.backward(se_numpy)(*(dy.astype(np.float64) for dy in dys), *wide, **hyper))
    for got, expected in zip((*y, *grads), (*y_wide, *grads_wide), strict=True):
        assert got.dtype == np.float32
        assert expected.dtype == np.float64
        size = np.sqrt(np.mean(np.square(expected))) + 1e-3
        np.testing.assert_allclose(got / size, expected / size, atol=2e-4)


@EVERY_PAIR
@pytest.mark.parametrize("threads", ["1", "3"])
def test_many_blocks_give_what_one_gives(pair, threads, monkeypatch):
    """Blocks of one image, or of one row, each with its share of every sum."""
    monkeypatch.setenv("SE_NUMPY_THREADS", threads)
    for seed in range(8):
        args, hyper = pair.case(Chance(seed))
        y = pair.forward(se_numpy)(*args, **hyper)
        dys = [np.asarray(np.random.default_rng(6).standard_normal(np.shape(part))) for part in _tuple(y)]
        grads = pair.backward(se_numpy)(*dys, *args, **hyper)
        with monkeypatch.context() as patch:
            patch.setattr(blocks, "BLOCK_BYTES", 64)
            y_cut = pair.forward(se_numpy)(*args, **hyper)
            grads_cut = pair.backward(se_numpy)(*dys, *args, **hyper)
        for got, expected in zip((*_tuple(y_cut), *_tuple(grads_cut)), (*_tuple(y), *_tuple(grads)), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-11)


@EVERY_PAIR
@pytest.mark.parametrize("seed", range(4))
def test_device_arrays_give_the_same(pair, seed, device_xp):
    xp = device_xp
    args, hyper = pair.case(Chance(seed))
    y = pair.forward(se_numpy)(*args, **hyper)
    dys = [np.asarray(np.random.default_rng(5).standard_normal(np.shape(part))) for part in _tuple(y)]
    grads = pair.backward(se_numpy)(*dys, *args, **hyper)
    args_there, dys_there = [xp.asarray(a) for a in args], [xp.asarray(dy) for dy in dys]
    y_there = pair.forward(se_numpy)(*args_there, **hyper)
    grads_there = pair.backward(se_numpy)(*dys_there, *args_there, **hyper)
    for got, expected in zip((*_tuple(y_there), *_tuple(grads_there)), (*_tuple(y), *_tuple(grads)), strict=True):
        assert isinstance(got, xp.ndarray)
        np.testing.assert_allclose(to_host(got), expected, rtol=1e-9, atol=1e-10)


def _tuple(x):
    return x if isinstance(x, tuple) else (x,)
