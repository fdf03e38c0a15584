"""Passes over a set of images need no more memory for more images, except for what they return."""

import tracemalloc

import numpy as np
import pytest
from specimens import a_resnet

from se_numpy.analysis.evaluation import evaluate
from se_numpy.analysis.gates import record
from se_numpy.analysis.interventions import run_with
from se_numpy.analysis.study import summarize
from se_numpy.data import Dataset
from se_numpy.data.batches import Normalisation

SHAPE = (12, 10, 3)


def ones(network, n):
    width = {"stage1": 16, "stage2": 32, "stage3": 64}
    return {name: np.ones((n, width[short]), np.float32) for name, short in network.blocks.items()}


def dataset(network, images):
    labels = np.arange(len(images)) % 10
    return Dataset("own", network.classes, images[:2], labels[:2], images, labels, False, "drawn")


PASSES = {
    "probabilities": lambda network, images: network.probabilities(images),
    "evaluate": lambda network, images: evaluate(network, dataset(network, images)),
    "record": record,
    "summarize": lambda network, images: summarize(network, dataset(network, images), len(images)),
    "run_with": lambda network, images: run_with(network, images, ones(network, len(images))),
    "normalisation": lambda network, images: Normalisation.of(np.repeat(images, 8, 1)),
}


def peak(run, network, images):
    tracemalloc.start()
    run(network, images)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


@pytest.mark.parametrize("name", PASSES)
def test_memory_does_not_grow_with_the_number_of_images(name):
    """Beyond one batch, an image costs its pixels and results: a few kB where its feature maps need 60."""
    network, run = a_resnet(), PASSES[name]
    images = np.random.default_rng(0).integers(0, 256, (1280, *SHAPE), np.uint8)
    run(network, images[:64])
    few, many = (peak(run, network, images[:n]) for n in (256, 1280))
    assert (many - few) / 1024 < 6000, (few, many)
