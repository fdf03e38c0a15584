"""The engine equals the book: networks and operations, in all dtypes, on all backends, whole and in small blocks."""

import contract
import numpy as np
import pytest
from contract import NETWORKS, OPERATIONS, VECTORS, Rng, check_network, check_operation, small_blocks, small_shares

DTYPE = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
MODE = pytest.mark.parametrize("train", [True, False], ids=["training", "evaluation"])
DEVICE_NETWORKS = ["se_resnet8", "three branches", "convolution after gate", "strided", "concat after relu", "dropout"]


@DTYPE
@MODE
@pytest.mark.parametrize("name", NETWORKS)
def test_network(name, train, dtype):
    check_network(NETWORKS[name], train=train, dtype=dtype)


@MODE
@pytest.mark.parametrize("name", VECTORS)
def test_network_of_vectors(name, train):
    check_network(VECTORS[name], (4,), train=train)


@MODE
@pytest.mark.parametrize("name", NETWORKS)
def test_network_in_small_blocks(name, train):
    with small_blocks():
        check_network(NETWORKS[name], train=train)


def test_products_in_tiles():
    contract.check_large_maps()


@MODE
@pytest.mark.parametrize("name", DEVICE_NETWORKS)
def test_network_on_device(name, train, device_xp):
    check_network(NETWORKS[name], xp=device_xp, train=train)


@MODE
def test_network_on_device_in_small_shares(train, device_xp):
    with small_shares():
        check_network(NETWORKS["se_resnet8"], (5, 4, 2), xp=device_xp, train=train)


@pytest.mark.parametrize("name", VECTORS)
def test_network_of_vectors_on_device(name, device_xp):
    check_network(VECTORS[name], (4,), xp=device_xp)


@pytest.mark.parametrize("seed", range(30))
def test_random_network(seed):
    net = contract.draw_network(Rng(seed))
    shape = (7 + seed % 3, 9 - seed % 4, 2)
    check_network(net, shape, train=seed % 3 > 0, seed=seed, N=1 + seed % 4)
    with small_blocks(threads=3):
        check_network(net, shape, train=seed % 3 > 0, seed=seed, N=1 + seed % 4)


@DTYPE
@pytest.mark.parametrize("name", OPERATIONS)
def test_operation(name, dtype):
    for seed in range(12):
        check_operation(name, seed, dtype=dtype)


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_in_small_blocks(name):
    with small_blocks():
        for seed in range(8):
            check_operation(name, seed)


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_on_device(name, device_xp):
    for seed in range(4):
        check_operation(name, seed, xp=device_xp)


@pytest.mark.parametrize("seed", range(4))
def test_random_convolutions(seed):
    contract.check_geometries(seed, 60)
    with small_blocks():
        contract.check_geometries(seed + 10, 20)


def test_random_convolutions_on_device(device_xp):
    contract.check_geometries(99, 12, xp=device_xp)
