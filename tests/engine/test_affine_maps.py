"""Feature maps that are computed where they are read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from se_numpy import to_host
from se_numpy.engine.affine_maps import AffineMaps

N, H, W, C = 3, 4, 5, 2


def maps_of(xp, rng, *, a, y, b, c, rectify, d=None):
    """Return deferred maps with these parts ("channel", "image" or None), and their expected values."""

    def part(kind):
        return None if kind is None else rng.standard_normal((C,) if kind == "channel" else (N, C))

    def over(v, default):
        return default if v is None else v.reshape(-1, 1, 1, C)

    x, second = rng.standard_normal((2, N, H, W, C))
    a, b, c, d = part(a), part(b) if y else None, part(c), part(d)
    expected = over(a, 1) * x + (over(b, 1) * second if y else 0) + over(c, 0) + over(d, 0)
    parts = [None if v is None else xp.asarray(v) for v in (x, a, second if y else None, b, c, d)]
    return AffineMaps(*parts, rectify=rectify), np.maximum(expected, 0) if rectify else expected


KIND = st.sampled_from([None, "channel", "image"])


@given(a=KIND, y=st.booleans(), b=KIND, c=KIND, d=KIND, rectify=st.booleans(), seed=st.integers(0, 99))
def test_maps_equal_their_formula(xp, a, y, b, c, d, rectify, seed):
    lazy, expected = maps_of(xp, np.random.default_rng(seed), a=a, y=y, b=b, c=c, d=d, rectify=rectify)
    np.testing.assert_allclose(to_host(lazy.write()), expected, rtol=1e-12, atol=1e-12)
    some, rows = slice(1, 3), slice(1, 2)
    if xp is np:  # maps are split by rows only on the host
        np.testing.assert_allclose(lazy.read(slice(2, 3), rows), expected[2:3, rows], rtol=1e-12, atol=1e-12)
    around = xp.zeros((2, H + 2, W + 3, C))
    lazy.into(around[:, 1:-1, 2:-1], some)
    around = to_host(around)
    np.testing.assert_allclose(around[:, 1:-1, 2:-1], expected[some], rtol=1e-12, atol=1e-12)
    assert np.abs(around).sum() == pytest.approx(np.abs(expected[some]).sum())  # nothing was written outside
