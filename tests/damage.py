"""Randomly damaged files, for the tests of every function that reads a file.

Set SE_NUMPY_FUZZ=10000 to run that many cases of each kind.
"""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

FUZZ = settings(
    max_examples=int(os.environ.get("SE_NUMPY_FUZZ", 0)) or 100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@st.composite
def damaged(draw, good):
    """Return the content of a valid file with a few bytes changed, removed or inserted, or with its end cut off."""
    content = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        at, kind = draw(st.integers(0, len(content) - 1)), draw(st.sampled_from(["flip", "set", "cut", "put", "end"]))
        if kind == "flip":
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set":
            content[at] = draw(st.sampled_from([0, 1, 0x7F, 0xFF]))
        elif kind == "cut":
            del content[at : at + draw(st.integers(1, 40))]
        elif kind == "put":
            content[at:at] = draw(st.binary(min_size=1, max_size=40))
        else:
            del content[at + 1 :]
        content = content or bytearray(b"x")
    return bytes(content)
