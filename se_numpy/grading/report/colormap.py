"""The colours of a heatmap's cells: blue below 0, orange above, which colour-blind eyes tell apart; white is 0."""

import math

_NEGATIVE, _ZERO, _POSITIVE = (33, 102, 172), (250, 250, 250), (179, 88, 6)


def colours(value: float, limit: float) -> tuple[str, str]:
    """Background and text of a cell, as #rrggbb; the text can be read on the background (contrast 4.5 at least)."""
    if math.isnan(value):
        return "#d0d0d0", "#000000"
    strength = min(1.0, abs(value) / limit) if limit > 0 else float(math.isinf(value))
    end = _NEGATIVE if value < 0 else _POSITIVE
    mixed = tuple(round(zero + (there - zero) * strength) for zero, there in zip(_ZERO, end, strict=True))
    light = _luminance(mixed)
    text = "#000000" if (light + 0.05) / 0.05 >= 1.05 / (light + 0.05) else "#ffffff"
    return "#{:02x}{:02x}{:02x}".format(*mixed), text


def _luminance(colour: tuple[int, ...]) -> float:
    """How bright a colour looks, 0 to 1: the definition of WCAG 2."""
    linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
