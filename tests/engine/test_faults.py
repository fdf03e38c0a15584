"""The contract tested: each fault planted in the engine is caught by it."""

import host_kernels
import pytest
from contract import NETWORKS, check_network
from faults import FAULTS, QUICK, caught


@pytest.mark.parametrize("fault", [f for f in FAULTS if not f.on_a_device], ids=lambda fault: fault.name)
def test_a_planted_fault_is_caught(fault, record_property):
    with fault.planted():
        by = caught(None)
    assert by
    for name in QUICK:  # without the fault nothing is wrong
        check_network(NETWORKS[name])
    record_property("caught by", by)


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.on_a_device], ids=lambda fault: fault.name)
def test_a_planted_fault_in_a_kernel_is_caught(fault, double, record_property):
    if host_kernels.compiler() is None:
        pytest.skip("no C++ compiler to stand in for a GPU's")
    with fault.planted():
        by = caught(double)
    assert by
    record_property("caught by", by)


def test_there_are_many_and_no_two_share_a_name():
    assert len(FAULTS) >= 25
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
