"""What all tests share: the array modules they run on, and hypothesis' profile."""

import sys

import cupy_double
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "suite", deadline=None, max_examples=25, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")


DOUBLE = "double"
CUPY = pytest.param("cupy", marks=pytest.mark.gpu)


def _module(name):
    """Yields the array module called so; the double stands in sys.modules only as long as a module's tests need it."""
    if name == "numpy":
        yield np
    elif name == DOUBLE:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "cupy", cupy_double.module)
            yield cupy_double.module
    else:
        cupy = pytest.importorskip("cupy")
        if not cupy.cuda.is_available():
            pytest.skip("CuPy is here, a GPU is not")
        yield cupy


@pytest.fixture(scope="module", params=["numpy", DOUBLE, CUPY])
def xp(request):
    """NumPy; a double of CuPy that refuses what CuPy refuses; CuPy itself where there is a GPU."""
    yield from _module(request.param)


@pytest.fixture(scope="module", params=[DOUBLE, CUPY])
def device_xp(request):
    """The two that are not NumPy, for comparisons with NumPy."""
    yield from _module(request.param)


@pytest.fixture(scope="module")
def double():
    """The double alone, for what only it can count."""
    yield from _module(DOUBLE)
