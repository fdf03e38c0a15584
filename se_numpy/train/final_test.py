"""The end of a run: evaluate the chosen network on the test set, once, and draw the training curves."""

from collections.abc import Callable
from shlex import quote

from se_numpy import checkpoint
from se_numpy.arrays import to_host
from se_numpy.data.batches import Images
from se_numpy.data.glyphs import PLAIN_BOUND
from se_numpy.install_hints import install_command
from se_numpy.train import run_dir
from se_numpy.train.console import format_result, remark
from se_numpy.train.figures import Predictions, curves
from se_numpy.train.run_dir import Run
from se_numpy.train.session import Session
from se_numpy.wrapping import wrap_text

SHOWN = 8  # number of test images drawn with their predictions


def run_final_test(run: Run, session: Session, say: Callable[[str], None]) -> None:
    """Evaluate the network of the best epoch on the test set; print and save the result, and draw the curves."""
    trees, meta = checkpoint.load(run.folder / "best.npz")
    session.learner.restore(trees)
    dataset = session.dataset
    test = Images(dataset.test_images, dataset.test_labels, session.normalise, session.device)
    loss, accuracy = session.learner.evaluate(test)
    run.result = {
        "test_loss": loss, "test_accuracy": accuracy, "test_images": len(test),
        "seconds": sum(row["seconds"] for row in run.history), "epoch": meta["history"][-1]["epoch"],
    }  # fmt: skip
    run_dir.write_json(run.folder / "result.json", run.result)
    say(format_result(run.result))
    if note := remark(dataset.name, run.config.model, accuracy):
        say(wrap_text(note, 9))
    _draw(run, session, test, say)


def _draw(run: Run, session: Session, test: Images, say: Callable[[str], None]) -> None:
    """Draw the curves and a few test images with their predictions."""
    dataset, learner, path = session.dataset, session.learner, run.folder / "curves.png"
    X, labels = test.in_order(slice(0, SHOWN))
    logits = learner.compiled.predictor(learner.params, learner.state)(X)
    predicted, true = ([dataset.classes[k] for k in to_host(a)] for a in (logits.argmax(1), labels))
    builtin = dataset.name == "builtin"
    caption = "Test images"
    if builtin:
        caption = "The strip's colour asks for a glyph; the answer is the glyph in that colour."
    title = f"{run.config.model} on {dataset.name}: test accuracy {100 * run.result['test_accuracy']:.1f} %"
    bound = (PLAIN_BOUND, "resnet8 without SE blocks cannot exceed this") if builtin else None
    predictions = Predictions(dataset.test_images[:SHOWN], predicted, true, caption)
    try:
        curves(run.history, path, title=title, bound=bound, predictions=predictions)
    except ImportError:
        say(wrap_text(f"curves   not drawn: matplotlib is not installed; {install_command('plot')}", 9))
        return
    say(f"curves   {path}\nmore     se-numpy report {quote(str(run.folder))}")
