"""Maps that are computed where they are read, and their windows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from se_numpy.backend import Blend, blocks, to_host, unfold

N, H, W, C = 3, 4, 5, 2


def blends(xp, rng, *, a, y, b, c, rectify):
    """A blend with these parts ("channel", "image" or None), and what it should come to."""

    def part(kind):
        return None if kind is None else rng.standard_normal((C,) if kind == "channel" else (N, C))

    def over(v, default):
        return default if v is None else v.reshape(-1, 1, 1, C)

    x, second = rng.standard_normal((2, N, H, W, C))
    a, b, c = part(a), part(b) if y else None, part(c)
    wanted = over(a, 1) * x + (over(b, 1) * second if y else 0) + over(c, 0)
    parts = [None if v is None else xp.asarray(v) for v in (x, a, second if y else None, b, c)]
    return Blend(*parts, rectify), np.maximum(wanted, 0) if rectify else wanted


KIND = st.sampled_from([None, "channel", "image"])


@given(a=KIND, y=st.booleans(), b=KIND, c=KIND, rectify=st.booleans(), seed=st.integers(0, 99))
def test_a_blend_is_what_it_says(xp, a, y, b, c, rectify, seed):
    blend, wanted = blends(xp, np.random.default_rng(seed), a=a, y=y, b=b, c=c, rectify=rectify)
    np.testing.assert_allclose(to_host(blend.write()), wanted, rtol=1e-12, atol=1e-12)
    some, rows = slice(1, 3), slice(1, 2)
    if xp is np:  # rows are cut on the host alone
        np.testing.assert_allclose(blend.read(slice(2, 3), rows), wanted[2:3, rows], rtol=1e-12, atol=1e-12)
    around = xp.zeros((2, H + 2, W + 3, C))
    blend.into(around[:, 1:-1, 2:-1], some)
    around = to_host(around)
    np.testing.assert_allclose(around[:, 1:-1, 2:-1], wanted[some], rtol=1e-12, atol=1e-12)
    assert np.abs(around).sum() == pytest.approx(np.abs(wanted[some]).sum())  # nothing was written beyond


@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)), stride=st.integers(1, 3), groups=st.sampled_from([1, 2]),
    before=st.tuples(st.integers(-2, 3), st.integers(-2, 3)), rows=st.integers(1, 4), columns=st.integers(1, 5),
    computed=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_windows_are_what_a_loop_sees(xp, kernel, stride, groups, before, rows, columns, computed, seed):
    kind = "channel" if computed else None
    blend, maps = blends(xp, np.random.default_rng(seed), a=kind, y=False, b=None, c=kind, rectify=computed)
    (kh, kw), (ph, pw), start = kernel, before, 1 if rows > 1 else 0
    found = [
        to_host(windows).reshape(groups, -1, rows - start, columns, kh * kw * C // groups)
        for _, windows in unfold(
            blend, slice(0, N), slice(start, rows), columns, kernel, maps.dtype,
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


def test_windows_come_a_few_images_at_a_time(monkeypatch):
    monkeypatch.setattr(blocks, "WINDOW_BYTES", 9 * 4 * 4 * C * 8 * 2)
    x = np.random.default_rng(0).standard_normal((7, 4, 4, C))
    parts = [(part, rows.copy()) for part, rows in unfold(
        Blend(x), slice(0, 7), slice(0, 4), 4, (3, 3), x.dtype, before=(1, 1)
    )]  # fmt: skip
    assert [part for part, _ in parts] == [slice(0, 1), slice(1, 3), slice(3, 5), slice(5, 7)]
    whole = np.concatenate([rows for _, rows in parts], axis=1)
    monkeypatch.undo()
    ((_, rows),) = unfold(Blend(x), slice(0, 7), slice(0, 4), 4, (3, 3), x.dtype, before=(1, 1))
    np.testing.assert_array_equal(whole, rows)


def test_zeros_around_maps_stay_zeros():
    around, inside = blocks.bordered(np, (2, 4, 4, 1), (slice(None), slice(1, 3), slice(1, 3)), np.float32)
    inside[...] = 7
    again, _ = blocks.bordered(np, (2, 4, 4, 1), (slice(None), slice(1, 3), slice(1, 3)), np.float32)
    assert again is around
    assert around.sum() == 7 * inside.size
    for i in range(blocks.BORDERED + 5):  # only so many are kept
        blocks.bordered(np, (1, 1, 1 + i, 1), (slice(None),) * 3, np.float32)
    assert len(blocks._local.bordered) <= blocks.BORDERED
