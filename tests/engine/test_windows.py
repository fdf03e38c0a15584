"""Windows of feature maps as rows of a matrix."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from se_numpy import to_host
from se_numpy.engine import parallel
from se_numpy.engine.affine_maps import AffineMaps
from se_numpy.engine.windows import unfold

N, H, W, C = 3, 4, 5, 2


@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)), stride=st.integers(1, 3), groups=st.sampled_from([1, 2]),
    before=st.tuples(st.integers(-2, 3), st.integers(-2, 3)), rows=st.integers(1, 4), columns=st.integers(1, 5),
    computed=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_windows_equal_a_loop(xp, kernel, stride, groups, before, rows, columns, computed, seed):
    rng = np.random.default_rng(seed)
    x, a, c = rng.standard_normal((N, H, W, C)), rng.standard_normal(C), rng.standard_normal(C)
    maps = np.maximum(a * x + c, 0) if computed else x
    x, a, c = (xp.asarray(v) for v in (x, a, c))
    lazy = AffineMaps(x, a, c=c, rectify=True) if computed else AffineMaps(x)
    (kh, kw), (ph, pw), start = kernel, before, 1 if rows > 1 else 0
    found = [
        to_host(windows).reshape(groups, -1, rows - start, columns, kh * kw * C // groups)
        for _, windows in unfold(
            lazy, slice(0, N), slice(start, rows), columns, kernel, maps.dtype,
            stride=stride, before=before, groups=groups,
        )
    ]  # fmt: skip
    edge = 20  # zeros, wider than any window reaches
    padded = np.pad(maps, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
    for g in range(groups):
        channels = slice(g * C // groups, (g + 1) * C // groups)
        for n in range(N):
            for i in range(start, rows):
                for j in range(columns):
                    top, left = edge + i * stride - ph, edge + j * stride - pw
                    window = padded[n, top : top + kh, left : left + kw, channels]
                    np.testing.assert_allclose(found[0][g, n, i - start, j], window.ravel(), rtol=1e-12)


@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)), stride=st.integers(1, 3), tile=st.integers(2, 4),
    columns=st.integers(1, 5), computed=st.booleans(),
)  # fmt: skip
def test_window_of_a_tile_contains_the_windows_of_its_pixels(kernel, stride, tile, columns, computed):
    rng = np.random.default_rng(0)
    x, c = rng.standard_normal((N, H, W, 6)), rng.standard_normal(6)
    maps = AffineMaps(x, c=c, rectify=True) if computed else AffineMaps(x)
    (kh, kw), wide, across = kernel, (tile - 1) * stride + kernel[1], -(-columns // tile)
    hyper = {"stride": stride, "before": (1, 2), "groups": 3}
    one = [rows.copy() for _, rows in unfold(maps, slice(0, N), slice(0, H), columns, kernel, x.dtype, **hyper)]
    many = [
        rows.copy() for _, rows in unfold(maps, slice(0, N), slice(0, H), columns, kernel, x.dtype, **hyper, tile=tile)
    ]
    pixels = one[0].reshape(3, N, H, columns, kh, kw, 2)
    tiles = many[0].reshape(3, N, H, across, kh, wide, 2)
    for j in range(columns):
        first = j % tile * stride
        np.testing.assert_array_equal(tiles[:, :, :, j // tile, :, first : first + kw], pixels[:, :, :, j])


def test_windows_are_made_for_a_few_images_at_a_time(monkeypatch):
    monkeypatch.setattr(parallel, "WINDOW_BYTES", 9 * 4 * 4 * C * 8 * 2)
    x = np.random.default_rng(0).standard_normal((7, 4, 4, C))
    parts = [(part, rows.copy()) for part, rows in unfold(
        AffineMaps(x), slice(0, 7), slice(0, 4), 4, (3, 3), x.dtype, before=(1, 1)
    )]  # fmt: skip
    assert [part for part, _ in parts] == [slice(0, 1), slice(1, 3), slice(3, 5), slice(5, 7)]
    whole = np.concatenate([rows for _, rows in parts], axis=1)
    monkeypatch.undo()
    ((_, rows),) = unfold(AffineMaps(x), slice(0, 7), slice(0, 4), 4, (3, 3), x.dtype, before=(1, 1))
    np.testing.assert_array_equal(whole, rows)
