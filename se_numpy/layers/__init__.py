"""Layers and combinators: networks are values made of these."""

from se_numpy.layers.combinators import Combinator, Concat, Serial, Sum, concat, residual, serial, walk
from se_numpy.layers.fold import fold
from se_numpy.layers.fused import fuse
from se_numpy.layers.layer import Layer, Parameter, Shape, he, init
from se_numpy.layers.simple import SE, BatchNorm, Bias, Conv, Dropout, GlobalAveragePool, Linear, Pool, ReLU

__all__ = [
    "SE",
    "BatchNorm",
    "Bias",
    "Combinator",
    "Concat",
    "Conv",
    "Dropout",
    "GlobalAveragePool",
    "Layer",
    "Linear",
    "Parameter",
    "Pool",
    "ReLU",
    "Serial",
    "Shape",
    "Sum",
    "concat",
    "fold",
    "fuse",
    "he",
    "init",
    "residual",
    "serial",
    "walk",
]
