"""Check where a command may write: it overwrites only files that the same command wrote before."""

from pathlib import Path

from se_numpy.arg_types import user_path

HEAD = 4096  # bytes at the beginning of a file that must contain what identifies the command that wrote it


def output_path(name: str, option: str, suffix: str, maker: str, *, mark: str | None = None) -> Path:
    """Return the path of a file that ``maker``, such as "se-numpy plot", may write.

    Its files contain that name, or ``mark`` if given, near the beginning.

    Raises
    ------
    ValueError
        If the name has another suffix, its folder does not exist, or the file exists and was not made by ``maker``.
    """
    path = user_path(name)
    if path.suffix.lower() != suffix:
        raise ValueError(f"{option} is {name!r}; expected the name of a {suffix} file")
    if not path.parent.is_dir():
        raise ValueError(f"{option} {name}: folder {path.parent} does not exist; create it first, or give another name")
    if path.exists() and not _made_by(path, maker if mark is None else mark):
        raise ValueError(f"{name} already exists and was not made by {maker}; give {option} another name")
    return path


def _made_by(path: Path, mark: str) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return mark.encode() in file.read(HEAD)
