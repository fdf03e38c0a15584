"""Pages to play with: self-contained HTML with a few lines of script, which run in any browser and load nothing.

``page(name)`` is the whole page, for a file; ``toy(name)`` shows it in a notebook.
"""

import base64
import html
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from se_numpy.analysis.builtin_cue import group_by_cue
from se_numpy.data import builtin
from se_numpy.data.glyphs import COLOURS, GLYPHS, PLACE, ROWS, SHIFTS
from se_numpy.grading.lessons.display import display

FOLDER = Path(__file__).parent


def _excitation() -> dict[str, Any]:
    """Return 18 images, three for each colour of the strip, and the weights of tutorial 7."""
    data = builtin(train=1, test=120)
    strips = group_by_cue(data.test_images).of
    chosen = np.sort(np.concatenate([np.flatnonzero(strips == c)[:3] for c in range(len(COLOURS))]))
    C = len(COLOURS)
    return {
        "colours": COLOURS, "inks": (128 + 100 * SHIFTS).astype(int).tolist(), "shifts": SHIFTS.astype(int).tolist(),
        "classes": data.classes, "glyphs": GLYPHS.astype(int).tolist(), "rows": [rows.start for rows in ROWS],
        "left": PLACE.start, "labels": data.test_labels[chosen].tolist(),
        "pictures": base64.b64encode(data.test_images[chosen].tobytes()).decode(),
        "W1": (100 * (np.eye(C) - 1.2 / C)).tolist(), "W2": (9 * np.eye(C) - 3).tolist(),
    }  # fmt: skip


def _recorded(name: str) -> Callable[[], dict[str, Any]]:
    """Return a function that reads what ``tutorials/networks/toys.py`` has recorded."""
    return lambda: json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


# In a frame a page says how high it is; the documentation's pages listen.
MEASURE = """<script>
if (parent !== window) {
  const root = document.documentElement;
  const say = () => parent.postMessage({ height: Math.ceil(root.getBoundingClientRect().height) + 2 }, "*");
  new ResizeObserver(say).observe(root);
}
</script>
"""

TOYS: dict[str, tuple[str, int, Callable[[], dict[str, Any]]]] = {  # title, height in pixels, data
    "excitation": ("You are the excitation", 760, _excitation),
    "transplant": ("A transplant of gates", 720, _recorded("transplant")),
    "epochs": ("Gates while a network learns", 520, _recorded("epochs")),
}


def page(name: str) -> str:
    """Return the page of a toy, with its data.

    Raises
    ------
    ValueError
        If there is no toy of this name.
    """
    if name not in TOYS:
        raise ValueError(f"there is no toy {name!r}; expected one of {', '.join(TOYS)}")
    template = (FOLDER / f"{name}.html").read_text(encoding="utf-8")
    data = json.dumps(TOYS[name][2](), separators=(",", ":")).replace("<", "\\u003c")
    style = (FOLDER / "style.css").read_text(encoding="utf-8")
    return template.replace("/*STYLE*/\n", style).replace("/*DATA*/", data) + MEASURE


@dataclass(frozen=True)
class Toy:
    """A page shown in a notebook, in a frame of its own."""

    name: str

    def __repr__(self) -> str:
        return f"{TOYS[self.name][0]}: a page to play with, shown in a notebook"

    def _repr_html_(self) -> str:
        title, height, _ = TOYS[self.name]
        return (
            f'<iframe title="{title}" srcdoc="{html.escape(page(self.name))}" width="100%" height="{height}" '
            'style="border: 1px solid #8886" sandbox="allow-scripts"></iframe>'
        )


def toy(name: str) -> Toy:
    """Return a toy, which a notebook shows if it is the last value of a cell; a script prints its title.

    Raises
    ------
    ValueError
        If there is no toy of this name.
    """
    page(name)
    return display(Toy(name))
