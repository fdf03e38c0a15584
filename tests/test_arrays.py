"""Array modules, devices, and the modules that importing the package loads."""

import subprocess
import sys

import numpy as np
import pytest

from se_numpy import array_module, to_device, to_host


def test_array_module_follows_the_array(xp):
    assert array_module(xp.asarray(np.ones(2)), None, 3.0) is xp


def test_mixed_numpy_and_cupy_arrays_are_refused(device_xp):
    here, there = np.ones(2), device_xp.asarray(np.ones(2))
    with pytest.raises(TypeError, match=r"got NumPy arrays \(host, 1\) and CuPy arrays .*to_device"):
        array_module(here, there)


def test_a_list_is_refused():
    with pytest.raises(TypeError, match="got list"):
        array_module([1.0, 2.0])


def test_to_device_and_back(device_xp):
    x = np.arange(6.0).reshape(2, 3)
    there = to_device(x, "gpu")
    assert isinstance(there, device_xp.ndarray)
    assert to_device(there, "gpu") is there
    np.testing.assert_array_equal(to_host(there), x)
    assert to_host(x) is x


def test_an_unknown_device_and_a_missing_cupy_are_reported(monkeypatch):
    with pytest.raises(ValueError, match="unknown device 'tpu'"):
        to_device(np.ones(2), "tpu")
    monkeypatch.setitem(sys.modules, "cupy", None)  # as if it were not installed
    with pytest.raises(RuntimeError, match="CuPy is not installed"):
        to_device(np.ones(2), "gpu")


IMPORT = """
import sys, numpy
before = set(sys.modules)
import se_numpy
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(new & {"cupy", "matplotlib", "tqdm", "threadpoolctl", "concurrent", "torch"}))
"""


def test_importing_the_package_loads_no_heavy_module():
    out = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
