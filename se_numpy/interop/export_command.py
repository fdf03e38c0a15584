"""The ``export`` command: write a trained network to a file that other programs run or load."""

import argparse
from pathlib import Path
from typing import Any

from se_numpy.wrapping import wrap_text


def add(commands: Any) -> None:
    """Add the parser of the command."""
    p = commands.add_parser("export", help="write a trained network to an ONNX or safetensors file", description=(
        "Write the network of a run to an ONNX file, which other programs run without this library, or its weights to "
        "a safetensors file. The ONNX file states in its metadata which images it expects, and holds the names of the "
        "classes. The number of images in a batch is free."))  # fmt: skip
    p.set_defaults(run=_export, parser=p)
    p.add_argument("file", metavar="RUN", help="folder of a run, a checkpoint, or a weights file with --model")
    p.add_argument("--onnx", metavar="FILE.onnx", help="write the network (needs the onnx package)")
    p.add_argument("--safetensors", metavar="FILE.safetensors", help="write the weights, as `se-numpy weights RUN "
                   "--out FILE` does; that command also chooses the names of the tensors")  # fmt: skip
    p.add_argument("--model", metavar="NAME", help="the network of a weights file, such as se_resnet50")
    p.add_argument("--input", metavar="FORM", default="pixels", choices=("pixels", "normalised"), help=(
        "input of the ONNX file. pixels: bytes (N, H, W, C), which the graph normalises. normalised: floats "
        "(N, C, H, W), which you normalise (default: pixels)"))  # fmt: skip
    p.add_argument("--gates", action="store_true", help="make the gates of the SE blocks outputs of the ONNX file too")
    p.add_argument("--keep-batch-norm", action="store_true",
                   help="keep batch norms as layers (default: fold them into the convolutions)")  # fmt: skip


def _export(args: argparse.Namespace) -> None:
    for option, ending in (("onnx", ".onnx"), ("safetensors", ".safetensors")):
        _check_output(getattr(args, option), f"--{option}", ending)
    if args.onnx is None and args.safetensors is None:
        raise ValueError("nothing to write; give --onnx FILE.onnx or --safetensors FILE.safetensors, or both")
    if args.onnx is not None:
        _write_onnx(args)
    if args.safetensors is not None:
        _write_safetensors(args)


def _check_output(name: str | None, option: str, ending: str) -> None:
    """Raise ValueError unless the file is new, has this ending, and its folder exists."""
    if name is None:
        return
    path = Path(name)
    if path.suffix.lower() != ending:
        raise ValueError(f"{option} is {name!r}; expected the name of a {ending} file")
    if path.exists():
        raise ValueError(f"{option} {name} already exists; choose another file name")
    if not path.parent.is_dir():
        raise ValueError(f"{option} {name}: folder {path.parent} does not exist; create it first, or give another name")


def _write_onnx(args: argparse.Namespace) -> None:
    from se_numpy.interop.onnx_file import write_onnx

    network = _network(args)
    if args.gates and not _has_gates(network):
        raise ValueError("--gates: the network has no SE blocks with one gate for each channel; leave --gates out")
    found = write_onnx(args.onnx, network, input=args.input, fold=not args.keep_batch_norm, gates=args.gates)
    size = Path(args.onnx).stat().st_size / 1e6
    print(wrap_text(f"written  {args.onnx}: {found['model']}, {size:,.1f} MB", 9))
    print(wrap_text(f"input    {found['input']}", 9))
    print(wrap_text(f"resize   {found['resize']}", 9))
    if args.input == "normalised":
        print(wrap_text(f"         mean {found['mean']}, std {found['std']}", 9))
    print(wrap_text(f"output   {found['output']}", 9))


def _network(args: argparse.Namespace) -> Any:
    """Return the network of a run or, with --model, of a weights file."""
    from se_numpy.interop.commands import checkpoint_of
    from se_numpy.interop.trained import model_name, pretrained
    from se_numpy.train.learner import Trained
    from se_numpy.train.run_dir import existing

    existing(args.file)
    if (path := checkpoint_of(args.file)) is None:
        if args.model is None:
            raise ValueError(f"{args.file} is not a run; to export a weights file, give --model NAME, such as "
                             "--model se_resnet50")  # fmt: skip
        return pretrained(args.file, model_name(args.model))
    network = Trained.load(path)
    if args.model not in (None, network.config.get("model")):
        raise ValueError(f"{path} is a checkpoint of {network.config['model']}; leave --model out")
    return network


def _has_gates(network: Any) -> bool:
    from se_numpy.layers import SE, walk

    return any(isinstance(layer, SE) for _, layer, _ in walk(network.net, network.shape))


def _write_safetensors(args: argparse.Namespace) -> None:
    """Do what ``weights RUN --out FILE`` does."""
    from se_numpy.interop.commands import convert

    convert(args.file, args.safetensors, args.model)
