"""The contract detects every fault planted in the engine."""

import host_kernels
import pytest
from contract import NETWORKS, check_network
from faults import FAULTS, QUICK, caught


@pytest.mark.parametrize("fault", [f for f in FAULTS if not f.on_device], ids=lambda fault: fault.name)
def test_planted_fault_is_caught(fault, record_property):
    with fault.planted():
        check = caught(None)
    assert check
    for name in QUICK:  # without the fault, all checks pass
        check_network(NETWORKS[name])
    record_property("caught by", check)


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.on_device], ids=lambda fault: fault.name)
def test_planted_fault_in_a_kernel_is_caught(fault, double, record_property):
    if not host_kernels.available():
        pytest.skip("no C++ compiler to run kernels on a CPU")
    with fault.planted():
        check = caught(double)
    assert check
    record_property("caught by", check)


def test_there_are_many_faults_with_unique_names():
    assert len(FAULTS) >= 25
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
