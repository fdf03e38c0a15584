"""Find the state dict of one network in what a file holds, and remove what wrappers of the network add to the names.

Training scripts store a state dict beside other things, often twice, the second time as an average over training steps
(EMA). DistributedDataParallel, torch.compile, FSDP, Lightning and others add prefixes to the names. The network itself
is recognised by names that every network has, such as layer1.0; what precedes them is a prefix.
"""

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from se_numpy.arrays import to_host
from se_numpy.interop.schemes import printable

_EMA = ("state_dict_ema", "model_ema")  # the averages that timm prefers, in its order
_ENTRIES = (  # where training scripts store a state dict, the first two in timm's order
    "state_dict", "model", "model_state_dict", "model_state", "module", "net", "net_state_dict", "net_state", "network",
    "weights", "weight", "params", "backbone", "encoder",
)  # fmt: skip
_OTHERS = re.compile(r"optim|sched|scaler|criterion|loss|\brng|callback|loops", re.IGNORECASE)  # hold tensors too
_ANYWHERE = frozenset((  # modules that wrap a network or a part of one
    "module", "_module", "_orig_mod", "_fsdp_wrapped_module", "_fpw_module", "_checkpoint_wrapped_module",
    "_forward_module",
))  # fmt: skip
_FIRST = (*_ENTRIES, *_EMA, "ema", "ema_model", "online_model", "student", "teacher", "trunk", "_model")
_NETWORK = re.compile(  # where the name in a network begins; a digit alone after "features" may be a prefix
    r"(?:^|\.)(?=(?:layer0|layer1\.\d+|features\.\d+\.(?:weight|bias|running_\w+|fc[12]\.\w+)$|inception_\d))"
)  # fmt: skip
_HEAD = re.compile(r"^head\.(?=(?:fc|classifier|last_linear)\.)")


class ChosenWeights(UserWarning):
    """A file holds averaged weights (EMA) beside others, and one of the two was chosen."""


def unwrap(source: Mapping[str, Any], *, ema: bool = True, part: str | None = None) -> dict[str, np.ndarray]:
    """Return the arrays of one network on the host, half precision widened to float32, without prefixes in the names.

    If there are averaged weights (EMA), they are taken, as timm does, and a ``ChosenWeights`` warning says so; with
    ``ema=False`` they are not. ``part`` chooses an entry or a prefix by its name instead.

    Raises
    ------
    ValueError
        If there are several networks and no rule chooses one, or an array is not numeric.
    """
    choice = _Choice(ema, part)
    found = _entry(source, choice)
    tensors = {str(name): value for name, value in found.items() if _is_tensor(value)}
    if not tensors:
        raise ValueError("it contains no weights; expected a state dict")
    tensors = _network(_without_wrappers(tensors), choice)
    choice.check_taken()
    return {name: _host(name, value) for name, value in tensors.items()}


