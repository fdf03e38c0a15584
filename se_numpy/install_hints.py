"""Tell how to install what is missing."""

from pathlib import Path

PACKAGE = Path(__file__).parent


def install_command(extra: str) -> str:
    """The command that brings an extra: as README has it in a copy of the repository, else for the installed one."""
    copy = (PACKAGE.parent / "pyproject.toml").is_file()
    line = f'pip install -e ".[{extra}]"' if copy else f'pip install "se-numpy[{extra}]"'
    return f"{line} or cuda13, whichever the driver is for" if extra == "cuda12" else line
