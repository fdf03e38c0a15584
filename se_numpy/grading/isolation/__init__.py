"""Running a submission where it can do no harm, and saying how far that goes."""

from se_numpy.grading.isolation.backends import Finding, IsolationMissing, choose, doctor, missing
from se_numpy.grading.isolation.child import Child, Limits

__all__ = ["Child", "Finding", "IsolationMissing", "Limits", "choose", "doctor", "missing"]
