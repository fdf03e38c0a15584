"""The process that runs a submission, started as a script with only the standard library and NumPy.

It locks itself down, imports NumPy from a given folder, runs the submission's code once, and then answers calls until
its channel closes. In both directions, a frame is

    header length (4 bytes) · header (JSON) · the bytes of the arrays declared in the header, in order

and is never unpickled. Printed output goes to stdout and stderr, through a separate pipe. Nothing in this process can
be trusted once the submission has started, because the submission shares it; the grader checks every reply.
"""

import _thread
import importlib.util
import json
import os
import struct
import sys
import types
from collections.abc import Collection, Mapping, Sequence
from typing import Any

MODULE = "submission"  # the submission's module name, and its file name in tracebacks
MAX_HEADER = 64 << 10
MAX_ARRAYS = 32
MAX_BYTES = 64 << 20
MAX_MESSAGE = 4 << 10
_STACK = 2 << 20  # bytes for each thread, so that a pool of threads fits into the limit of the address space
TAKES = "it takes ("  # the start of the message if a function has the wrong parameters


def pack(header: Mapping[str, Any], *arrays: bytes) -> bytes:
    """Return a frame with this header and these arrays."""
    text = json.dumps(header).encode()
    return b"".join((struct.pack("<I", len(text)), text, *arrays))


class Refused(Exception):
    """A function is missing, has wrong parameters or returned no numbers; the arguments are a status and a message."""


def main(requests: int, answers: int, proc: int) -> None:
    """Read frames from one file descriptor and write the replies to the other."""
    settings = _header(requests)
    imported, framework = _prepare(settings, requests, answers, proc)
    numpy = types.SimpleNamespace(**vars(imported))  # a copy that the submission cannot patch
    _write(answers, pack({"call": settings["call"], "status": "ok"}))
    submission = _Submission(numpy, framework)
    while True:
        header = _header(requests)
        given = [_argument(numpy, a, requests) for a in header["arguments"]]
        raw: list[bytes] = []
        answer: dict[str, Any] = {"call": header["call"], "status": "ok", "message": ""}
        try:
            with numpy.errstate(all="ignore"):
                if "parse" in header:  # before any of the submission's code runs
                    raw, answer["arrays"] = _parsed(header["parse"], [text for _, text in given])
                elif header["function"] is None:  # the submission itself
                    submission.load(header["load"], [text for _, text in given])
                else:
                    returned = submission.call(header, [value for value, _ in given])
                    plain = arrays(numpy.asarray, returned)
                    described = [{"dtype": a.dtype.str, "shape": list(a.shape)} for a in plain]
                    answer["listed"] = isinstance(returned, list)
                    raw, answer["arrays"] = [a.tobytes() for a in plain], described
        except BaseException as error:  # includes the submission's own exit() and KeyboardInterrupt
            answer |= explain(error, beside=submission.files)
        if header["function"] is not None:
            arguments = enumerate(given)
            answer["mutated"] = [k for k, (value, sent) in arguments if sent is not None and _bytes(value) != sent]
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:  # closed or replaced by the submission, so its output is lost
                continue
        _write(answers, pack(answer, *raw))


class _Submission:
    """A submission's code: the graded file, the modules beside it, and the adapter if its form is not the plain one."""

    def __init__(self, numpy: Any, framework: Any) -> None:
        self.numpy, self.framework = numpy, framework
        self.module = types.ModuleType(MODULE)
        sys.modules[MODULE] = self.module
        self.adapter: Any = None
        self.files: set[str] = set()  # names of the modules' files, in tracebacks

    def load(self, settings: dict[str, Any], texts: Sequence[Any]) -> None:
        """Run the graded file, which may import the modules."""
        main, adapters, *beside = texts
        if settings["modules"]:
            self.files = {file for _, file, *_ in settings["modules"]}
            sys.meta_path.append(_Beside(settings["modules"], beside))
            sys.modules |= dict.fromkeys(settings["main"], self.module)  # a module may import the graded file
        if adapters:
            calls, numpy = settings["calls"], self.numpy
            found = _from_text("adapters", adapters)
            self.adapter = found.Adapter(self.module.__dict__, calls, numpy, self.framework, Refused)
        source = str(main, "utf-8", "surrogatepass")
        exec(compile(source, MODULE, "exec", dont_inherit=True), self.module.__dict__)

    def call(self, header: dict[str, Any], arguments: Sequence[Any]) -> Any:
        """Call the function that solves a task."""
        if self.adapter is not None and header["function"] in self.adapter.calls:
            return self.adapter.call(header["function"], arguments, header["hyper"])
        return _call(self.module, header, arguments)


