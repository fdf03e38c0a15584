"""The grader's side of the protocol with a child.  Every field of a reply is checked before it is used."""

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from se_numpy.grading.models import Reply
from se_numpy.grading.sandbox_worker import MAX_ARRAYS, MAX_BYTES, MAX_HEADER, MAX_MESSAGE, pack

DTYPES = frozenset(("|b1", "|i1", "|u1", "<f2", "<i2", "<u2", "<f4", "<i4", "<u4", "<f8", "<i8", "<u8"))
_FROM_CHILD = ("ok", "error", "memory", "refused", "missing")  # only the grader may set the other statuses


class Breach(Exception):
    """A child violated the protocol, which happens only if the submission writes to the channel itself."""


def call(
    number: int, function: str | None, arguments: Sequence[np.ndarray | float | int], hyper: Mapping[str, float | int]
) -> bytes:
    """Return the frame that calls a function; arrays keep their memory order and their writeable flag.

    Raises
    ------
    TypeError
        If an argument is not a number or an array of real numbers.
    """
    described: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            little = np.asarray(argument, argument.dtype.newbyteorder("<"))
            if little.dtype.str not in DTYPES:
                raise TypeError(f"an argument of dtype {argument.dtype} cannot be sent; expected real numbers")
            order = "C" if argument.flags.c_contiguous else "F" if argument.flags.f_contiguous else "strided"
            described.append({"dtype": little.dtype.str, "shape": list(little.shape), "order": order,
                              "writeable": bool(argument.flags.writeable)})  # fmt: skip
            raw.append(little.tobytes())
        else:
            described.append({"number": _number(argument)})
    return pack({"call": number, "function": function, "arguments": described,
                 "hyper": {name: _number(value) for name, value in hyper.items()}}, *raw)  # fmt: skip


def load(number: int, sources: Sequence[str], settings: Mapping[str, Any]) -> bytes:
    """Return the frame that runs a submission's code: the graded file, the adapters, and the modules beside it."""
    return _texts(number, [s.encode("utf-8", "surrogatepass") for s in sources], load=settings)


def parse(number: int, parsers: Sequence[bytes], raw: Sequence[bytes], settings: Mapping[str, Any]) -> bytes:
    """Return the frame that parses a submission's files with the sources of ``archive`` and ``source_parser``."""
    return _texts(number, [*parsers, *raw], parse=settings)


def _texts(number: int, texts: Sequence[bytes], **settings: Any) -> bytes:
    described = [{"dtype": "|u1", "shape": [len(text)], "order": "text"} for text in texts]
    return pack({"call": number, "function": None, **settings, "arguments": described, "hyper": {}}, *texts)


def _number(value: Any) -> float | int:
    plain = value.item() if isinstance(value, np.generic) else value
    if not isinstance(plain, float | int):
        raise TypeError(f"{value!r} cannot be sent to a submission; expected an array or a number")
    return plain


class Answer:
    """A reply assembled from pieces as they arrive; an invalid header raises Breach at once."""

    def __init__(self, number: int, arguments: int = 0) -> None:
        self._number, self._arguments = number, arguments
        self._data = bytearray()
        self._header: dict[str, Any] | None = None
        self._arrays: list[tuple[np.dtype, tuple[int, ...], int]] = []
        self._end = 4  # frame length in bytes, as far as it is known

    @property
    def wanted(self) -> int:
        """The number of bytes still expected, as far as it is known; 0 if the frame is complete."""
        return self._end - len(self._data)

    def feed(self, piece: bytes) -> None:
        """Add a piece of the frame, at most ``wanted`` bytes long.

        Raises
        ------
        Breach
            If the header is invalid.
        """
        self._data += piece
        if self._end == 4 and not self.wanted:
            (length,) = struct.unpack_from("<I", self._data)
            if not 0 < length <= MAX_HEADER:
                raise Breach(f"it announced a header of {length:,} bytes")
            self._end += length
        if self._end > 4 and self._header is None and not self.wanted:
            self._header = self._checked(bytes(self._data[4:]))
            self._end += sum(size for _, _, size in self._arrays)

    def _checked(self, text: bytes) -> dict[str, Any]:
        try:
            header = json.loads(text)
        except (ValueError, RecursionError):
            raise Breach("its header is not JSON") from None
        if not isinstance(header, dict) or header.get("call") != self._number or type(header["call"]) is not int:
            raise Breach("it replied to a call that was not made")
        if header.get("status") not in _FROM_CHILD or not isinstance(header.get("message", ""), str):
            raise Breach("it replied with an unknown status")
        mutated = header.get("mutated", [])
        if not isinstance(mutated, list) or any(type(i) is not int or not 0 <= i < self._arguments for i in mutated):
            raise Breach("it named arguments that were not given")
        if type(header.get("listed", False)) is not bool:
            raise Breach("its field 'listed' is not a boolean")
        arrays = header.get("arrays", [])
        if not isinstance(arrays, list) or len(arrays) > MAX_ARRAYS or (arrays and header["status"] != "ok"):
            raise Breach("it announced more arrays than are accepted")
        self._arrays = [_described(array) for array in arrays]
        if sum(size for _, _, size in self._arrays) > MAX_BYTES:
            raise Breach(f"it announced more than {MAX_BYTES:,} bytes")
        return header

    def reply(self, stdout: str) -> Reply:
        """Return the complete frame as a Reply, with plain arrays in this process's own memory."""
        assert self._header is not None
        assert not self.wanted
        at = self._end - sum(size for _, _, size in self._arrays)
        outputs = []
        for dtype, shape, size in self._arrays:
            raw = bytes(self._data[at : at + size])
            flat = np.frombuffer(raw, np.uint8) != 0 if dtype.kind == "b" else np.frombuffer(raw, dtype).copy()
            outputs.append(flat.reshape(shape))
            at += size
        return Reply(self._header["status"], tuple(outputs), tuple(sorted(set(self._header.get("mutated", [])))),
                     clean(self._header.get("message", "")[:MAX_MESSAGE]), stdout,
                     self._header.get("listed", False))  # fmt: skip


def _described(array: Any) -> tuple[np.dtype, tuple[int, ...], int]:
    if not isinstance(array, dict) or not isinstance(array.get("dtype"), str) or array["dtype"] not in DTYPES:
        raise Breach("it announced an array with an unknown dtype")
    shape = array.get("shape")
    if not isinstance(shape, list) or len(shape) > 32 or any(type(n) is not int or not 0 <= n < 1 << 31 for n in shape):
        raise Breach("it announced an array with an impossible shape")
    dtype = np.dtype(array["dtype"])
    size = dtype.itemsize
    for n in (n for n in shape if n > 0):
        size *= n
    if size > MAX_BYTES:  # even if another side is 0, because NumPy rejects such shapes
        raise Breach(f"it announced too large an array, of shape {tuple(shape)}")
    return dtype, tuple(shape), 0 if 0 in shape else size


def clean(text: str) -> str:
    """Remove characters from ``text`` that terminals, HTML or XML would interpret as control characters."""
    return "".join(c for c in text if c.isprintable() or c in "\n\t")
