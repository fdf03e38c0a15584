"""Analysis of trained networks: evaluation, curves, gates by class and depth, interventions on gates, Grad-CAM."""

from typing import TYPE_CHECKING

from se_numpy import lazy as _lazy

if TYPE_CHECKING:  # these are imported on first use
    from se_numpy.analysis import evaluation, gates, grad_cam, interventions, network, prediction, runs, study

__all__ = ["evaluation", "gates", "grad_cam", "interventions", "network", "prediction", "runs", "study"]

if not TYPE_CHECKING:  # otherwise a type checker would accept every name as an attribute
    __getattr__, __dir__ = _lazy.attach(__name__, __all__, __all__)
