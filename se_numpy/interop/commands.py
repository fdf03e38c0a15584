"""The command line of weights: ``se-numpy weights FILE --model NAME`` says what fits, and converts."""

import argparse
from contextlib import suppress
from pathlib import Path
from typing import Any

from se_numpy.wrapping import wrap_text

SCHEMES = "se_numpy, legacy, moskomule, inception, torchvision or timm"


def add(commands: Any) -> None:
    """The parser of the command."""
    p = commands.add_parser("weights", help="whether weights from elsewhere fit; convert them", description=(
        "Says under whose names the tensors of a file are, whether they are those of a network, and if not, what "
        "differs; with --out writes them again, under other names if asked. Reads .safetensors, .npz, checkpoints of "
        "runs and, where PyTorch is installed, .pt, .pth and .bin. Nothing in a file is executed."))  # fmt: skip
    p.set_defaults(run=_weights, parser=p)
    p.add_argument("file", metavar="FILE", help="a file of weights, a checkpoint, or the folder of a run")
    p.add_argument("--model", metavar="NAME", help="for instance se_resnet50; a run knows its own")
    p.add_argument("--scheme", metavar="S", help=f"whose names the file's are: {SCHEMES} (default: they are "
                   "recognised)")  # fmt: skip
    p.add_argument("--out", metavar="FILE", help="write the weights to this .safetensors or .npz file")
    p.add_argument("--to", metavar="S", help="under whose names to write, one of the same (default: the "
                   "file's; of a run, timm's)")  # fmt: skip


def _weights(args: argparse.Namespace) -> None:
    from se_numpy.interop.schemes import named

    if args.to is not None:
        named(args.to, ())  # complains before anything is read
    if args.out is not None and Path(args.out).exists():
        raise ValueError(f"--out {args.out} exists already; nothing is overwritten: name another file")
    if args.out is None and args.to is not None:
        raise ValueError("--to says under whose names to write, and nothing is written without --out FILE")
    checkpoint = _checkpoint(args.file)
    trees = _of_run(checkpoint, args) if checkpoint else _of_file(args)
    if args.out is not None:
        _write(args, *trees)


def _checkpoint(file: str) -> Path | None:
    """The checkpoint that a run left at FILE, if it is one."""
    import zipfile

    from se_numpy.train.run_dir import existing

    path = Path(file)
    if path.is_dir():
        if not (existing(path) / "best.npz").is_file():
            raise ValueError(f"{file} holds no best.npz: no epoch of the run has ended yet")
        return path / "best.npz"
    if path.suffix == ".npz" and zipfile.is_zipfile(path):
        with suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:  # who reads it says what is wrong
            return path if "meta.npy" in archive.namelist() else None
    return None


def _of_run(path: Path, args: argparse.Namespace) -> tuple[Any, ...]:
    from se_numpy.interop.trained import SETTINGS
    from se_numpy.train.learner import Trained

    run = Trained.load(path)
    model = run.config["model"]
    if args.model not in (None, model):
        raise ValueError(f"{path} is a run of {model}; expected --model {model}, or none")
    if args.scheme is not None:
        raise ValueError("--scheme is for files from elsewhere; for a run, --to says under whose names to write")
    print(f"{path}: the checkpoint of a run\nmodel    {model}, images of {_by(run.shape)}, {len(run.classes)} classes")
    about = {
        "model": model, "image_shape": list(run.shape), "classes": list(run.classes),
        "settings": {"classes": len(run.classes), **{
            name: run.config[name] for name in SETTINGS if run.config.get(name) is not None
        }},
        "mean": run.normalise.mean.tolist(), "std": run.normalise.std.tolist(),
    }  # fmt: skip
    return run.net, run.shape, run.params, run.state, about, None


def _of_file(args: argparse.Namespace) -> tuple[Any, ...]:
    import numpy as np

    from se_numpy import models
    from se_numpy.interop.files import about, read
    from se_numpy.interop.matching import settings_of
    from se_numpy.interop.schemes import named
    from se_numpy.interop.trained import said_of
    from se_numpy.interop.weights import bare, load, shapes_of

    arrays = bare(read(args.file))
    scheme = named(args.scheme, arrays)
    model = args.model or about(args.file).get("model")
    types = ", ".join(sorted({str(array.dtype) for array in arrays.values()}))
    print(f"{args.file}: {len(arrays)} tensors, {sum(a.size for a in arrays.values()):,} numbers, {types}")
    print(wrap_text(f"scheme   {scheme.name}: {scheme.says}", 9))
    if not isinstance(model, str):
        raise ValueError("expected --model NAME, the network that the weights should fit")
    said = said_of(args.file, model)
    shape = said.get("image_shape") or models.image_shape(model)
    settings = {**settings_of(shapes_of(arrays), model, scheme, shape), **said.get("settings", {})}
    params, state = load(arrays, model, shape, scheme=scheme, **settings)
    given = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    print(wrap_text(f"fits     {model}{f' with {given}' if given else ''}", 9))
    broken = [name for name, array in arrays.items() if array.dtype.kind == "f" and not np.isfinite(array).all()]
    if broken:
        print(f"but      {len(broken)} tensors hold infinities or what is no number, such as {broken[0]}")
    kept = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in said.items()}
    return models.build(model, **settings), shape, params, state, {**kept, "model": model, "settings": settings}, scheme


def _write(args: argparse.Namespace, net: Any, shape: Any, params: Any, state: Any, about: Any, scheme: Any) -> None:
    from se_numpy.interop.files import write
    from se_numpy.interop.schemes import named
    from se_numpy.interop.weights import dump, suitable

    scheme = named(args.to, ()) if args.to is not None else scheme or suitable(net, shape)
    arrays = dump(net, shape, params, state, scheme=scheme)
    write(args.out, arrays, about)
    print(f"written  {args.out}: {len(arrays)} tensors under the names of {scheme.name}")
    if said := note(net, about, scheme):
        print(wrap_text(f"note     {said}", 9))


def note(net: Any, about: dict[str, Any], scheme: Any) -> str:
    """What a network has that one under these names by custom has not: names alone do not tell it."""
    import inspect

    from se_numpy import models

    takes = inspect.signature(models.KNOWN[about["model"]].make).parameters
    custom = {name: value for name, value in scheme.settings.items() if name in takes}
    if not custom or models.build(about["model"], **{**about["settings"], **custom}) == net:
        return ""
    usual = ", ".join(f"{name}={value!r}" for name, value in custom.items())
    return f"networks under these names have {usual} by custom; this one has not, so build theirs like it"


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
