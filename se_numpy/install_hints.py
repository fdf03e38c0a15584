"""Installation commands for missing packages."""

from pathlib import Path

PACKAGE = Path(__file__).parent


def install_command(extra: str) -> str:
    """Return the command that installs an extra: from the repository if this is a checkout, otherwise from PyPI."""
    checkout = (PACKAGE.parent / "pyproject.toml").is_file()
    line = f'pip install -e ".[{extra}]"' if checkout else f'pip install "se-numpy[{extra}]"'
    return f"{line} (or cuda13 if the driver supports CUDA 13)" if extra == "cuda12" else line
