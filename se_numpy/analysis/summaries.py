"""The findings of a study as sentences, each with the numbers that support it."""

from se_numpy.analysis.builtin_cue import AnswerShares
from se_numpy.analysis.gates import HIGH, LOW, BlockSummary
from se_numpy.analysis.interventions import ALL, Outcome
from se_numpy.analysis.study import GateSummary, Study

STILL = 0.02  # below this standard deviation between images, a block's gates count as constant
MOST, LEAST = 0.9, 0.5  # share of answers that follow the donor: at least MOST is "yes", at least LEAST "partly"


def percent(share: float) -> str:
    """Format a share as "12.3 %", and shares that would round to 0 or 100 % as "under 0.1 %" or "over 99.9 %"."""
    if 0 < share < 0.0005:
        return "under 0.1 %"
    return "over 99.9 %" if 0.9995 <= share < 1 else f"{100 * share:.1f} %"


def points(o: Outcome) -> str:
    """Format the cost of an intervention as "1.5 points (95 % interval 0.9 to 2.1)"."""
    return f"{100 * o.cost:.1f} points (95 % interval {100 * o.low:.1f} to {100 * o.high:.1f})"


def effect(o: Outcome) -> str:
    """Return "lost" or "gained" if the interval of the cost excludes 0, and "noise" if it does not."""
    return "lost" if o.low > 0 else "gained" if o.high < 0 else "noise"


def findings(found: Study) -> list[str]:
    """Return the findings: whether and where the gates matter, what they depend on, and how much they vary."""
    return [
        *([cue_answer(found)] if found.transplants else []),
        _constant(found), _open(found), _exchanged(found), _by_block(found),
        _specific(found), _still(found), _saturated(found), _gradient(found),
    ]  # fmt: skip


def of_gates(found: GateSummary) -> list[str]:
    """Return the findings about the gates alone: class-specificity, spread and saturation."""
    cued = [_cued(found)] if len(found.groupings) > 1 else []
    return [_specific(found), *cued, _still(found), _saturated(found)]


def cue_answer(found: Study) -> str:
    """Say whether the network reads the strip's colour through its gates: yes, partly or no, with the numbers."""
    everywhere: AnswerShares = found.transplants[ALL]
    first = max(found.summaries, key=lambda b: b.between["cue"])
    mean, by_class = found.outcome(ALL, "cue mean"), found.outcome(ALL, "class mean")
    verdict = "Yes" if everywhere.donor >= MOST else "Partly" if everywhere.donor >= LEAST else "No"
    text = (
        f"Does the network read the cue, the colour of the strip, through its gates? {verdict}. With the gates of an "
        f"image that has a different strip, it answers with the glyph in that strip's colour in "
        f"{percent(everywhere.donor)} of {everywhere.images:,} cases, and with the glyph in the colour of the image's "
        f"own strip in {percent(everywhere.own)}. The cue explains {percent(first.between['cue'])} of the variance of "
        f"the gates in {first.block}."
    )
    if verdict == "Yes":
        text += (f" Replacing the gates with their mean over the images with the same strip costs "
                 f"{points(mean)}; with their mean over the images of the same class, {points(by_class)}. So the gates "
                 "carry the cue, not the answer.")  # fmt: skip
    return text


def _constant(found: Study) -> str:
    o = found.outcome(ALL, "mean")
    text = (f"With every gate fixed at its mean over all images, accuracy is {percent(o.accuracy)} instead of "
            f"{percent(found.accuracy)}, a loss of {points(o)}.")  # fmt: skip
    return (
        text
        + {
            "lost": " So the gates' dependence on the image matters: constants cannot replace them without loss.",
            "noise": " That is within noise: on these images, constant gates do as well.",
            "gained": " So the network does better with constants than with its own gates.",
        }[effect(o)]
    )


def _open(found: Study) -> str:
    o = found.outcome(ALL, "one")
    text = f"With every gate fixed at 1, accuracy is {percent(o.accuracy)}, a loss of {points(o)}."
    scale = " Part of the loss is due to scale: the following layers were trained on weaker feature maps."
    return text + scale * (effect(o) == "lost")


def _exchanged(found: Study) -> str:
    any_, same = found.outcome(ALL, "shuffled"), found.outcome(ALL, "within class")
    text = (f"With the gates of another image, the network loses {points(any_)}; with those of another image of the "
            f"same class, {points(same)}.")  # fmt: skip
    if same.high < any_.low:
        text += " So images of the same class share part of what the gates carry."
    elif same.low > 0 and any_.low > 0:
        text += " On these images, gates from the same class show no clear advantage."
    return text


def _by_block(found: Study) -> str:
    single = [found.outcome(block, "mean") for block in found.gates]
    worst = max(single, key=lambda o: o.cost)
    idle = [o.block for o in single if effect(o) == "noise"]
    text = f"Fixing the gates of a single block at their mean costs most in {worst.block}: {points(worst)}."
    if effect(worst) == "noise":
        return "Fixing the gates of a single block at their mean costs no more than noise in any block."
    where = _and(idle) if len(idle) <= 3 else f"{len(idle)} of the {len(single)} blocks"
    return text + (f" In {where}, the cost is within noise on these {found.images:,} images." if idle else "")


def _specific(found: GateSummary) -> str:
    first, last = found.summaries[0], found.summaries[-1]
    text = (f"How class-specific are the gates? The class explains {percent(first.between['class'])} of their variance "
            f"in {first.block}")  # fmt: skip
    if last is not first:
        most = max(found.summaries, key=lambda b: b.between["class"])
        text += f" and {percent(last.between['class'])} in {last.block}"
        text += f", and most in {most.block} ({percent(most.between['class'])})" if most not in (first, last) else ""
    return text + f"; gates independent of the class would show {percent(first.chance['class'])}."


def _cued(found: GateSummary) -> str:
    first = max(found.summaries, key=lambda b: b.between["cue"])
    share, chance = percent(first.between["cue"]), percent(first.chance["cue"])
    return (f"The cue, the colour of the strip, explains {share} of the variance of the gates in {first.block}; gates "
            f"independent of the cue would show {chance}.")  # fmt: skip


def _still(found: GateSummary) -> str:
    still = [b for b in found.summaries if b.spread < STILL]
    most = max(found.summaries, key=lambda b: b.spread)
    text = f"The gates vary most in {most.block}: their standard deviation between images is {most.spread:.3f}."
    if not still:
        return text
    low, high = min(b.mean for b in still), max(b.mean for b in still)
    means = f"a mean gate of {low:.2f}" if len(still) == 1 else f"mean gates between {low:.2f} and {high:.2f}"
    return (f"{text} In {len(still)} of {len(found.summaries)} blocks, with {means}, it is below {STILL:g}: there, the "
            "gates scale channels but hardly depend on the image.")  # fmt: skip


def _saturated(found: GateSummary) -> str:
    most: BlockSummary = max(found.summaries, key=lambda b: b.low + b.high)
    return (f"The gates of {most.block} are the most saturated: {percent(most.low)} are below {LOW:g} and "
            f"{percent(most.high)} above {HIGH:g}.")  # fmt: skip


def _gradient(found: Study) -> str:
    shares = {block: p.share for block, p in found.paths.items()}
    low, high = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
    where = f"{percent(shares[low])} ({low})" + (f" to {percent(shares[high])} ({high})" if low != high else "")
    return f"The path through the gate carries {where} of the gradient of U; the rest arrives directly."


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
