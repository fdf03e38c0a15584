"""The command line: ``se-numpy train`` and what packages add to it.  Errors are one line for people, exit code 2."""

import argparse
import difflib
import errno
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import se_numpy
from se_numpy.ablation import commands as ablation
from se_numpy.analysis import commands as gates
from se_numpy.arg_types import int_list, seconds
from se_numpy.data import commands as data
from se_numpy.grading import commands as grading
from se_numpy.interop import commands as interop


class Parser(argparse.ArgumentParser):
    """argparse, but an option it does not know is answered with the nearest one it does."""

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
        return f"there is no {what.lower()} {word!r}{f'; did you mean {near[0]}?' if near else ''}"

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            parser = getattr(found, "parser", self)
            parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 2 for something that people can mend, 130 after Ctrl-C."""
    for screen in (sys.stdout, sys.stderr):
        if hasattr(screen, "reconfigure"):
            screen.reconfigure(errors="replace")  # a terminal without × or ± shows ? and goes on
    args = _parser().parse_args(argv)
    try:
        args.run(args)
        sys.stdout.flush()
    except grading.Exit as end:
        if end.message:
            print(f"se-numpy: {end.message}", file=sys.stderr)
        return end.code
    except BrokenPipeError:  # who was reading, such as `| head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, RuntimeError, FloatingPointError, MemoryError) as error:
        print(f"se-numpy: {_sentence(error, args)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("se-numpy: stopped", file=sys.stderr)
        return 130
    return 0


def _sentence(error: BaseException, args: argparse.Namespace) -> str:
    """What went wrong, and what to do about it where that is known."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}{_advice(error, args)}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return f"not enough memory ({error}): try a smaller --batch-size"
    return str(error)


def _advice(error: OSError, args: argparse.Namespace) -> str:
    """How to go on after what the system refused."""
    folder = Path(str(error.filename)).parent
    if isinstance(error, FileNotFoundError):
        return "" if folder.is_dir() else f"; there is no folder {folder}"
    if isinstance(error, IsADirectoryError):
        return "; expected the name of a file"
    if isinstance(error, PermissionError | FileExistsError) or error.errno == errno.EROFS:
        return "; name another place with --out, or start in another folder" if hasattr(args, "out") else ""
    return "; make room, or name another place with --out" if error.errno == errno.ENOSPC else ""


def _parser() -> Parser:
    parser = Parser(prog="se-numpy", description="Squeeze-and-Excitation Networks in NumPy, by hand.")
    parser.add_argument("--version", action="version", version=f"se-numpy {se_numpy.__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    p = subparsers.add_parser("help", help="what a command does, or all of them")
    p.add_argument("words", nargs="*", metavar="COMMAND", help="default: all commands")
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
        "Train a network on the built-in data set, which needs no download, or on CIFAR-10 or -100 in a folder. "
        "A run shows its settings before it starts and keeps them in its config.json. Ctrl-C ends it after the step at "
        "hand; --resume goes on from there, to the same numbers."))  # fmt: skip
    p.set_defaults(run=_train, parser=p)
    p.add_argument("--resume", metavar="RUN", help="go on with a run: its folder, a checkpoint, or last")
    p.add_argument("--preset", metavar="NAME", help="smoke (seconds), quick (minutes; as if not given on the built-in "
                   "set) or full")  # fmt: skip
    p.add_argument("--config", metavar="FILE", help="settings from a TOML file; options given beside it win")
    p.add_argument("--print-config", action="store_true", help="print all settings as such a file, and end")
    p.add_argument("--dry-run", action="store_true", help="say what would be done and how long it takes, and end")
    what = p.add_argument_group("what (where two defaults are given, the second is for CIFAR)")
    what.add_argument("--data", metavar="PATH", help="cifar10, cifar100, or a folder with one of them "
                      "(default: the built-in set)")  # fmt: skip
    what.add_argument("--subset", type=int, metavar="N", help="learn from N of the training images (default: all)")
    what.add_argument("--model", metavar="NAME", help="for instance se_resnet20, resnet56 or se_small_vgg; "
                      "se-numpy summary lists all (default: se_resnet8, se_resnet20)")  # fmt: skip
    _add_gates(p.add_argument_group("SE blocks"))
    how = p.add_argument_group("how")
    how.add_argument("--epochs", type=int, metavar="N", help="passes over the training images (default: 6, 30)")
    how.add_argument("--time-budget", type=seconds, metavar="TIME",
                     help="as many epochs as fit, for instance in 10m or 1h30m")  # fmt: skip
    how.add_argument("--batch-size", type=int, metavar="N", help="images a step (default: 128)")
    how.add_argument("--lr", type=float, metavar="X", help="highest learning rate of the schedule (default: 0.3, 0.4; "
                     "ResNeXt's 0.1)")  # fmt: skip
    how.add_argument("--schedule", metavar="NAME", help="constant, step, cosine or one-cycle (default: one-cycle)")
    how.add_argument("--momentum", type=float, metavar="X", help="Nesterov's (default: 0.9)")
    how.add_argument("--weight-decay", type=float, metavar="X", help="on all parameters (default: 5e-4)")
    how.add_argument("--label-smoothing", type=float, metavar="X", help="default: 0")
    how.add_argument("--augment", action=argparse.BooleanOptionalAction, help="crops and flips (default: no, yes)")
    how.add_argument("--seed", type=int, metavar="N", help="decides every random number (default: 0)")
    how.add_argument("--seeds", type=int_list, metavar="0,1,2", help="a run for each, in folders of their own")
    where = p.add_argument_group("where")
    where.add_argument("--device", choices=["auto", "cpu", "gpu"], help="default: auto, a GPU where CuPy finds one")
    where.add_argument("--out", metavar="DIR", help="the run's folder (default: runs/TIME-MODEL-sSEED)")


