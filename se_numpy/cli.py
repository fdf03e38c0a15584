"""The ``se-numpy`` command. Errors are reported on one line, with exit code 2."""

import argparse
import contextlib
import difflib
import errno
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import se_numpy
from se_numpy import standard_streams
from se_numpy.ablation import commands as ablation
from se_numpy.analysis import commands as gates
from se_numpy.arg_types import int_list, seconds, user_path
from se_numpy.data import commands as data
from se_numpy.grading import commands as grading
from se_numpy.interop import commands as interop

NARROW = 60  # columns; below this, usage lines are not indented to the length of the command


class Formatter(argparse.HelpFormatter):
    """A help formatter for narrow terminals, which keeps indented examples and does not break words at hyphens."""

    def _format_usage(self, *args: Any, **kwargs: Any) -> str:
        usage = super()._format_usage(*args, **kwargs)
        if self._width >= NARROW:
            return usage
        parts = re.findall(r"\[[^]]*]|\S+", usage)  # an option and its value stay on one line
        text = " ".join(part.replace(" ", "\0") for part in parts)
        cut = textwrap.TextWrapper(
            self._width, subsequent_indent="    ", break_on_hyphens=False, break_long_words=False
        )
        return cut.fill(text).replace("\0", " ") + "\n\n"

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False, break_long_words=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip("\n").split("\n\n")
        filled = [
            part if part.startswith(" ") else "\n".join(self._split_lines(part, width - len(indent)))
            for part in paragraphs
        ]  # fmt: skip
        return textwrap.indent("\n\n".join(filled), indent)


class Parser(argparse.ArgumentParser):
    """An argument parser that suggests the nearest command or option for an unknown one."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"formatter_class": Formatter, **settings})

    def error(self, message: str) -> NoReturn:
        if found := re.match(r"argument (COMMAND|ACTION): invalid choice: '(.*?)' \(", message):
            self.exit(2, f"{self.prog}: {self._unknown(*found.groups())}\ntry: {self.prog} --help\n")
        words = message.partition("unrecognized arguments: ")[2].split()
        unknown = [word for word in words if word.startswith("-")]
        known = [option for action in self._actions for option in action.option_strings]
        hints = [near[0] for word in unknown if (near := difflib.get_close_matches(word.split("=")[0], known, n=1))]
        hint = f"; did you mean {' '.join(hints)}?" if hints else ""
        self.exit(2, f"{self.prog}: {message}{hint}\ntry: {self.prog} --help\n")

    def _unknown(self, what: str, word: str) -> str:
        known = [name for action in self._actions if action.metavar == what for name in action.choices or ()]
        near = difflib.get_close_matches(word, known, n=1)
        return f"unknown {what.lower()} {word!r}{f'; did you mean {near[0]}?' if near else ''}"

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            parser = getattr(found, "parser", self)
            parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0, 2 for errors, 130 after Ctrl-C."""
    standard_streams.open_closed()
    for screen in (sys.stdout, sys.stderr):
        if hasattr(screen, "reconfigure"):
            screen.reconfigure(errors="replace")  # a terminal that cannot show × or ± shows ? instead
    argv = [_without_tilde(word) for word in (sys.argv[1:] if argv is None else argv)]
    output = standard_streams.Output(sys.stdout)
    with contextlib.redirect_stdout(output):  # type: ignore[type-var]
        try:
            code = _run(_parser().parse_args(argv or ["--help"]))
        except SystemExit:  # after --help, --version or a usage error
            if output.close() is None:
                raise
            code = 0
        error = output.close()
    if error is None or isinstance(error, BrokenPipeError):
        return code
    standard_streams.say(f"{standard_streams.NAME}: {error.strerror}; the output is incomplete, files are not")
    return max(code, 2)


def _run(args: argparse.Namespace) -> int:
    """Run a command and return its exit code; errors are reported in one sentence."""
    try:
        args.run(args)
    except grading.Exit as end:
        if end.message:
            standard_streams.say(end.message)
        return end.code
    except BrokenPipeError:  # the reader, such as `| head`, has closed the pipe
        return 0
    except (ValueError, OSError, RuntimeError, FloatingPointError, MemoryError) as error:
        if getattr(error, "filename", None) != standard_streams.NAME:  # main reports that
            standard_streams.say(_sentence(error, args))
        return 2
    except KeyboardInterrupt:
        standard_streams.say("stopped")
        return 130
    return 0


def _without_tilde(word: str) -> str:
    """Return an argument with the home folder in place of ~, which shells keep within quotes and after --option=."""
    option, path = re.fullmatch(r"(--[\w-]+=)?(.*)", word, re.DOTALL).groups(default="")  # type: ignore[union-attr]
    return f"{option}{user_path(path)}" if path.startswith("~") else word


