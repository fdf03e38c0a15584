"""The command line: ``weights`` checks whether a weights file fits a network, and converts it; and ``export``."""

import argparse
from contextlib import suppress
from pathlib import Path
from typing import Any

from se_numpy.interop import export_command
from se_numpy.wrapping import wrap_text

SCHEMES = "se_numpy, legacy, moskomule, inception, torchvision or timm"


def add(commands: Any) -> None:
    """Add the parsers of ``weights`` and ``export``."""
    export_command.add(commands)
    p = commands.add_parser("weights", help="check or convert pretrained weights", description=(
        "Detect the naming scheme of a weights file, check whether its tensors fit a network, and list all "
        "differences. With --out, write the weights to a new file; --to chooses its naming scheme. Reads .safetensors "
        "and .npz files, checkpoints of runs, files of torch.save if PyTorch is installed, and indexes of several "
        "files. The content decides, not the ending. No code in a file is executed."))  # fmt: skip
    p.set_defaults(run=_weights, parser=p)
    p.add_argument("file", metavar="FILE", help="a weights file, a checkpoint, or the folder of a run")
    p.add_argument("--model", metavar="NAME", help="the network, such as se_resnet50 (not needed for a run)")
    p.add_argument("--scheme", metavar="S", help=f"the naming scheme of the file: {SCHEMES} (default: detected)")
    p.add_argument("--no-ema", action="store_true", help="if the file holds averaged weights (EMA) and others, take "
                   "the others (default: the averaged ones, as in timm)")  # fmt: skip
    p.add_argument("--part", metavar="NAME", help="the entry or prefix in the file that holds the weights, such as "
                   "state_dict or teacher (default: found)")  # fmt: skip
    p.add_argument("--in-chans", type=int, metavar="C", help="channels of the images, 1 for grey ones; the first "
                   "filters are adapted as in timm (default: as in the file)")  # fmt: skip
    p.add_argument("--out", metavar="FILE", help="write the weights to this .safetensors or .npz file")
    p.add_argument("--to", metavar="S", help="the naming scheme to write (default: that of the file; for a run, "
                   "timm or the first that fits)")  # fmt: skip


def _weights(args: argparse.Namespace) -> None:
    from se_numpy.interop.schemes import get_scheme

    if args.to is not None:
        get_scheme(args.to, ())  # refuse an unknown scheme before reading the file
    if args.out is not None and Path(args.out).exists():
        raise ValueError(f"--out {args.out} already exists; choose another file name")
    if args.out is None and args.to is not None:
        raise ValueError("--to needs --out FILE, the file to write")
    checkpoint = checkpoint_of(args.file)
    trees = _of_run(checkpoint, args) if checkpoint else _of_file(args)
    if args.out is not None:
        _write(args, *trees)


def convert(file: str, out: str, model: str | None = None) -> None:
    """Write weights to another file, as ``weights FILE --out OUT --model MODEL`` does."""
    chosen = {"scheme": None, "no_ema": False, "part": None, "in_chans": None, "to": None}
    _weights(argparse.Namespace(file=file, out=out, model=model, **chosen))


def checkpoint_of(file: str) -> Path | None:
    """Return the path of the checkpoint if FILE is a run or a checkpoint, else None."""
    import zipfile

    from se_numpy.train.run_dir import existing

    path = Path(file)
    if path.is_dir():
        if not (existing(path) / "best.npz").is_file():
            raise ValueError(f"{file} contains no best.npz: the run has not completed an epoch")
        return path / "best.npz"
    if zipfile.is_zipfile(path):
        with (
            suppress(zipfile.BadZipFile, ValueError, OSError, NotImplementedError),
            zipfile.ZipFile(path) as archive,
        ):  # the reader reports a damaged file
            return path if "meta.npy" in archive.namelist() else None
    return None


def _of_run(path: Path, args: argparse.Namespace) -> tuple[Any, ...]:
    from se_numpy.interop.trained import SETTINGS
    from se_numpy.train.learner import Trained

    run = Trained.load(path)
    model = run.config["model"]
    if args.model not in (None, model):
        raise ValueError(f"{path} is a checkpoint of {model}; expected --model {model}, or no --model")
    if args.scheme is not None:
        raise ValueError("--scheme is for files from other libraries; for a run, choose the names to write with --to")
    if args.no_ema or args.part is not None or args.in_chans is not None:
        raise ValueError("--no-ema, --part and --in-chans are for files from other libraries, not for a run")
    print(wrap_text(f"{path}: the checkpoint of a run", 9))
    print(wrap_text(f"model    {model}, images {_by(run.shape)}, {len(run.classes)} classes", 9))
    metadata = {
        "model": model, "image_shape": list(run.shape), "classes": list(run.classes),
        "settings": {"classes": len(run.classes), **{
            name: run.config[name] for name in SETTINGS if run.config.get(name) is not None
        }},
        "mean": run.normalise.mean.tolist(), "std": run.normalise.std.tolist(),
    }  # fmt: skip
    return run.net, run.shape, run.params, run.state, metadata, None


