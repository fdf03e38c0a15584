"""The end of a run: the test set, once, by the chosen network; what that means, and a picture."""

from collections.abc import Callable

from se_numpy import checkpoint
from se_numpy.arrays import to_host
from se_numpy.data.batches import Images
from se_numpy.data.glyphs import PLAIN_BOUND
from se_numpy.install_hints import install_command
from se_numpy.train import run_dir
from se_numpy.train.console import remark, result_of
from se_numpy.train.figures import Answers, curves
from se_numpy.train.run_dir import Run
from se_numpy.train.session import Session
from se_numpy.wrapping import wrap_text

SHOWN = 8  # test images, with what the network says of them


def run_final_test(run: Run, session: Session, say: Callable[[str], None]) -> None:
    """The test set, once, with the network of the best epoch; then what people want to see."""
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
    say(result_of(run.result))
    for line in remark(dataset.name, run.config.model, accuracy):
        say(wrap_text(line, 9))
    _draw(run, session, test, say)


def _draw(run: Run, session: Session, test: Images, say: Callable[[str], None]) -> None:
    """The curves, and a few test images with the network's answers, as a picture."""
    dataset, learner, path = session.dataset, session.learner, run.folder / "curves.png"
    X, labels = test.in_order(slice(0, SHOWN))
    logits = learner.compiled.predictor(learner.params, learner.state)(X)
    said, true = ([dataset.classes[k] for k in to_host(a)] for a in (logits.argmax(1), labels))
    builtin = dataset.name == "builtin"
    caption = "The strip on the left shows a colour; right is the glyph that has it." if builtin else "Test images"
    title = f"{run.config.model} on {dataset.name}: {100 * run.result['test_accuracy']:.1f} % of the test images right"
    bound = (PLAIN_BOUND, "no resnet8 without SE passes this") if builtin else None
    answers = Answers(dataset.test_images[:SHOWN], said, true, caption)
    try:
        curves(run.history, path, title=title, bound=bound, answers=answers)
    except ImportError:
        say(wrap_text(f"curves   not drawn: matplotlib is missing; {install_command('plot')}", 9))
        return
    say(f"curves   {path}\nmore     se-numpy report {run.folder}")
