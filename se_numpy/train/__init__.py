"""The trainer: configuration, learner, training session, training loop and run folders."""

from se_numpy.train.config import PRESETS, Config, choose_device, configure, read_toml, to_toml
from se_numpy.train.console import wilson
from se_numpy.train.detecting import Detection
from se_numpy.train.learner import Learner, Trained, stream
from se_numpy.train.loop import complete, extend, resume, train
from se_numpy.train.nan_check import NotFinite
from se_numpy.train.run_dir import Run
from se_numpy.train.session import Session, split
from se_numpy.train.task import Classification, Task

__all__ = [
    "PRESETS",
    "Classification",
    "Config",
    "Detection",
    "Learner",
    "NotFinite",
    "Run",
    "Session",
    "Task",
    "Trained",
    "choose_device",
    "complete",
    "configure",
    "extend",
    "read_toml",
    "resume",
    "split",
    "stream",
    "to_toml",
    "train",
    "wilson",
]
