"""Measure the startup time:  python benchmarks/startup.py [--json FILE]

Each call is a new Python process, timed from start to end, with its files in the disk cache and its modules compiled,
as after an installation. The relevant number is the difference between ``import se_numpy`` and ``import numpy``.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from functools import partial

from side_by_side import Call, finish, installed, medians, show

COMMANDS = {
    "python -c pass": ("-c", "pass"),
    "import numpy": ("-c", "import numpy"),
    "import se_numpy": ("-c", "import se_numpy"),
    "se-numpy --help": ("-m", "se_numpy", "--help"),
    "import torch": ("-c", "import torch"),
}


def process(compiled: str, *arguments: str) -> None:
    env = os.environ | {"PYTHONPYCACHEPREFIX": compiled}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # otherwise every call would compile all modules again
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=env)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="turns of two measured processes each")
    parser.add_argument("--without-torch", action="store_true")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    torch = not args.without_torch and installed("torch") is not None
    with tempfile.TemporaryDirectory() as compiled:
        commands: dict[str, Call] = {
            name: partial(process, compiled, *arguments)
            for name, arguments in COMMANDS.items()
            if torch or "torch" not in name
        }
        ms = medians(commands, args.repeats)
    beyond = {name: ms[name] - ms["import numpy"] for name in ("import se_numpy", "se-numpy --help")}
    rows = [[name, time, time - ms["import numpy"]] for name, time in ms.items()]
    show("new processes", ["", "ms", "more than import numpy"], rows)
    record = {"median_ms": ms, "beyond_numpy_ms": beyond, "repeats": args.repeats}
    finish(args.json, record, *(["torch"] if torch else []))


if __name__ == "__main__":
    main()
