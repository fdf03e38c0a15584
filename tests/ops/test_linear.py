"""The fully connected layer and its gradient."""

from pair_checks import checks

TestPair = checks("linear")
