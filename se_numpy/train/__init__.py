"""The trainer, in the order of a run: configuration, a network that learns, the loop, what it tells."""

from se_numpy.train.config import Config, choose_device, configure, run_folder
from se_numpy.train.learner import Learner, Trained, stream
from se_numpy.train.loop import Run, split, train
from se_numpy.train.report import wilson

__all__ = [
    "Config",
    "Learner",
    "Run",
    "Trained",
    "choose_device",
    "configure",
    "run_folder",
    "split",
    "stream",
    "train",
    "wilson",
]
