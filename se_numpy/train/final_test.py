"""The end of a run: evaluate the chosen network on the test set, once, and draw the training curves."""

from collections.abc import Callable
from shlex import quote

from se_numpy import checkpoint
from se_numpy.arrays import to_host
from se_numpy.data import short_name
from se_numpy.data.batches import Images
from se_numpy.data.glyphs import PLAIN_BOUND
from se_numpy.install_hints import install_command
from se_numpy.train import run_dir
from se_numpy.train.console import Console, format_result, remark
from se_numpy.train.figures import Predictions, curves
from se_numpy.train.run_dir import Run
from se_numpy.train.session import Session
from se_numpy.train.tasks import TASKS
from se_numpy.wrapping import wrap_text

CURVES = "curves.png"
SHOWN = 8  # number of test images drawn with their predictions


def run_final_test(run: Run, session: Session, say: Console) -> None:
    """Evaluate the network of the best epoch on the test set; print and save the result, and draw the curves."""
    trees, meta = session.read(run.folder / "best.npz")
    session.learner.restore(trees)
    dataset = session.dataset
    test = session.task.images(dataset, "test", session.normalise, session.device)
    found = session.evaluate(test, say.terminal, "test")
    run.result = {
        **{f"test_{name}": value for name, value in found.items()}, "test_images": len(test),
        "seconds": sum(row["seconds"] for row in run.history), "epoch": meta["history"][-1]["epoch"],
    }  # fmt: skip
    run_dir.write_json(run.folder / "result.json", run.result)
    say(format_result(run.result, session.task))
    if note := remark(dataset.name, run.config.model, found[session.task.metric]):
        say(wrap_text(note, 9))
    draw(run, session, say)


def draw(run: Run, session: Session | None, say: Callable[[str], None]) -> None:
    """Draw the curves of a finished run and, given its network and data, a few test images with their predictions."""
    name = short_name(run.config.data) if session is None else session.dataset.name
    builtin = name == "builtin"
    task = TASKS[run.config.task]
    score = f"{task.words[0]} {100 * run.result[f'test_{task.metric}']:.1f} %"
    title = f"{run.config.model} on {name}: test {score}"
    bound = (PLAIN_BOUND, "resnet8 without SE blocks cannot exceed this") if builtin else None
    predictions = None if session is None or not task.counts else _predictions(session, builtin)
    path = run.folder / CURVES
    try:
        with checkpoint.atomic_write(path) as file:
            curves(run.history, file, title=title, bound=bound, predictions=predictions)
    except ImportError:
        say(wrap_text(f"curves   not drawn: matplotlib is not installed; {install_command('plot')}", 9))
        return
    say(f"curves   {path}")
    if session is None or session.dataset.loaded_from:
        say(f"more     se-numpy report {quote(str(run.folder))}")
    else:
        call = f"se_numpy.analysis.run_page.write_report({str(run.folder)!r}, dataset)"
        say(wrap_text(f"more     in Python, with the same arrays: {call}", 9))


def _predictions(session: Session, builtin: bool) -> Predictions:
    """Return the first test images with the predictions of the network."""
    dataset, learner = session.dataset, session.learner
    images, labels = dataset.test_images[:SHOWN], dataset.test_labels[:SHOWN]
    test = Images(images, labels, session.normalise, session.device)
    X, _ = test.in_order(slice(0, SHOWN))
    trees = learner.averages() if session.ema else (learner.params, learner.state)
    logits = learner.compiled.predictor(*trees)(X)
    predicted, true = ([dataset.classes[k] for k in a] for a in (to_host(logits.argmax(1)), labels))
    caption = "The strip's colour asks for a glyph; the answer is the glyph in that colour."
    return Predictions(images, predicted, true, caption if builtin else "Test images")
