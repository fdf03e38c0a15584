"""The learning rates of single parameters: frozen stages, and a smaller rate for what was loaded."""

from collections.abc import Collection, Sequence

import numpy as np

from se_numpy import tree
from se_numpy.train.learner import Learner


def rates(
    learner: Learner, frozen: Collection[int] | None, loaded: Collection[str], lr_scale: float
) -> np.ndarray | None:
    """Return the factors of the learning rate of all parameters (P,), or None if all are 1.

    The factor is 0 in the frozen stages (stage 0 is everything before stage 1), and ``lr_scale`` for what was loaded.

    Raises
    ------
    ValueError
        If the network has no such stage.
    """
    names = [name for name, _ in tree.leaves(learner.params)]
    stages = _stages(names)
    for stage in frozen or ():
        if stage not in stages.values():
            known = sorted({s for s in stages.values() if s is not None})
            has = f"stages {', '.join(map(str, known))}" if len(known) > 1 else "no stages"
            raise ValueError(f"freeze names stage {stage}; the network has {has} (0 is what comes before stage 1)")
    parts = [
        np.full(leaf.size, 0 if stages[name] in (frozen or ()) else lr_scale if name in loaded else 1, np.float32)
        for name, leaf in tree.leaves(learner.params)
    ]
    vector = np.concatenate(parts)
    if not vector.any():
        raise ValueError("every parameter is frozen; expected some to train")
    return None if (vector == 1).all() else vector


def _stages(names: Sequence[str]) -> dict[str, int | None]:
    """Return the stage of each parameter: 0 before the first stage, None after the last."""
    found: dict[str, int | None] = {}
    reached = 0
    for name in names:
        first = name.partition(".")[0]
        number = first.removeprefix("stage")
        if first.startswith("stage") and number.isdigit():
            found[name] = reached = int(number)
        else:
            found[name] = None if reached else 0
    return found if reached else dict.fromkeys(names)
