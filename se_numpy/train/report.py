"""How a run tells of itself: rows for people, a file of numbers, an honest interval, and what a result means."""

import csv
import math
from pathlib import Path

from se_numpy.data.glyphs import PLAIN_BOUND


def remark(data: str, model: str, accuracy: float) -> list[str]:
    """What a result on the built-in set means; nothing where there is nothing to say."""
    if data == "builtin" and model == "resnet8":
        return [
            f"note     whatever it learns, this network cannot pass {100 * PLAIN_BOUND:.0f} % here, for no place",
            "         in it sees both the strip and the glyphs. SE does: --model se_resnet8",
        ]
    if data == "builtin" and model == "se_resnet8" and accuracy > PLAIN_BOUND:
        return [
            f"note     the same network without SE blocks cannot pass {100 * PLAIN_BOUND:.0f} % here, whatever it",
            "         learns (se_numpy/data/glyphs.py says why). See it: --model resnet8",
        ]
    return []


def wilson(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share seen in n trials (Wilson, 1927); it never leaves 0 to 1."""
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def append_metrics(path: Path, row: dict[str, float]) -> None:
    """One more row of metrics.csv, the names of the columns first."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


HEADER = """\
                   training        held out
  epoch       lr   loss   acc %    loss   acc %   img/s    time    left"""


def row_of(row: dict[str, float], epochs: int, left: float, best: bool) -> str:
    """One epoch in columns of fixed width, below HEADER; ``left`` is how many seconds the rest may take."""
    return (
        f"{row['epoch']:>3}/{epochs:<3} {row['lr']:>8.5f}"
        f" {row['train_loss']:>6.4f}  {100 * row['train_accuracy']:>6.2f}"
        f"  {row['val_loss']:>6.4f}  {100 * row['val_accuracy']:>6.2f} {row['images_per_second']:>7,.0f}"
        f" {duration(row['seconds']):>7} {duration(left):>7}{'  best so far' if best else ''}"
    )


def duration(seconds: float) -> str:
    """Seconds as people say them: 48s, 3m05s, 2h10m."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}h{m:02d}m" if hours else f"{m}m{s:02d}s" if m else f"{s}s"
