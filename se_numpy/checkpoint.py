"""Checkpoints: arrays and a description in one .npz, never a pickle, never half written."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from se_numpy.backend import to_host
from se_numpy.tree import Tree, from_leaves, leaves


def save(path: str | Path, trees: dict[str, Tree], meta: dict[str, Any]) -> None:
    """Write trees of arrays (host or device) and a JSON description: to a temporary file, synced, then renamed.

    Whatever stood at ``path`` stays until the new file is whole.  Raises OSError where it cannot be written.
    """
    path = Path(path)
    arrays: dict[str, Any] = {
        f"{kind}/{name}": to_host(leaf) for kind, tree in trees.items() for name, leaf in leaves(tree)
    }
    arrays["meta"] = np.array(json.dumps(meta))
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load(path: str | Path) -> tuple[dict[str, Tree], dict[str, Any]]:
    """Read what ``save`` wrote: trees of host arrays, and the description.

    Raises ValueError, naming the file, for anything that is no checkpoint; FileNotFoundError where there is none.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    file = path.open("rb")
    try:
        with file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        meta = json.loads(str(arrays.pop("meta")))
        kinds: dict[str, dict[str, np.ndarray]] = {}
        for name, array in arrays.items():
            kind, _, leaf = name.partition("/")
            kinds.setdefault(kind, {})[leaf] = array
        return {kind: from_leaves(items) for kind, items in kinds.items()}, meta
    except (ValueError, KeyError, EOFError, OSError, RuntimeError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a se_numpy checkpoint, or a damaged one: {error}") from None