def _add_gates(p: Any) -> None:
    """The paper's ablations, as options."""
    p.add_argument("--reduction", type=int, metavar="R", help="r (default: 4; in networks of large images 16)")
    p.add_argument("--bias", action="store_true", default=None, help="biases in the gates; Eq. (3) has none")
    p.add_argument("--gate", metavar="NAME", help="sigmoid, tanh or relu (default: sigmoid)")
    p.add_argument("--squeeze", metavar="NAME", help="avg, max or none (default: avg)")
    p.add_argument("--placement", metavar="NAME", help="standard, pre, post, identity or 3x3 (default: standard)")
    p.add_argument("--stages", type=int_list, metavar="1,2", help="blocks in these stages only (default: all)")


def _train(args: argparse.Namespace) -> None:
    from se_numpy.train.commands import run_train

    run_train(args)


def _add_networks(commands: Any) -> None:
    p = commands.add_parser("summary", help="a network's layers, shapes, parameters, multiply-adds", description=(
        "Shows a network layer by layer and what it costs: parameters; multiply-adds of convolutions and fully "
        "connected layers for one image. Nothing is computed, so the largest network takes no longer."))  # fmt: skip
    p.set_defaults(run=_summary, parser=p)
    p.add_argument("model", metavar="MODEL", nargs="?", help="for instance se_resnet20 or se_resnet50 (default: lists "
                   "all names)")  # fmt: skip
    _add_gates(p)
    p.add_argument("--classes", type=int, metavar="N", help="default: 10, for networks of large images 1000")
    p.add_argument("--size", type=int, metavar="N", help="height and width of the images (default: 32, or 224)")
    p.add_argument("--json", action="store_true", help="as JSON")
    p = commands.add_parser("complexity", help="parameters and multiply-adds beside the paper's", description=(
        "Counts each network whose parameters or FLOPs the paper prints, and names the rule by which the two agree; "
        "with MODEL, what that one costs."))  # fmt: skip
    p.set_defaults(run=_complexity, parser=p)
    p.add_argument("model", metavar="MODEL", nargs="*", help="default: the paper's tables")
    p.add_argument("--json", action="store_true", help="as JSON")


def _summary(args: argparse.Namespace) -> None:
    from se_numpy.models.commands import show_summary

    show_summary(args)


def _complexity(args: argparse.Namespace) -> None:
    from se_numpy.models.commands import show_complexity

    show_complexity(args)
