"""Shared fixtures: the array modules that tests run on, and the Hypothesis profile."""

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
    """Yield the array module with this name.  The double is in sys.modules only while the tests of a module run."""
    if name == "numpy":
        yield np
    elif name == DOUBLE:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "cupy", cupy_double.module)
            yield cupy_double.module
    else:
        cupy = pytest.importorskip("cupy")
        if not cupy.cuda.is_available():
            pytest.skip("CuPy is installed, but there is no GPU")
        yield cupy


@pytest.fixture(scope="module", params=["numpy", DOUBLE, CUPY])
def xp(request):
    """NumPy, the double of CuPy, and CuPy itself if there is a GPU."""
    yield from _module(request.param)


@pytest.fixture(scope="module", params=[DOUBLE, CUPY])
def device_xp(request):
    """The double of CuPy, and CuPy itself if there is a GPU, for comparisons with NumPy."""
    yield from _module(request.param)


@pytest.fixture(scope="module")
def double():
    """The double of CuPy, for tests that count launches and synchronisations."""
    yield from _module(DOUBLE)