@contextmanager
def printed_choices(say: Any) -> Iterator[None]:
    """Give ``ChosenWeights`` warnings to ``say``, such as print, as text."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", ChosenWeights)
        show = warnings.showwarning

        def shown(message: Any, category: Any, *place: Any, **more: Any) -> None:
            say(str(message)) if category is ChosenWeights else show(message, category, *place, **more)

        warnings.showwarning = shown
        yield


class _Choice:
    """Chooses one of several entries or prefixes."""

    def __init__(self, ema: bool, part: str | None) -> None:
        self.ema, self.part, self.taken = ema, part, False
        self.seen: list[str] = []

    def among(self, names: list[str]) -> str:
        self.seen += [name for name in names if name not in self.seen]
        if self.part is not None and not self.taken:
            for name in names:
                if self.part.strip(".") in (name, name.rpartition(".")[2]):
                    self.taken = True
                    return name
        averaged = sorted(filter(_is_average, names), key=lambda n: _EMA.index(n) if n in _EMA else len(_EMA))
        plain = [name for name in names if name not in averaged]
        if averaged and (self.ema or not plain):
            if not self.ema:
                raise ValueError(f"it contains averaged weights (EMA) alone, as {printable(averaged[0])}, not others")
            if plain:
                other = next((name for name in ("", *_ENTRIES) if name in plain), plain[0])
                warnings.warn(
                    f"the averaged weights (EMA) in {printable(averaged[0])} are used, as timm does, not "
                    f"{f'those in {printable(other)}' if other else 'the others'}; to use the latter, give --no-ema or "
                    "ema=False", ChosenWeights, stacklevel=5,
                )  # fmt: skip
            return averaged[0]
        return self._plain(plain)

    def _plain(self, names: list[str]) -> str:
        if len(names) == 1:
            return names[0]
        for known in ("", *_ENTRIES):
            if known in names:
                return known
        self.check_taken()
        listed = ", ".join(map(printable, names[:6])) + (", ..." if len(names) > 6 else "")
        raise ValueError(f"it contains several networks: {listed}; choose one with --part NAME or part=NAME")

    def check_taken(self) -> None:
        if self.part is not None and not self.taken:
            options = ", ".join(map(printable, filter(None, self.seen[:6]))) or "nothing to choose from"
            raise ValueError(f"it has no part {self.part!r}; expected one of: {options}")


def _is_average(name: str) -> bool:
    return any({"ema", "swa", "averaged"} & set(part.lower().split("_")) for part in name.split("."))


def _is_tensor(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic) or (hasattr(value, "shape") and hasattr(value, "dtype"))


def _entry(source: Any, choice: _Choice) -> Mapping[Any, Any]:
    """Return the innermost dict that is a state dict."""
    for _ in range(8):  # entries nest two or three deep; a dict may contain itself
        if not isinstance(source, Mapping):
            raise ValueError(f"it contains a {type(source).__name__}; expected a state dict")
        inner = [name for name, value in source.items() if _is_entry(name) and _holds_tensors(value)]
        named = any("." in str(name) and _is_tensor(value) for name, value in source.items())
        if not inner or (named and not {*inner} & {*_ENTRIES, *_EMA}):
            break
        source = source[choice.among(inner)]
    return source


def _is_entry(name: Any) -> bool:
    return isinstance(name, str) and "." not in name and not _OTHERS.search(name)


def _holds_tensors(value: Any) -> bool:
    """Return True for a dict with tensors in it or in its dicts."""
    pending, seen = [value], set()
    while pending:
        one = pending.pop()
        if isinstance(one, Mapping) and id(one) not in seen:
            seen.add(id(one))
            if any(map(_is_tensor, one.values())):
                return True
            pending += one.values()
    return False


def _without_wrappers(tensors: dict[str, Any]) -> dict[str, Any]:
    """Remove the names of wrappers that a network never has, wherever they are, and prefixes that all names share."""
    tensors = {n: a for n, a in tensors.items() if "." in n or a.shape != () or len(tensors) == 1}  # counters
    found = _renamed(tensors, lambda n: ".".join(c for c in n.split(".") if c not in _ANYWHERE) or n)
    while (first := {name.partition(".")[0] for name in found}) <= set(_FIRST) and len(first) == 1:
        if not all("." in name for name in found):
            break
        found = {name.partition(".")[2]: array for name, array in found.items()}
    return found


def _network(tensors: dict[str, Any], choice: _Choice) -> dict[str, Any]:
    """Return the tensors of one network, without the prefix that precedes the names in it."""
    prefixes = dict.fromkeys(
        name[: place.start()] for name in tensors if (place := _NETWORK.search(name)) is not None
    )  # fmt: skip
    if not prefixes or set(prefixes) == {""}:
        return tensors
    chosen = choice.among(list(prefixes))
    root = chosen.partition(".")[0]
    others = tuple(
        f"{prefix if prefix.partition('.')[0] == root else prefix.partition('.')[0]}."
        for prefix in prefixes if prefix and prefix != chosen
    )  # fmt: skip
    own = {name: array for name, array in tensors.items() if not name.startswith(others)}
    if not chosen:
        return own
    if "" in prefixes:
        own = {name: array for name, array in own.items() if name.startswith(f"{root}.")}
    own = _renamed(own, lambda name: name.removeprefix(f"{chosen}."))
    return _renamed(own, lambda name: _HEAD.sub("", name))


def _renamed(tensors: dict[str, Any], new: Any) -> dict[str, Any]:
    """Return the tensors under new names, or under the old ones if two new names are the same."""
    names = {name: new(name) for name in tensors}
    return {names[n]: a for n, a in tensors.items()} if len(set(names.values())) == len(names) else tensors


def _host(name: str, array: Any) -> np.ndarray:
    if hasattr(array, "detach"):  # a PyTorch tensor
        array = _from_torch(name, array)
    array = np.asarray(to_host(array))
    if array.dtype == np.float16 or array.dtype.name.startswith(("bfloat16", "float8")):  # those of ml_dtypes
        array = array.astype(np.float32)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{printable(str(name))} has dtype {array.dtype}; expected a numeric array")
    return array


def _from_torch(name: str, tensor: Any) -> np.ndarray:
    tensor = tensor.detach()
    if tensor.is_quantized:
        raise ValueError(f"{printable(name)} is quantised ({tensor.dtype}); quantised weights are not supported")
    if tensor.is_meta:
        raise ValueError(f"{printable(name)} has a shape and no values (device meta); save the weights themselves")
    try:
        tensor = (tensor if str(tensor.layout) == "torch.strided" else tensor.to_dense()).cpu()
        return (tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor).numpy()
    except (TypeError, RuntimeError, NotImplementedError):  # NumPy has no such type
        raise ValueError(f"{printable(name)} has dtype {tensor.dtype}; expected a numeric tensor") from None