def _of_file(args: argparse.Namespace) -> tuple[Any, ...]:
    import numpy as np

    from se_numpy import models
    from se_numpy.interop.channels import fit_channels
    from se_numpy.interop.files import read, read_metadata
    from se_numpy.interop.matching import infer_settings
    from se_numpy.interop.schemes import get_scheme
    from se_numpy.interop.trained import trusted_metadata
    from se_numpy.interop.unwrapping import printed_choices
    from se_numpy.interop.weights import load, shapes_of

    with printed_choices(lambda text: print(wrap_text(f"weights  {text}", 9))):
        arrays = read(args.file, ema=not args.no_ema, part=args.part)
    scheme = get_scheme(args.scheme, arrays)
    model = args.model or read_metadata(args.file).get("model")
    types = ", ".join(sorted({str(array.dtype) for array in arrays.values()}))
    size = sum(array.size for array in arrays.values())
    print(wrap_text(f"{args.file}: {_tensors(len(arrays))}, {size:,} values, {types}", 9))
    print(wrap_text(f"scheme   {scheme.name}: {scheme.description}", 9))
    if not isinstance(model, str):
        raise ValueError("expected --model NAME, the network to check the weights against")
    stored = trusted_metadata(args.file, model)
    arrays, shape = fit_channels(arrays, model, scheme, stored.get("image_shape"), args.in_chans)
    settings = {**infer_settings(shapes_of(arrays), model, scheme, shape), **stored.get("settings", {})}
    params, state = load(arrays, model, shape, scheme=scheme, **settings)
    given = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    print(wrap_text(f"fits     {model}{f' with {given}' if given else ''}{_images(shape, model)}", 9))
    broken = [name for name, array in arrays.items() if array.dtype.kind == "f" and not np.isfinite(array).all()]
    if broken:
        verb = "contains" if len(broken) == 1 else "contain"
        example = broken[0] if len(broken) == 1 else f"such as {broken[0]}"
        print(wrap_text(f"warning  {_tensors(len(broken))} {verb} NaN or infinite values: {example}", 9))
    kept = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in stored.items()}
    metadata = {**kept, "model": model, "settings": settings, "image_shape": list(shape)}
    return models.build(model, **settings), shape, params, state, metadata, scheme


def _write(
    args: argparse.Namespace, net: Any, shape: Any, params: Any, state: Any, metadata: Any, scheme: Any
) -> None:  # fmt: skip
    from se_numpy.interop.files import write
    from se_numpy.interop.schemes import get_scheme
    from se_numpy.interop.weights import default_scheme, dump

    scheme = get_scheme(args.to, ()) if args.to is not None else scheme or default_scheme(net, shape)
    arrays = dump(net, shape, params, state, scheme=scheme)
    write(args.out, arrays, metadata)
    print(wrap_text(f"written  {args.out}: {_tensors(len(arrays))}, named as in the {scheme.name} scheme", 9))
    if text := note(net, metadata, scheme):
        print(wrap_text(f"note     {text}", 9))


def note(net: Any, metadata: dict[str, Any], scheme: Any) -> str:
    """Describe a difference from the usual network with these tensor names that the names do not show."""
    import inspect

    from se_numpy import models

    accepted = inspect.signature(models.KNOWN[metadata["model"]].make).parameters
    usual = {name: value for name, value in scheme.settings.items() if name in accepted}
    if not usual or models.build(metadata["model"], **{**metadata["settings"], **usual}) == net:
        return ""
    listed = ", ".join(f"{name}={value!r}" for name, value in usual.items())
    return f"networks with these names usually have {listed}; this one differs, so build the other network accordingly"


def _images(shape: tuple[int, ...], model: str) -> str:
    from se_numpy import models

    return "" if shape == models.image_shape(model) else f", images {_by(shape)}"


def _tensors(count: int) -> str:
    return f"{count} tensor{'' if count == 1 else 's'}"


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
