"""In the path while notebooks are made and tested: a machine without a GPU, wherever they run."""

raise ModuleNotFoundError("No module named 'cupy'", name="cupy")
