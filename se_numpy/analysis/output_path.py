"""Where a command writes: nothing is written over but what the same command wrote before, and that is asked first."""

from pathlib import Path

LOOKED_AT = 4096  # bytes from the beginning, in which the name of the command stands that wrote the file


def output_path(name: str, option: str, suffix: str, maker: str) -> Path:
    """The file that ``maker``, such as "se-numpy plot", may write; what it writes must hold that name.

    Raises ValueError for another ending, for a folder that is not there, and for a file that is somebody else's.
    """
    path = Path(name)
    if path.suffix.lower() != suffix:
        raise ValueError(f"{option} is {name!r}; expected the name of a {suffix} file")
    if not path.parent.is_dir():
        raise ValueError(f"{option} {name}: there is no folder {path.parent}; make it first, or name another")
    if path.exists() and not _by(path, maker):
        raise ValueError(f"{name} exists already, and {maker} did not make it; nothing is overwritten: give {option} "
                         "another name")  # fmt: skip
    return path


def _by(path: Path, maker: str) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return maker.encode() in file.read(LOOKED_AT)
