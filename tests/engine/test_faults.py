"""The contract tested: each fault planted in the engine is caught by it."""

import host_kernels
import pytest
from contract import (
    NETWORKS,
    OPERATIONS,
    VECTORS,
    Chance,
    check_geometries,
    check_network,
    check_operation,
    draw_network,
    small_blocks,
)
from faults import FAULTS

QUICK = ("three", "gated, then convolved", "strides", "concatenated behind relu", "gate with biases", "pooled")


def caught(xp) -> str:
    """What of the contract fails first, or nothing."""
    for what, check in contract(xp):
        try:
            check()
        except Exception:  # a wrong number, or shapes that do not fit any more
            return what
    return ""


def contract(xp):
    """(name, check) of the contract's parts, the quick ones first; on a device only what it has kernels for."""
    if xp is not None:
        for name in ("sigmoid", "softmax_cross_entropy", "conv2d"):
            yield name, lambda name=name: [check_operation(name, seed, xp=xp) for seed in range(8)]
        for name in QUICK:
            yield name, lambda name=name: check_network(NETWORKS[name], xp=xp)
        return
    yield from networks(QUICK)
    for name in OPERATIONS:
        yield name, lambda name=name: [check_operation(name, seed) for seed in range(6)]
    yield "geometries", lambda: check_geometries(0, 60)
    yield from networks(NETWORKS)
    yield "large maps", lambda: check_network(NETWORKS["resnet14"], (32, 32, 3))
    for name in VECTORS:
        yield name, lambda name=name: check_network(VECTORS[name], (4,))
    for seed in range(10):
        yield f"drawn network {seed}", lambda seed=seed: check_network(draw_network(Chance(seed)), (7, 9, 2))


def networks(names):
    """(name, check) of these networks, in training and evaluation, whole and in small blocks."""
    for name in names:
        for train in (True, False):
            yield f"{name}, {train=}", lambda name=name, train=train: check_network(NETWORKS[name], train=train)

            def in_blocks(name=name, train=train):
                with small_blocks():
                    check_network(NETWORKS[name], train=train)

            yield f"{name}, {train=}, in small blocks", in_blocks


@pytest.mark.parametrize("fault", [f for f in FAULTS if not f.on_a_device], ids=lambda fault: fault.name)
def test_a_planted_fault_is_caught(fault, record_property):
    with fault.planted():
        by = caught(None)
    assert by
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
