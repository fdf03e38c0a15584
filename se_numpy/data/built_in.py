"""The built-in data sets by name: they are drawn from a seed, so they need no files."""

from collections.abc import Callable

from se_numpy.data.dataset import Dataset
from se_numpy.data.glyphs import builtin
from se_numpy.data.scenes import built_in_scenes

BUILT_IN: dict[str, Callable[..., Dataset]] = {"builtin": builtin, "scenes": built_in_scenes}
