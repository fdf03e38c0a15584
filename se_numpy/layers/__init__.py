"""Layers and combinators: networks are values made of these."""

from se_numpy.layers.combinators import Combinator, Concat, Serial, Sum, concat, residual, serial, walk
from se_numpy.layers.excitation import SE, NoSqueeze, SEVariant, se_layer
from se_numpy.layers.fold import fold
from se_numpy.layers.fused import fuse, predictor
from se_numpy.layers.layer import Layer, Parameter, Shape, he, init
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
    "SEVariant",
    "Serial",
    "Shape",
    "Sum",
    "concat",
    "fold",
    "fuse",
    "he",
    "init",
    "predictor",
    "residual",
    "se_layer",
    "serial",
    "walk",
]