class _Packages:
    """Imports a framework's packages from their folders, and no others next to them."""

    def __init__(self, paths: Mapping[str, str]) -> None:
        self.paths = paths

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return the import machinery's description of one of these packages, or None."""
        where = self.paths.get(name)
        if where is None or where.endswith(".py"):
            return where and importlib.util.spec_from_file_location(name, where)
        file = f"{where}/__init__.py"
        if not os.path.exists(file):  # a namespace package
            spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = [where]
            return spec
        return importlib.util.spec_from_file_location(name, file, submodule_search_locations=[where])


class _Beside:
    """Imports the modules beside the graded file from their text; folders are packages."""

    def __init__(self, modules: Sequence[Any], texts: Sequence[bytes]) -> None:
        self.texts = {one[0]: (*one[1:], text) for one, text in zip(modules, texts, strict=True)}
        self.packages = {name.rpartition(".")[0] for name in self.texts} - {""}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return the import machinery's description of a module, or None if this is not one of the submission's."""
        if name not in self.texts and name not in self.packages:
            return None
        package = name in self.packages or self.texts[name][1]
        return importlib.util.spec_from_loader(name, self, is_package=package)  # type: ignore[arg-type]

    def create_module(self, spec: Any) -> None:
        """Leave the creation of the module to Python."""

    def exec_module(self, module: types.ModuleType) -> None:
        """Run a module's code; a package without a file has none."""
        file, _, problem, text = self.texts.get(module.__name__, ("", True, "", b""))
        if problem:
            raise SyntaxError(problem)
        source = str(text, "utf-8", "surrogatepass")
        exec(compile(source, file, "exec", dont_inherit=True), module.__dict__)


def _parsed(settings: dict[str, Any], texts: Sequence[Any]) -> tuple[list[bytes], list[dict[str, Any]]]:
    """Parse a submission's files with the grader's parser, and return everything about them as JSON."""
    archive, parser = _from_text("archive", texts[0]), _from_text("source_parser", texts[1])
    files, others = dict(zip(settings["names"], texts[2:], strict=True)), []
    try:
        if settings["archive"]:
            files, others = archive.members(texts[2], settings["names"][0])
    except ValueError as error:
        raise Refused("refused", str(error)) from None
    modules = {part.rpartition(".")[0] or part for name in files for part in name.split("/")}
    found = []
    for name, raw in files.items():
        notebook = name.lower().endswith(".ipynb")
        try:
            parsed = parser.parse(raw, name, notebook=notebook, definitions=settings["definitions"][notebook],
                                  available=modules | set(settings["available"]))  # fmt: skip
        except ValueError as error:
            parsed = {"problem": str(error)}
        found.append({"name": name, **parsed})
    raw = json.dumps({"files": found, "others": others}).encode()
    return [raw], [{"dtype": "|u1", "shape": [len(raw)]}]


def _from_text(name: str, text: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    exec(compile(text, name, "exec", dont_inherit=True), module.__dict__)
    return module


def _prepare(settings: dict[str, Any], requests: int, answers: int, proc: int) -> Any:
    """Start the supervisor, lock the process down, then import NumPy and return it."""
    lockdown, supervisor = (_module(name, settings[name]) for name in ("lockdown", "supervisor"))
    del sys.modules["lockdown"], sys.modules["supervisor"]  # names that a submission's own modules may have
    limits, counting, allowed = settings["limits"], settings["counting"], settings["seccomp"]
    link = supervisor.separate(lockdown, requests, answers, proc, limits["NPROC"])
    lockdown.no_new_privileges()
    if counting and supervisor.introduce(link, lockdown.asking(counting), proc):
        del limits["NPROC"]  # it would count the user's other processes
    link.close()
    if proc >= 0:
        os.close(proc)
    lockdown.limits(limits)
    _thread.stack_size(_STACK)
    if settings["readable"] is not None:
        lockdown.landlock(settings["readable"])
    if allowed:
        lockdown.seccomp(allowed)
    # NumPy is imported from its folder, not through sys.path, so that other packages next to it cannot be imported.
    folder = settings["numpy"]
    numpy = _module("numpy", f"{folder}/__init__.py", folder)
    sys.meta_path.append(_Packages(settings["packages"]))
    return numpy, _framework(settings["framework"]) if settings["packages"] else None


def _framework(name: str) -> Any:
    """Import a framework and run functions of it, so that its messages and start-up time are not the submission's.

    The first backward pass from a given upstream gradient imports hundreds of PyTorch's modules.
    """
    framework = importlib.import_module(name)
    if name == "jax":
        framework.config.update("jax_enable_x64", True)
        importlib.import_module("jax.numpy").ones(2).sum()
    else:
        framework.set_num_threads(1)
        framework.ones(2, requires_grad=True).clamp(min=0).backward(framework.ones(2))
    return framework


def _module(name: str, path: str, folder: str | None = None) -> Any:
    """Import a module from a file, or a package from its folder."""
    inside = [folder] if folder else None
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=inside)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def _call(module: types.ModuleType, header: dict[str, Any], arguments: Sequence[Any]) -> Any:
    function = module.__dict__.get(header["function"])
    if not callable(function):
        raise Refused("missing", f"function {header['function']} is not defined")
    return apply(function, arguments, header["hyper"])