def _sentence(error: BaseException, args: argparse.Namespace) -> str:
    """Return the message for an error, with advice if there is any."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}{_advice(error, args)}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        trains = hasattr(args, "batch_size")
        advice = "try a smaller --batch-size" if trains else "close other programs, or use a machine with more memory"
        return f"not enough memory{f' ({error})' if str(error) else ''}; {advice}"
    return str(error)


def _advice(error: OSError, args: argparse.Namespace) -> str:
    """Return advice for an operating system error."""
    folder = Path(str(error.filename)).parent
    if isinstance(error, FileNotFoundError):
        return "" if folder.is_dir() else f"; folder {folder} does not exist"
    if isinstance(error, IsADirectoryError):
        return "; expected a file name"
    if isinstance(error, PermissionError | FileExistsError) or error.errno == errno.EROFS:
        return "; choose another location with --out, or change to another folder" if hasattr(args, "out") else ""
    return "; free some disk space, or choose another location with --out" if error.errno == errno.ENOSPC else ""


def _parser() -> Parser:
    parser = Parser(prog="se-numpy", epilog="`se-numpy COMMAND --help` shows the options of a command.", description=(
        "Squeeze-and-Excitation Networks in NumPy, with handwritten gradients."))  # fmt: skip
    parser.add_argument("--version", action="version", version=f"se-numpy {se_numpy.__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    p = subparsers.add_parser("help", help="show help for a command")
    p.add_argument("words", nargs="*", metavar="COMMAND", help="a command (default: list all commands)")
    p.set_defaults(run=lambda args: parser.parse_args([*args.words, "--help"]))
    _add_train(subparsers)
    _add_networks(subparsers)
    data.add(subparsers)
    ablation.add(subparsers)
    gates.add(subparsers)
    interop.add(subparsers)
    grading.add(subparsers)
    return parser


def _add_train(commands: Any) -> None:
    p = commands.add_parser("train", help="train a network", description=(
        "Train a network on a built-in data set, which needs no download, on CIFAR-10 or CIFAR-100, or on your own "
        "images. The settings "
        "are printed before the run starts and stored in its config.json. Ctrl-C stops the run after the current step; "
        "--resume continues it and gives the same results as an uninterrupted run. Where two defaults are given, the "
        "second is for all data sets but the built-in one."))  # fmt: skip
    p.set_defaults(run=_train, parser=p)
    p.add_argument("--resume", metavar="RUN", help='continue a run: its folder, a checkpoint, or "last"; with '
                   "--epochs N, train a finished run for N more epochs in a new folder, with a new schedule and a "
                   "tenth of the run's learning rate unless --lr is given")  # fmt: skip
    p.add_argument("--preset", metavar="NAME", help="smoke (seconds), quick (minutes; the default for the built-in "
                   "data set) or full")  # fmt: skip
    p.add_argument("--config", metavar="FILE", help="read settings from a TOML file; options override it")
    p.add_argument("--print-config", action="store_true", help="print all settings as a TOML file and exit")
    p.add_argument("--dry-run", action="store_true", help="print the settings and the estimated time, and exit")
    what = p.add_argument_group("data and model")
    what.add_argument("--data", metavar="PATH", help="scenes, cifar10, cifar100, or a path: a folder with CIFAR, class "
                      "folders (train/CLASS/*.png with test/ or val/, or CLASS/*.png) or IDX files (MNIST), an .npz "
                      "file, or a .json file of COCO's format (default: the built-in glyphs)")  # fmt: skip
    what.add_argument("--task", metavar="NAME", help="classify, or detect for data with boxes of objects: scenes, or "
                      "a .json file of COCO's format (default: classify)")  # fmt: skip
    what.add_argument("--size", type=int, metavar="N", help="crop images at the centre to a square and resize them to "
                      "NxN pixels (bicubic); needed if they differ in size")  # fmt: skip
    what.add_argument("--channels", type=int, metavar="C", help="1 (grey) or 3 (colour); default: as in the data")
    what.add_argument("--subset", type=int, metavar="N", help="train on N of the training images (default: all)")
    what.add_argument("--model", metavar="NAME", help="such as se_resnet20, resnet56 or se_small_vgg; "
                      "`se-numpy summary` lists all (default: se_resnet8, se_resnet20)")  # fmt: skip
    _add_gates(p.add_argument_group("SE blocks"))
    start = p.add_argument_group("start from trained weights")
    start.add_argument("--init", metavar="FILE", help="start from a run, or a weights file of PyTorch's networks; what "
                       "fits is loaded, and the classifier is new if the classes differ")  # fmt: skip
    start.add_argument("--lr-scale", type=float, metavar="X",
                       help="multiply the learning rate of what was loaded by X (default: 1)")  # fmt: skip
    start.add_argument("--freeze", type=int_list, metavar="0,1", help="stages that are not trained; 0 is what comes "
                       "before stage 1 (default: none)")  # fmt: skip
    how = p.add_argument_group("training")
    how.add_argument("--epochs", type=int, metavar="N", help="number of epochs (default: 6, 30)")
    how.add_argument("--time-budget", type=seconds, metavar="TIME",
                     help="train as many epochs as fit in this time, such as 10m or 1h30m")  # fmt: skip
    how.add_argument("--batch-size", type=int, metavar="N", help="images per step (default: 128)")
    how.add_argument("--lr", type=float, metavar="X", help="maximum learning rate (default: 0.3, 0.4; for "
                     "ResNeXt 0.1; AdamW: 0.003)")  # fmt: skip
    how.add_argument("--schedule", metavar="NAME", help="constant, step, cosine or one-cycle (default: one-cycle)")
    how.add_argument("--optimiser", metavar="NAME", help="sgd or adamw (default: sgd)")
    how.add_argument("--momentum", type=float, metavar="X",
                     help="Nesterov momentum, or AdamW's beta1 (default: 0.9)")  # fmt: skip
    how.add_argument("--weight-decay", type=float, metavar="X",
                     help="applied to all parameters (default: 5e-4; AdamW: 0.05)")  # fmt: skip
    how.add_argument("--class-weights", metavar="W", help="weights of the classes in the loss: balanced, or a number "
                     "for each class, such as 1,1,2.5 (default: none)")  # fmt: skip
    how.add_argument("--patience", type=int, metavar="N",
                     help="end after N epochs without a better held-out accuracy (default: no limit)")  # fmt: skip
    how.add_argument("--clip-norm", type=float, metavar="X",
                     help="scale gradients whose norm exceeds X (default: no limit)")  # fmt: skip
    how.add_argument("--ema", type=float, metavar="D", help="evaluate and keep an exponential moving average of the "
                     "weights with this decay, such as 0.999 (default: none)")  # fmt: skip
    how.add_argument("--label-smoothing", type=float, metavar="X", help="smoothing factor (default: 0)")
    how.add_argument("--augment", nargs="?", const=True, metavar="WHAT",
                     help="some of crop, flip, cutout and resized-crop (for large images), with commas; alone: "
                     "crop,flip (default: none, crop,flip for images in colour)")  # fmt: skip
    how.add_argument("--no-augment", dest="augment", action="store_const", const=False, help="no augmentation")
    how.add_argument("--seed", type=int, metavar="N", help="random seed (default: 0)")
    how.add_argument("--seeds", type=int_list, metavar="0,1,2", help="one run for each seed, each in its own folder")
    where = p.add_argument_group("device and output")
    where.add_argument("--device", choices=["auto", "cpu", "gpu"],
                       help="default: auto, which uses a GPU if CuPy finds one")  # fmt: skip
    where.add_argument("--out", metavar="DIR", help="the run's folder (default: runs/TIME-MODEL-sSEED)")


def _add_gates(p: Any) -> None:
    """Add the options for the paper's ablations."""
    p.add_argument("--reduction", type=int, metavar="R",
                   help="reduction ratio r (default: 4; 16 in networks for large images)")  # fmt: skip
    p.add_argument("--bias", action="store_true", default=None, help="add biases to the SE blocks; Eq. (3) has none")
    p.add_argument("--gate", metavar="NAME", help="gate function: sigmoid, tanh or relu (default: sigmoid)")
    p.add_argument("--squeeze", metavar="NAME", help="squeeze operator: avg, max or none (default: avg)")
    p.add_argument("--placement", metavar="NAME", help="position of the SE block: standard, pre, post, identity or 3x3 "
                   "(default: standard)")  # fmt: skip
    p.add_argument("--divisor", type=int, metavar="N",
                   help="round the hidden units C/r to a multiple of N; timm uses 8 (default: 1)")  # fmt: skip
    p.add_argument("--stages", type=int_list, metavar="1,2", help="stages with SE blocks (default: all)")


