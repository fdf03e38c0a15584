"""The fully connected layer: the pair."""

from pair_checks import checks

TestPair = checks("linear")
