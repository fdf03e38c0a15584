"""Shapes that explain themselves: one line in an operation names every axis, and a wrong array gets told what it is."""

from functools import cache

from se_numpy.backend import Array, array_module


def check(spec: str, *arrays: Array) -> tuple[int, ...]:
    """Bind the letters of ``spec`` to the arrays' sizes and return them in order of appearance.

    ``check("U: N H W C, s: N C", U, s)`` returns (N, H, W, C). A letter seen twice must have one size; a trailing
    ``...`` stands for any further axes. A shape, as a tuple of integers, may stand in for an array.

    Raises TypeError for something that is no array of float32 or float64 (or complex, for derivatives), or for arrays
    of NumPy and CuPy at once; ValueError for a wrong shape, naming the array, its shape and the expected one.
    """
    array_module(*(x for x in arrays if hasattr(x, "dtype")))
    sizes: dict[str, int] = {}
    for (name, letters, open_ended), x in zip(_parse(spec), arrays, strict=True):
        if isinstance(x, tuple):
            shape = x
        elif not hasattr(x, "dtype"):
            raise TypeError(f"{name} is a {type(x).__name__}; expected a NumPy or CuPy array of shape {_show(letters)}")
        elif x.dtype.kind not in "fc" or x.dtype.itemsize < 4:  # sums of float16 overflow at 65,504
            raise TypeError(f"{name} has dtype {x.dtype}; expected float32 or float64, by {name}.astype('float32')")
        else:
            shape = x.shape
        fits = len(shape) >= len(letters) if open_ended else len(shape) == len(letters)
        if not fits or any(sizes.get(a, n) != n for a, n in zip(letters, shape, strict=False)):
            known = [str(sizes.get(a, a)) for a in letters]
            means = f" = {_show(tuple(known))}" if any(a in sizes for a in letters) else ""
            raise ValueError(f"{name} has shape {tuple(shape)}; expected {_show(letters, open_ended)}{means}")
        if 0 in shape:
            raise ValueError(f"{name} has shape {tuple(shape)}; expected at least one number along every axis")
        sizes.update(zip(letters, shape, strict=False))
    return tuple(sizes.values())


def check_like(name: str, x: Array, of: str, shape: tuple[int, ...], kinds: str = "fc") -> None:
    """Raise as ``check`` unless the array x has this shape, that of ``of``, and a dtype of one of ``kinds``."""
    if not hasattr(x, "dtype") or x.dtype.kind not in kinds:
        wanted = "bool" if kinds == "b" else "float32 or float64"
        raise TypeError(f"{name} is {getattr(x, 'dtype', type(x).__name__)}; expected an array of {wanted}")
    if x.shape != shape:
        raise ValueError(f"{name} has shape {x.shape}; expected the shape of {of}, {shape}")


@cache
def _parse(spec: str) -> list[tuple[str, tuple[str, ...], bool]]:
    rows = []
    for part in spec.split(", "):
        name, letters = part.split(": ")
        axes = tuple(letters.split())
        open_ended = axes[-1] == "..."
        rows.append((name, axes[:-1] if open_ended else axes, open_ended))
    return rows


def _show(letters: tuple[str, ...], open_ended: bool = False) -> str:
    inner = ", ".join(letters) + (", ..." if open_ended else "")
    return f"({inner},)" if len(letters) == 1 and not open_ended else f"({inner})"
