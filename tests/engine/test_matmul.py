"""Products in tiles."""

import numpy as np
import pytest

from se_numpy.engine.matmul import product, product_over_rows


@pytest.mark.parametrize(("R", "K", "M"), [(1, 3, 2), (700, 144, 16), (1031, 288, 32), (77, 576, 64), (300, 2, 1500)])
def test_products_in_tiles_are_products(R, K, M):
    rng = np.random.default_rng(R)
    rows, matrix, other = rng.standard_normal((R, K)), rng.standard_normal((K, M)), rng.standard_normal((R, M))
    out = np.empty((R, 2 * M))[:, :M]
    product(np, rows, matrix, out=out)
    np.testing.assert_allclose(out, rows @ matrix, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(product_over_rows(np, rows, other), rows.T @ other, rtol=1e-10, atol=1e-10)
