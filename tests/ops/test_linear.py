"""The fully connected layer."""

from pair_checks import checks

TestPair = checks("linear")
