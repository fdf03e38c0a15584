"""Hides CuPy while notebooks are built and tested, so that their output is that of a CPU."""

raise ModuleNotFoundError("No module named 'cupy'", name="cupy")