def _train(args: argparse.Namespace) -> None:
    from se_numpy.train.commands import run_train

    run_train(args)


def _add_networks(commands: Any) -> None:
    p = commands.add_parser("summary", help="list the layers of a network and their cost", description=(
        "Show the layers of a network, their output shapes and parameters, and the multiply-adds of convolutions and "
        "fully connected layers for one image. The network is not run."))  # fmt: skip
    p.set_defaults(run=_summary, parser=p)
    p.add_argument("model", metavar="MODEL", nargs="?", help="such as se_resnet20 or se_resnet50 (default: list all "
                   "networks)")  # fmt: skip
    _add_gates(p)
    p.add_argument("--classes", type=int, metavar="N",
                   help="number of classes (default: 10; 1000 in networks for large images)")  # fmt: skip
    p.add_argument("--size", type=int, metavar="N",
                   help="height and width of the images (default: 32; 224 in networks for large images)")  # fmt: skip
    p.add_argument("--json", action="store_true", help="print JSON")
    p = commands.add_parser("complexity", help="compare parameters and FLOPs with the paper", description=(
        "Compare the parameters and multiply-adds of each network with the numbers printed in the paper, and state the "
        "counting rule under which they agree. With MODEL, print the cost of the given networks."))  # fmt: skip
    p.set_defaults(run=_complexity, parser=p)
    p.add_argument("model", metavar="MODEL", nargs="*", help="a network (default: those in the paper's tables)")
    p.add_argument("--json", action="store_true", help="print JSON")


def _summary(args: argparse.Namespace) -> None:
    from se_numpy.models.commands import show_summary

    show_summary(args)


def _complexity(args: argparse.Namespace) -> None:
    from se_numpy.models.commands import show_complexity

    show_complexity(args)
