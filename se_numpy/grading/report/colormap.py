"""Colours of heatmap cells: blue for negative values, orange for positive ones (safe for colour-blind readers)."""

import math

_NEGATIVE, _ZERO, _POSITIVE = (33, 102, 172), (250, 250, 250), (179, 88, 6)


def colours(value: float, limit: float) -> tuple[str, str]:
    """Return the background and the text colour of a cell, as #rrggbb, with a contrast of at least 4.5."""
    if math.isnan(value):
        return "#d0d0d0", "#000000"
    strength = min(1.0, abs(value) / limit) if limit > 0 else float(math.isinf(value))
    end = _NEGATIVE if value < 0 else _POSITIVE
    mixed = tuple(round(zero + (full - zero) * strength) for zero, full in zip(_ZERO, end, strict=True))
    luminance = _luminance(mixed)
    text = "#000000" if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else "#ffffff"
    return "#{:02x}{:02x}{:02x}".format(*mixed), text


def _luminance(colour: tuple[int, ...]) -> float:
    """Return the relative luminance of a colour, 0 to 1 (WCAG 2)."""
    linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
