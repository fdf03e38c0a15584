"""Matrix products in tiles."""

import numpy as np
import pytest

from se_numpy.engine import matmul
from se_numpy.engine.matmul import product, product_over_rows


@pytest.mark.parametrize("G", [1, 3])
@pytest.mark.parametrize(("R", "K", "M"), [(1, 3, 2), (700, 144, 16), (1031, 288, 32), (77, 576, 64), (300, 2, 1500)])
@pytest.mark.parametrize("small_kernels", [True, False])
def test_products_in_tiles_equal_matmul(R, K, M, G, small_kernels, monkeypatch):
    monkeypatch.setattr(matmul, "has_small_kernels", lambda: small_kernels)
    rng = np.random.default_rng(R)
    rows, matrices, other = (rng.standard_normal(shape) for shape in ((G, R, K), (G, K, M), (G, R, M)))
    out = np.empty((G, R, 2 * M))[:, :, :M]
    product(rows, matrices, out=out)
    np.testing.assert_allclose(out, rows @ matrices, rtol=1e-10, atol=1e-10)
    found = product_over_rows(rows, other)
    np.testing.assert_allclose(found, rows.transpose(0, 2, 1) @ other, rtol=1e-10, atol=1e-10)
