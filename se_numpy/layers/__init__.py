"""Layers, and combinators that build networks from them."""

from se_numpy.layers.combinators import Combinator, Concat, Serial, Sum, concat, residual, serial, walk
from se_numpy.layers.description import describe, from_description, register
from se_numpy.layers.excitation import SE, NoSqueeze, SEVariant, se_layer
from se_numpy.layers.layer import Layer, Parameter, Result, Rng, Shape, he, init
from se_numpy.layers.running import MOMENTUM, unbiased, update_running
from se_numpy.layers.simple import (
    BatchNorm,
    Bias,
    ChannelShuffle,
    Conv,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Linear,
    Pool,
    ReLU,
)

__all__ = [
    "MOMENTUM",
    "SE",
    "BatchNorm",
    "Bias",
    "ChannelShuffle",
    "Combinator",
    "Concat",
    "Conv",
    "Dropout",
    "Flatten",
    "GlobalAveragePool",
    "Layer",
    "Linear",
    "NoSqueeze",
    "Parameter",
    "Pool",
    "ReLU",
    "Result",
    "Rng",
    "SEVariant",
    "Serial",
    "Shape",
    "Sum",
    "concat",
    "describe",
    "from_description",
    "he",
    "init",
    "register",
    "residual",
    "se_layer",
    "serial",
    "unbiased",
    "update_running",
    "walk",
]
