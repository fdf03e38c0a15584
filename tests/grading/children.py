"""Helpers that create children, in a module that worker processes can import."""

import os
import signal
from dataclasses import replace

import numpy as np

from se_numpy.grading.course import grade_path
from se_numpy.grading.isolation import Child, Limits
from se_numpy.grading.submission import from_source

X = np.arange(6.0).reshape(2, 3)
FINE = "import ctypes, os, sys, threading, time\nimport numpy as np\ndef fine(x):\n    return x + 1\n"
# For calls that should succeed, also on a busy machine, and for calls that should exceed their time.
PATIENT = replace(Limits(), seconds=300, start_seconds=300, cpu_seconds=3600)
QUICK = replace(PATIENT, seconds=0.5)


def child(source: str, isolation: str = "process", limits: Limits = PATIENT) -> Child:
    return Child(from_source(FINE + source), isolation=isolation, limits=limits)


def grade_one() -> str:
    with child("") as c:
        return c.call("fine", [X], {}).status


def kill_on_b(path, options, name):
    """Grade a submission of a class; b.py kills the process that grades it."""
    if name == "b.py":
        os.kill(os.getpid(), signal.SIGKILL)
    return grade_path(path, options, name=name)
