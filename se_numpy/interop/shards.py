"""Networks in several files (shards), as Hugging Face writes them: an index names the file of every tensor."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from se_numpy.interop.contents import SHARD
from se_numpy.interop.schemes import printable


def read_shards(index: Path, read: Callable[[Path], Mapping[str, Any]]) -> dict[str, Any]:
    """Read all tensors of an index with ``read``, which reads one file.

    Raises
    ------
    ValueError
        If a shard is missing, lacks a tensor or is not in the folder of the index.
    """
    places = json.loads(index.read_text(encoding="utf-8-sig"))["weight_map"]
    if not all(isinstance(shard, str) for shard in places.values()):
        raise ValueError(f"{index} is damaged: its weight_map should map names of tensors to names of files")
    found: dict[str, Any] = {}
    for shard in dict.fromkeys(places.values()):
        held = read(_beside(index, shard))
        names = [name for name, place in places.items() if place == shard]
        if lost := [name for name in names if name not in held]:
            more = f" and {len(lost) - 1} more tensors" if len(lost) > 1 else ""
            raise ValueError(f"shard {printable(shard)} lacks {printable(lost[0])}{more}, which {index} places there")
        found |= {name: held[name] for name in names}
    return found


def _beside(index: Path, shard: str) -> Path:
    if shard in ("", ".", "..") or set(shard) & set("/\\:\0"):
        raise ValueError(f"{index} names the shard {printable(shard)!r}; expected a file in the folder of the index")
    path = index.parent / shard
    if not path.is_file():
        raise ValueError(f"shard {printable(shard)} is missing: {index} names it; download it to {index.parent}")
    return path


def refuse_lone_shard(path: Path) -> None:
    """Raise ValueError if a file is, by its name, one of several shards; the message names the index."""
    found = SHARD.search(path.name)
    if found is None or int(found[2]) < 2:
        return
    beside = sorted(path.parent.glob("*.index.json"))
    index = beside[0] if beside else f"the index ({path.name[: found.start()]}{path.suffix}.index.json)"
    raise ValueError(
        f"{path} is shard {int(found[1])} of {int(found[2])} and holds only a part of the network; give {index} instead"
    )
