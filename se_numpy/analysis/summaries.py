"""What a study found, in plain sentences.  Each names the number it rests on; none says more than that."""

from se_numpy.analysis.builtin_cue import Answered
from se_numpy.analysis.gates import BlockSummary
from se_numpy.analysis.interventions import ALL, Outcome
from se_numpy.analysis.study import GateSummary, Study

STILL = 0.02  # gates that differ by less between images are called still
MOST, LEAST = 0.9, 0.5  # of the answers after a transplant: from here on "yes", from here on "in part"


def percent(share: float) -> str:
    """A share for people: 12.3 %; what would be rounded to nothing or to all: under 0.1 %, over 99.9 %."""
    if 0 < share < 0.0005:
        return "under 0.1 %"
    return "over 99.9 %" if 0.9995 <= share < 1 else f"{100 * share:.1f} %"


def points(o: Outcome) -> str:
    """What an intervention cost, and its interval: 1.5 points (95 % interval 0.9 to 2.1)."""
    return f"{100 * o.cost:.1f} points (95 % interval {100 * o.low:.1f} to {100 * o.high:.1f})"


def effect(o: Outcome) -> str:
    """Whether the interval leaves a doubt that accuracy was lost: "lost", "won" or "noise"."""
    return "lost" if o.low > 0 else "won" if o.high < 0 else "noise"


def findings(found: Study) -> list[str]:
    """The findings in the order a reader asks: does it matter, where, what do gates tell apart, how far do they go."""
    return [
        *([cue_answer(found)] if found.transplants else []),
        _constant(found), _open(found), _exchanged(found), _by_block(found),
        _specific(found), _still(found), _saturated(found), _gradient(found),
    ]  # fmt: skip


def of_gates(found: GateSummary) -> list[str]:
    """What the gates alone say: how much of them the class decides, how far they move, how many are saturated."""
    cued = [_cued(found)] if len(found.groupings) > 1 else []
    return [_specific(found), *cued, _still(found), _saturated(found)]


def cue_answer(found: Study) -> str:
    """Does the network read the strip's colour through its gates?  Yes, in part, or no, with the numbers."""
    everywhere: Answered = found.transplants[ALL]
    first = max(found.summaries, key=lambda b: b.between["cue"])
    mean, by_class = found.outcome(ALL, "cue mean"), found.outcome(ALL, "class mean")
    verdict = ("Yes" if everywhere.donor >= MOST else "In part" if everywhere.donor >= LEAST else "No")  # fmt: skip
    text = (
        f"Does the network read the cue, the colour of the strip, through its gates? {verdict}. Given the gates of an "
        f"image with another strip, it answers with the glyph in that other strip's colour in "
        f"{percent(everywhere.donor)} of {everywhere.images:,} cases, and with the one in the colour of the strip that "
        f"it sees in {percent(everywhere.own)}. The cue decides {percent(first.between['cue'])} of how the gates of "
        f"{first.block} vary."
    )
    if verdict == "Yes":
        text += (f" Gates averaged over the images with the same strip cost {points(mean)}, averaged over those of the "
                 f"same class {points(by_class)}: the gates carry the cue, not the answer.")  # fmt: skip
    return text


def _constant(found: Study) -> str:
    o = found.outcome(ALL, "mean")
    text = (f"With every gate held at its mean over all images the network gets {percent(o.accuracy)} right instead of "
            f"{percent(found.accuracy)}, a loss of {points(o)}.")  # fmt: skip
    return text + {
        "lost": " So what the gates do depends on the image, and they cannot be folded into the weights for nothing.",
        "noise": " That is within noise: as far as these images show, the gates could as well be constants.",
        "won": " So it does better with constants than with its own gates.",
    }[effect(o)]


def _open(found: Study) -> str:
    o = found.outcome(ALL, "one")
    return (f"With every gate open (1) it gets {percent(o.accuracy)} right, a loss of {points(o)}. Part of that is "
            "only scale: the layers behind never saw maps that strong.")  # fmt: skip


def _exchanged(found: Study) -> str:
    any_, same = found.outcome(ALL, "shuffled"), found.outcome(ALL, "within class")
    text = f"With all gates of another image it loses {points(any_)}; if that one is of the same class, {points(same)}."
    if same.high < any_.low:
        text += " So part of what the gates carry is shared by the images of a class."
    elif same.low > 0 and any_.low > 0:
        text += " That it is of the same class makes no difference that these images could show."
    return text


def _by_block(found: Study) -> str:
    single = [found.outcome(block, "mean") for block in found.gates]
    worst = max(single, key=lambda o: o.cost)
    idle = [o.block for o in single if effect(o) == "noise"]
    text = f"Held at its mean in one block alone, the gate costs most in {worst.block}: {points(worst)}."
    if effect(worst) == "noise":
        return "In no block alone does holding the gates at their mean cost more than noise."
    where = _and(idle) if len(idle) <= 3 else f"{len(idle)} of the {len(single)} blocks"
    return text + (f" In {where} it costs nothing that {found.images:,} images could show." if idle else "")


def _specific(found: GateSummary) -> str:
    first, last = found.summaries[0], found.summaries[-1]
    text = (f"How class-specific are the gates? The class decides {percent(first.between['class'])} of their variance "
            f"in {first.block}")  # fmt: skip
    if last is not first:
        most = max(found.summaries, key=lambda b: b.between["class"])
        text += f" and {percent(last.between['class'])} in {last.block}"
        text += f", most in {most.block} ({percent(most.between['class'])})" if most not in (first, last) else ""
    return text + f"; gates that know nothing of it would show {percent(first.chance['class'])}."


def _cued(found: GateSummary) -> str:
    first = max(found.summaries, key=lambda b: b.between["cue"])
    share, chance = percent(first.between["cue"]), percent(first.chance["cue"])
    return (f"The colour of the strip, which is what the image asks, decides {share} of the variance of the gates in "
            f"{first.block}; by chance it would be {chance}.")  # fmt: skip


def _still(found: GateSummary) -> str:
    still = [b for b in found.summaries if b.spread < STILL]
    most = max(found.summaries, key=lambda b: b.spread)
    text = f"The gates vary most in {most.block}: ±{most.spread:.3f} between images."
    if not still:
        return text
    near = (f", their mean between {min(b.mean for b in still):.2f} and {max(b.mean for b in still):.2f}: they scale, "
            "but they do not choose")  # fmt: skip
    return text + f" In {len(still)} of {len(found.summaries)} blocks they hardly move (less than ±{STILL:g}){near}."


def _saturated(found: GateSummary) -> str:
    most: BlockSummary = max(found.summaries, key=lambda b: b.low + b.high)
    return (f"Most saturated is {most.block}: {percent(most.low)} of its gates are below 0.05 and "
            f"{percent(most.high)} above 0.95.")  # fmt: skip


def _gradient(found: Study) -> str:
    shares = {block: p.share for block, p in found.paths.items()}
    low, high = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
    where = f"{percent(shares[low])} ({low})" + (f" to {percent(shares[high])} ({high})" if low != high else "")
    return f"Of the gradient of U, {where} comes through the gate; the rest comes directly."


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
