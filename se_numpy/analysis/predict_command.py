"""The command ``se-numpy predict``: classify images and folders of images, and show the evidence."""

import argparse
import csv
import io
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from se_numpy.analysis.run_commands import DATA, load_data, matplotlib_needed, png_path
from se_numpy.arg_types import user_path
from se_numpy.wrapping import plural, wrap_text

MAKER = "se-numpy predict"
COLUMNS = ("image", "label", "correct")
LISTED = 5  # classes of each image in a CSV file
THRESHOLD = 0.3  # the least score of the objects that are shown


class _Weights(argparse.Action):
    """The action of --weights: RUN becomes optional, because the positional arguments are then images."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        namespace.weights = values
        for action in parser._actions:
            if action.dest in ("run_", "images"):
                action.required, action.nargs = False, "?" if action.dest == "run_" else "*"


def add(commands: Any) -> None:
    """Add the parser of the command."""
    p = commands.add_parser("predict", help="classify images, or find objects in them", description=(
        "Print the five most likely classes of an image, or the most likely class of each of several images. --figure "
        "also draws the image as the network sees it, and its gates; --explain adds the regions that speak for the "
        "answer (Grad-CAM). A network trained to detect finds objects: --threshold sets the least score, and --figure "
        "draws their boxes. Give RUN IMAGE, or --weights FILE --model NAME IMAGE for weights from another "
        "library."))  # fmt: skip
    p.add_argument("run_", metavar="RUN", help="folder of a run, or a checkpoint")
    p.add_argument("images", metavar="IMAGE", nargs="+", help="an image file, a folder with images, or test:N for test "
                   "image N, such as test:123")  # fmt: skip
    p.add_argument("--explain", action="store_true", help="also compute Grad-CAM for --figure and --json")
    p.add_argument("--part", metavar="A,B", help="with --explain: the parts of the network whose maps are used, such "
                   "as stage2 (default: its last maps)")  # fmt: skip
    p.add_argument("--figure", metavar="FILE.png", help="also draw a figure; of several images, the first 18 (needs "
                   "matplotlib)")  # fmt: skip
    p.add_argument("--csv", metavar="FILE.csv", help="also write the five most likely classes of each image as a table")
    p.add_argument("--data", metavar="PATH", help=f"data set for test:N and mean gates: {DATA}")
    p.add_argument("--weights", metavar="FILE", action=_Weights, help="weights from another library, instead of RUN")
    p.add_argument("--model", metavar="NAME", help="the network that the weights belong to, such as seresnet50")
    p.add_argument("--in-chans", type=int, metavar="C", help="with --weights: channels of the images, 1 for grey ones "
                   "(default: as in the weights)")  # fmt: skip
    p.add_argument("--threshold", type=float, metavar="X", help="of a network that detects: the least score of the "
                   "objects that are shown (default: 0.3)")  # fmt: skip
    p.add_argument("--json", action="store_true", help="print JSON")
    p.set_defaults(run=_predict, parser=p)


def _predict(args: argparse.Namespace) -> None:
    from se_numpy.analysis.detection_commands import refuse_detection_options
    from se_numpy.analysis.output_path import output_path
    from se_numpy.analysis.prediction import predict_each
    from se_numpy.train.detecting import Detection

    figure = None if args.figure is None else png_path(args.figure, "--figure", MAKER)
    table = None if args.csv is None else output_path(args.csv, "--csv", ".csv", MAKER, mark=",".join(COLUMNS))
    network, images = _with_weights(args) if args.weights is not None else _of_run(args)
    if network.task.name == Detection.name:
        _detect(args, network, images, figure)
        return
    refuse_detection_options(args, "predict")
    parts = _parts(args)
    if parts and figure is None and not args.json:
        raise ValueError("Grad-CAM is shown by --figure FILE.png and by --json; give one of them with --explain")
    single = len(images.words) == 1 and not user_path(images.words[0]).is_dir()
    shown: list[Any] = []
    with ExitStack() as outputs:
        show = outputs.enter_context(_printed(args, network, single))
        write = outputs.enter_context(_csv_rows(table)) if table is not None else None
        for found in predict_each(network, images, parts=parts):
            show(found)
            if write is not None:
                write(found)
            if figure is not None and len(shown) < 18:
                shown.append(found)
    if not images.read:
        raise ValueError(f"{' '.join(images.words)}: no image could be read; expected image files")
    if figure is not None:
        _draw(args, network, shown, figure, single)
    images.report()


def _detect(args: argparse.Namespace, network: Any, images: "_Images", figure: Path | None) -> None:
    """Find the objects in the images."""
    from se_numpy.analysis.detection_commands import predict_images, refuse_classification_options

    refuse_classification_options(args)
    threshold = THRESHOLD if args.threshold is None else args.threshold
    predict_images(network, images, threshold=threshold, as_json=args.json, figure=figure)
    if not images.read:
        raise ValueError(f"{' '.join(images.words)}: no image could be read; expected image files")
    images.report()


def _parts(args: argparse.Namespace) -> list[str | None]:
    """Return the parts of the network to explain; None stands for its last maps."""
    if args.part is not None:
        return [name.strip() for name in args.part.split(",") if name.strip()]
    return [None] if args.explain else []


class _Images:
    """The images of the command line, read one after the other; files that cannot be read are named and counted."""

    def __init__(self, words: list[str], read_file: Any, read_test: Any) -> None:
        self.words, self.read_file, self.read_test = words, read_file, read_test
        self.read = self.skipped = self.failed = 0  # failed: named on the command line, not found in a folder

    def __iter__(self) -> Iterator[Any]:
        from se_numpy.analysis.prediction import TEST, files_in

        for word in self.words:
            if word.startswith(TEST):
                self.read += 1
                yield self.read_test(word)
            elif user_path(word).is_dir():
                for path in files_in(word):
                    yield from self._file(path, named=False)
            else:
                yield from self._file(word, named=True)

    def _file(self, path: Any, named: bool) -> Iterator[Any]:
        try:
            found = self.read_file(path)
        except (OSError, ValueError) as error:
            if named and len(self.words) == 1:
                raise
            self.skipped, self.failed = self.skipped + 1, self.failed + named
            print(wrap_text(f"skipped  {error}", 9), file=sys.stderr)
            return
        self.read += 1
        yield found

    def report(self) -> None:
        """Say how many files were skipped.  Raises ValueError if some of them were named on the command line."""
        counts = f"{plural(self.skipped, 'file')} skipped, {plural(self.read, 'image')} classified"
        if self.failed:
            raise ValueError(f"{counts}; the files above could not be read")
        if self.skipped:
            print(wrap_text(f"skipped  {counts}", 9), file=sys.stderr)


def _of_run(args: argparse.Namespace) -> tuple[Any, _Images]:
    """Return the network of a run and its images."""
    from se_numpy.analysis.network import check_fit, load
    from se_numpy.analysis.prediction import image_file, numbered_image
    from se_numpy.train.run_dir import existing

    if args.model is not None or args.in_chans is not None:
        option = "--model" if args.model is not None else "--in-chans"
        raise ValueError(f"{option} is used only with --weights; a run already records its network")
    network = load(existing(args.run_))
    sets: list[Any] = []

    def numbered(word: str) -> Any:
        if not sets:
            sets.append(load_data(args.run_, network, args.data))
            check_fit(network, sets[0])
        return numbered_image(sets[0], word)

    return network, _Images(args.images, lambda path: image_file(path, network.shape), numbered)


def _with_weights(args: argparse.Namespace) -> tuple[Any, _Images]:
    """Return the network of --weights, and its images, prepared as these weights expect them."""
    from se_numpy.analysis.network import Network
    from se_numpy.analysis.prediction import TEST, InputImage
    from se_numpy.interop import prepare, pretrained
    from se_numpy.interop.trained import model_name
    from se_numpy.interop.unwrapping import printed_choices

    words = [word for word in (args.run_, *(args.images or ())) if word is not None]
    if not words:
        raise ValueError("--weights takes images and no RUN; got no image")
    if runs := [word for word in words if (user_path(word) / "config.json").is_file()]:
        raise ValueError(f"--weights takes images and no RUN; {runs[0]} is the folder of a run")
    if args.model is None:
        raise ValueError("--weights does not say which network the weights belong to; give --model NAME, "
                         "such as --model seresnet50")  # fmt: skip
    if numbered := [word for word in words if word.startswith(TEST)]:
        raise ValueError(f"{numbered[0]} is a test image of a run's data set; with --weights, give image files")
    with printed_choices(lambda text: print(wrap_text(f"weights  {text}", 9), file=sys.stderr)):
        found = pretrained(args.weights, model_name(args.model), in_chans=args.in_chans)
    network = Network(**vars(found))
    how = network.config.get("prepare", {})  # the resizing these weights were trained with
    return network, _Images(words, lambda path: InputImage(prepare(path, network.shape, **how), str(path)), None)


@contextmanager
def _printed(args: argparse.Namespace, network: Any, single: bool) -> Iterator[Any]:
    """Yield a function that prints a prediction: text for one image, a row for each of several, or JSON."""
    from se_numpy.analysis.run_summaries import prediction_row, prediction_text

    if single:
        yield lambda found: print(json.dumps(found.as_json(), indent=2) if args.json
                                  else prediction_text(found, sys.stdout.encoding))  # fmt: skip
    elif args.json:
        started: list[bool] = []

        def show(found: Any) -> None:
            print("," if started else "[")
            print(json.dumps(found.as_json()), end="", flush=True)
            started.append(True)

        yield show
        print("\n]" if started else "[]")
    else:
        width = min(30, max(map(len, network.classes)))
        yield lambda found: print(prediction_row(found, width), flush=True)


@contextmanager
def _csv_rows(path: Path) -> Iterator[Any]:
    """Yield a function that writes a prediction as a row of a table; the file appears once it is complete."""
    from se_numpy.checkpoint import atomic_write

    with atomic_write(path) as file:
        text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)  # type: ignore[type-var]
        rows = csv.writer(text)
        rows.writerow([*COLUMNS, *(f"{what}_{k}" for k in range(1, LISTED + 1) for what in ("class", "p"))])

        def write(found: Any) -> None:
            label = "" if found.shown.label is None else found.classes[found.shown.label]
            correct = "" if found.right is None else str(found.right)
            rows.writerow(
                [found.shown.name, label, correct, *(v for name, p in found.top() for v in (name, f"{p:.6f}"))]
            )

        yield write
        text.detach()  # so that ``file`` stays open


def _draw(args: argparse.Namespace, network: Any, shown: list[Any], path: Path, single: bool) -> None:
    """Draw one prediction, with the mean gates if the network's data set is available, or a sheet of several."""
    from se_numpy.analysis.prediction import mean_gates

    means = {}
    if single and network.blocks and args.weights is None:
        try:
            means = mean_gates(network, load_data(args.run_, network, args.data))
        except (ValueError, OSError) as error:
            print(f"figure   without mean gates: {error}", file=sys.stderr)
    with matplotlib_needed():
        from se_numpy.analysis import run_pictures

        figure = run_pictures.prediction(shown[0], means) if single else run_pictures.sheet(shown)
        figure.savefig(path, dpi=130, metadata={"Software": MAKER})
    print(f"figure   {path}", file=sys.stderr if args.json else sys.stdout)
