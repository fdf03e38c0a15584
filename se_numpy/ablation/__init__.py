"""The paper's ablations: tables as data, runs with any executor, and reports next to the paper's numbers."""

from typing import TYPE_CHECKING

from se_numpy import lazy as _lazy

if TYPE_CHECKING:  # these are imported on first use
    from se_numpy.ablation import report, runner, study, tables

__all__ = ["report", "runner", "study", "tables"]

if not TYPE_CHECKING:  # otherwise a type checker would accept every name as an attribute
    __getattr__, __dir__ = _lazy.attach(__name__, __all__, __all__)
