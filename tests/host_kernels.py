"""CuPy's RawKernel on the host: the kernels' C code, thread after thread, compiled by a C++ compiler.

The tests thus run the code that a GPU would run, without CuPy. ``cupy_on_host`` has the header for it, and runs CuPy
itself in the same way.
"""

import ctypes
import functools
import re

import numpy as np
from cupy_on_host import compiling
from cupy_on_host.host_kernels import ENTRY, INCLUDE


def available():
    """Return True if there is a C++ compiler."""
    try:
        return bool(compiling.compiler())
    except RuntimeError:
        return False


made: list[tuple[str, str]] = []  # (text, name) of every kernel that was created


KEPT = re.compile(r"^#|__shared__|atomicAdd")  # lines whose numbers stay
NUMBER = re.compile(r"(?<![\w.])(?<!\de-)\d+u?(?![\w.])")


def _lifted(text):
    """Return the text with its integers read from an array, and the integers.

    A kernel is compiled for its shapes. On a GPU that makes it fast; here most of the time would go into compiling.
    """
    if "over_channels" in text:  # its arrays have sizes that must be known
        return text, []
    numbers = []

    def lift(found):
        numbers.append(int(found[0].rstrip("u")))
        return f"numbers_[{len(numbers) - 1}]"

    lines = text.splitlines(keepends=True)
    return "".join(line if KEPT.search(line) else NUMBER.sub(lift, line) for line in lines), numbers


@functools.cache
def _compiled(text, name):
    flags = ["-O1", f"-I{INCLUDE}", *([] if "__syncthreads" in text else ["-DRUN_WITHOUT_BARRIERS"])]
    headers = "".join(path.read_text() for path in sorted(INCLUDE.rglob("*.h")))
    lifted = 'static const long long* numbers_; extern "C" void set_numbers(const long long* n) { numbers_ = n; }'
    source = f"#include <threads.h>\n{lifted}\n{text}{ENTRY.format(kernel=name)}"
    # PyDLL keeps the interpreter's lock: a kernel's threads have their indices in static variables.
    library = ctypes.PyDLL(compiling.shared_library(source, *flags, depends_on=headers))
    library.run_on_host.argtypes = [ctypes.c_void_p] + [ctypes.c_uint] * 6
    return library


C_TYPES = {np.dtype("uint32"): ctypes.c_uint, np.dtype("int32"): ctypes.c_int, np.dtype("float64"): ctypes.c_double,
           np.dtype("float32"): ctypes.c_float}  # fmt: skip


class RawKernel:
    """``cupy.RawKernel(code, name)`` for NumPy arrays."""

    def __init__(self, code, name):
        self.code, self.__name__ = code, name
        self.parameters = re.search(rf"__global__ void {name}\((.*?)\)\s*\{{", code, re.DOTALL)[1].split(",")
        self.text, numbers = _lifted(code)
        self.numbers = (ctypes.c_longlong * len(numbers))(*numbers)
        made.append((code, name))

    def __call__(self, grid, block, args):
        if len(args) != len(self.parameters):
            raise TypeError(f"{self.__name__} got {len(args)} arguments; expected {len(self.parameters)}")
        values = [self._passed(*pair) for pair in zip(args, self.parameters, strict=True)]
        addresses = (ctypes.c_void_p * len(values))(*(ctypes.addressof(v) for v in values))
        sizes = [*grid, *[1] * (3 - len(grid)), *block, *[1] * (3 - len(block))]
        library = _compiled(self.text, self.__name__)
        library.set_numbers(self.numbers)
        library.run_on_host(ctypes.cast(addresses, ctypes.c_void_p), *sizes)

    def _passed(self, value, parameter):
        if ("*" in parameter) != isinstance(value, np.ndarray):
            raise TypeError(f"{self.__name__}: got {value!r} for the parameter {parameter.strip()}")
        if isinstance(value, np.ndarray):
            return ctypes.c_void_p(value.ctypes.data)
        return C_TYPES[np.asarray(value).dtype](value)  # a Python float is a double, as for CuPy
