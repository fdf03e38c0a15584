"""Read the Python files and notebooks in a zip archive, in memory, without trusting it.

The grader sends this file's text to the submission's sandbox, where reading is subject to the same limits of time and
memory as running. It therefore imports only the standard library. Nothing is unpacked to a disk.
"""

import io
import stat
import zipfile
from collections.abc import Sequence

MAX_FILES = 200  # members of an archive, and files of a folder, including those that are not read
MAX_BYTES = 40 << 20  # of the files that are read, unpacked
_READ = (".py", ".ipynb")
_LEFT_OUT = ("__MACOSX", "__pycache__")  # folders


def members(raw: bytes, name: str, suffixes: Sequence[str] = _READ) -> tuple[dict[str, bytes], list[str]]:
    """Return the contents of an archive's .py and .ipynb files, keyed by their paths, and the paths of all others.

    Raises
    ------
    ValueError
        If this is not a zip archive, or it is encrypted, has links or paths that lead out of it, or is too large.
    """
    found: dict[str, bytes] = {}
    others: list[str] = []
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            if len(infos) > MAX_FILES:
                raise ValueError(f"{name} has {len(infos):,} files; expected at most {MAX_FILES}")
            wanted = [info for info in infos if _checked(info, name).lower().endswith(tuple(suffixes))]
            others = [info.filename for info in infos if info not in wanted]
            for info in wanted:
                if left_out(info.filename):
                    others.append(info.filename)
                    continue
                if info.filename in found:
                    raise ValueError(f"{name} has two files of the name {_shown(info.filename)}")
                left = MAX_BYTES - sum(map(len, found.values()))
                with archive.open(info) as member:
                    found[info.filename] = member.read(left + 1)  # whatever size the archive claims
                if len(found[info.filename]) > left:
                    raise ValueError(f"{name} has more than {MAX_BYTES >> 20} MB of Python when unpacked")
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, RuntimeError) as error:
        raise ValueError(f"{name} cannot be unpacked ({str(error)[:200]}); expected a .zip archive") from None
    except Exception as error:  # the decompressors raise exceptions of their own
        if isinstance(error, ValueError) and str(error).startswith(name):
            raise
        raise ValueError(f"{name} is damaged ({type(error).__name__}); make the archive again") from None
    return _without_common_folder(found), others


def left_out(path: str) -> bool:
    """Return True for files that programs leave beside the submission's own, such as .ipynb_checkpoints."""
    parts = path.split("/")
    return any(part.startswith(".") or part in _LEFT_OUT for part in parts)


def _checked(info: zipfile.ZipInfo, name: str) -> str:
    """Return a member's path, or raise ValueError if it is not a plain file inside the archive's own folder."""
    path, mode = info.filename, info.external_attr >> 16
    if path.startswith("/") or "\\" in path or path[1:2] == ":" or ".." in path.split("/"):
        raise ValueError(f"{name} has the path {_shown(path)}, which leads out of the archive; make it again")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise ValueError(f"{name}: {_shown(path)} is a link or a device; put the file itself into the archive")
    if info.flag_bits & 1:
        raise ValueError(f"{name} is encrypted; make an archive without a password")
    return path


def _without_common_folder(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files without the folder that contains all of them, as made by compressing a folder."""
    while files and all("/" in path for path in files) and len({path.split("/")[0] for path in files}) == 1:
        files = {path.partition("/")[2]: raw for path, raw in files.items()}
    return files


def _shown(path: str) -> str:
    return repr(path[:100])
