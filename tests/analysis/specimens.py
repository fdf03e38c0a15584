"""Shared objects for the tests of the analysis: gated networks, images, checkpoints, evaluations and an HTML reader."""

from dataclasses import asdict
from html.parser import HTMLParser

import numpy as np

from se_numpy import checkpoint
from se_numpy.analysis.evaluation import Evaluation
from se_numpy.analysis.network import Network
from se_numpy.data import builtin
from se_numpy.data.batches import Normalisation
from se_numpy.layers import SE, Conv, GlobalAveragePool, Linear, ReLU, init, residual, serial
from se_numpy.models import build
from se_numpy.train import Config, configure

CLASSES = ("cat", "dog", "ship")


def small(seed=0):
    """Return a network with two SE blocks, one of them in a residual branch, whose gates are far from 1/2."""
    net = serial(
        conv=Conv(6), se=SE(2), unit=residual(serial(conv=Conv(6), se=SE(3))), relu=ReLU(),
        pool=GlobalAveragePool(), classifier=Linear(4),
    )  # fmt: skip
    params, state = init(net, (5, 4, 3), np.random.default_rng(seed))
    for block in (params["se"], params["unit"]["branch"]["se"]):
        block["W2"] *= 4
    normalise = Normalisation(np.full(3, 0.5), np.full(3, 0.2))
    return Network(net, params, state, normalise, tuple("abcd"), (5, 4, 3), {"model": "small"})


def images(n=70, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (n, 5, 4, 3), np.uint8)


def a_resnet(seed=0):
    """Return an untrained SE-ResNet-8 whose statistics and gates differ from their initial values."""
    net = build("se_resnet8")
    rng = np.random.default_rng(seed)
    params, state = init(net, (12, 10, 3), rng)
    for stage in ("stage1", "stage2", "stage3"):
        branch = params[stage]["block1"]["unit"]["branch"]
        branch["se1"]["W2"] *= 3
        branch["batchnorm2"]["gamma"][:] = rng.random(branch["batchnorm2"]["gamma"].shape) + 0.5
    network = Network(net, params, state, Normalisation(np.full(3, 0.5), np.full(3, 0.2)), tuple("abcdefghij"),
                      (12, 10, 3), {"model": "se_resnet8"})  # fmt: skip
    logits, _ = net.forward(params, state, network.normalise(pictures()))
    params["classifier"]["b"] -= logits.mean(0)  # so that it does not predict the same class for all images
    return network


def pictures(n=40):
    rng = np.random.default_rng(3)
    flat = rng.integers(0, 256, (n, 1, 1, 3))
    return (0.6 * flat + 0.4 * rng.integers(0, 256, (n, 12, 10, 3))).astype(np.uint8)


def save(path, model="se_resnet8", **changes):
    """Write a checkpoint of an untrained network, as the trainer does."""
    data = builtin(train=1, test=1)
    config = changes.get("config") or asdict(configure(data, model=model))
    net = Config(**config).network(len(data.classes))
    params, state = init(net, (32, 32, 3), np.random.default_rng(0))
    meta = {"config": config, "classes": list(data.classes), "image_shape": [32, 32, 3], "mean": [0.5] * 3,
            "std": [0.1] * 3, **changes}  # fmt: skip
    checkpoint.save(path, {"params": params, "state": state}, meta)
    return path


def made_up(answers, labels, classes=CLASSES, sure=None):
    """Return an evaluation with these predicted classes, each with probability ``sure`` (default: 0.9)."""
    p = np.full((len(answers), len(classes)), 0.0)
    sure = np.full(len(answers), 0.9) if sure is None else np.array(sure)
    p += ((1 - sure) / (len(classes) - 1))[:, None]
    p[np.arange(len(answers)), answers] = sure
    return Evaluation(tuple(classes), np.array(labels), p, 1.5, "made up")


class Reader(HTMLParser):
    """A parser that collects the images, the text and all addresses that a page would load."""

    def __init__(self):
        super().__init__()
        self.images, self.loads, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "img":
            self.images.append(attrs)
        self.loads += [attrs[key] for key in ("src", "srcset", "href") if key in attrs]
        assert tag not in ("script", "link", "iframe")

    def handle_data(self, data):
        self.text.append(data)
