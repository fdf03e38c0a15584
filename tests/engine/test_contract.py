"""The engine equals the book: networks and operations, dtypes and backends, whole and cut into small blocks."""

import contract
import numpy as np
import pytest
from contract import NETWORKS, OPERATIONS, VECTORS, Chance, check_network, check_operation, small_blocks

DTYPE = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
MODE = pytest.mark.parametrize("train", [True, False], ids=["training", "evaluation"])
ON_A_DEVICE = ["se_resnet8", "three", "gated, then convolved", "strides", "concatenated behind relu", "dropout"]


@DTYPE
@MODE
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network(name, train, dtype):
    check_network(NETWORKS[name], train=train, dtype=dtype)


@MODE
@pytest.mark.parametrize("name", VECTORS)
def test_a_network_of_vectors(name, train):
    check_network(VECTORS[name], (4,), train=train)


@MODE
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_in_small_blocks(name, train):
    with small_blocks():
        check_network(NETWORKS[name], train=train)


def test_large_maps_with_products_in_tiles():
    contract.check_large_maps()


@MODE
@pytest.mark.parametrize("name", ON_A_DEVICE)
def test_a_network_on_a_device(name, train, device_xp):
    check_network(NETWORKS[name], xp=device_xp, train=train)


@pytest.mark.parametrize("name", VECTORS)
def test_a_network_of_vectors_on_a_device(name, device_xp):
    check_network(VECTORS[name], (4,), xp=device_xp)


@pytest.mark.parametrize("seed", range(30))
def test_a_drawn_network(seed):
    net = contract.draw_network(Chance(seed))
    shape = (7 + seed % 3, 9 - seed % 4, 2)
    check_network(net, shape, train=seed % 3 > 0, seed=seed, N=1 + seed % 4)
    with small_blocks(threads=3):
        check_network(net, shape, train=seed % 3 > 0, seed=seed, N=1 + seed % 4)


@DTYPE
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation(name, dtype):
    for seed in range(12):
        check_operation(name, seed, dtype=dtype)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_in_small_blocks(name):
    with small_blocks():
        for seed in range(8):
            check_operation(name, seed)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_on_a_device(name, device_xp):
    for seed in range(4):
        check_operation(name, seed, xp=device_xp)


@pytest.mark.parametrize("seed", range(4))
def test_convolutions_of_every_geometry(seed):
    contract.check_geometries(seed, 60)
    with small_blocks():
        contract.check_geometries(seed + 10, 20)


def test_convolutions_of_every_geometry_on_a_device(device_xp):
    contract.check_geometries(99, 12, xp=device_xp)