def apply(function: Any, arguments: Sequence[Any], hyper: Mapping[str, Any]) -> Any:
    """Call the function and return its result.

    Raises
    ------
    Refused
        If the function does not accept these arguments.
    """
    try:
        return function(*arguments, **hyper)
    except TypeError as error:
        code = getattr(function, "__code__", None)
        if code is None or error.__traceback__ is None or error.__traceback__.tb_next is not None:
            raise  # raised inside the function or by a builtin
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        raise Refused("error", f"{TAKES}{', '.join(names)})") from None


def _argument(numpy: Any, given: dict[str, Any], requests: int) -> tuple[Any, bytes | None]:
    """Return an argument and, for an array, its original bytes, which show later whether it was modified."""
    if "number" in given:
        return given["number"], None
    dtype, shape = numpy.dtype(given["dtype"]), tuple(given["shape"])
    count = 1
    for size in shape:
        count *= size
    raw = _read(requests, count * dtype.itemsize)
    if given["order"] == "text":
        return None, raw
    array = numpy.frombuffer(raw, dtype).reshape(shape).copy()
    if given["order"] == "F":
        array = numpy.asfortranarray(array)
    elif given["order"] == "strided":  # every second element of a wider array
        wide = numpy.zeros((*shape[:-1], 2 * shape[-1]), dtype)
        wide[..., ::2] = array
        array = wide[..., ::2]
    array.flags.writeable = given["writeable"]
    return array, raw


def _bytes(array: Any) -> bytes:
    try:
        return bytes(array.tobytes())
    except Exception:  # resized, or worse
        return b"changed"


def arrays(asarray: Any, returned: Any) -> list[Any]:
    """Convert a function's result to a list of plain arrays.

    Raises
    ------
    Refused
        If the result is not an array of numbers, or not a tuple or list of such arrays.
    """
    several = isinstance(returned, tuple | list)
    parts = list(returned) if several else [returned]
    if len(parts) > MAX_ARRAYS:
        raise Refused("refused", f"returned {len(parts)} values; at most {MAX_ARRAYS} are accepted")
    found, total = [], 0
    for number, part in enumerate(parts, 1):
        name = f"value {number} of {len(parts)}" if several else "the returned value"
        if part is None:
            raise Refused("refused", f"{name} is None; is a return statement missing?")
        if isinstance(part, tuple):
            kind = type(returned).__name__
            raise Refused("refused", f"{name} is a tuple inside a {kind}; return the arrays one by one")
        try:
            array = asarray(part)  # array subclasses become plain arrays
        except (ValueError, TypeError) as error:
            raise Refused("refused", f"{name}, a {type(part).__name__}, is not an array of numbers: {error}") from None
        if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
            what = f"a {type(part).__name__}" + (f" of dtype {array.dtype}" if hasattr(part, "dtype") else "")
            raise Refused("refused", f"{name} is {what}; expected an array of real numbers of at most 64 bits")
        total += array.nbytes
        if total > MAX_BYTES:
            raise Refused("refused", f"returned {total:,} bytes, shape {array.shape}; at most {MAX_BYTES:,} are "
                          "accepted")  # fmt: skip
        found.append(array.astype(array.dtype.newbyteorder("<"), order="C", copy=False, subok=False))
    return found


def explain(error: BaseException, file: str = MODULE, beside: Collection[str] = ()) -> dict[str, Any]:
    """Return the status and message for an exception, with the last line from its traceback that is in ``file``.

    A line in one of the files ``beside`` it is given with that file's name.
    """
    if isinstance(error, Refused):
        return {"status": error.args[0], "message": error.args[1][:MAX_MESSAGE]}
    line, trace = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None, error.__traceback__
    where = ""
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name == file or name in beside:
            line, where = trace.tb_lineno, "" if name == file else f"{name}, "
        trace = trace.tb_next
    try:
        text = str(error.msg if isinstance(error, SyntaxError) else error)[:MAX_MESSAGE]
        if isinstance(error, SystemExit) and error.code is None:
            text = "exit() was called; end a function with return"
    except Exception:
        text = "(its message cannot be shown)"
    message = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, ModuleNotFoundError) and file == MODULE:
        message += "; only NumPy and Python's standard library are available"
    place = "" if line is None else f" ({where}line {line})"
    status = "memory" if isinstance(error, MemoryError) else "error"
    return {"status": status, "message": message[: MAX_MESSAGE - len(place)] + place}


def _header(descriptor: int) -> dict[str, Any]:
    (length,) = struct.unpack("<I", _read(descriptor, 4))
    return dict(json.loads(_read(descriptor, length)))


def _read(descriptor: int, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = os.read(descriptor, min(count - len(parts), 1 << 20))
        if not part:
            os._exit(0)  # the grader has closed the channel
        parts += part
    return bytes(parts)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
