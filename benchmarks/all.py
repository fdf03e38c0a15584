"""Run all timing benchmarks and write results/:  python benchmarks/all.py [--results FOLDER] [--small]

This takes about forty minutes on two otherwise idle cores, most of it in torch.compile (table.py). A test compares the
speed table in the README with results/table.json, so update the README after new measurements.
"""

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

# minimal options for each benchmark, to test that it runs; the numbers mean nothing
SMALL = {
    "operations": "--batch 2 --resnet50-batch 1 --resnet50-size 32 --repeats 1",
    "step": "--model se_resnet8 --batch 2 --batches 3 --repeats 1 --no-memory",
    "growth": "--batch 1 2 --size 8 16 --width 1 2 --depth 8 14 --base-batch 1 --repeats 1",
    "table": "--small --no-compile --no-memory --repeats 1",
    "startup": "--repeats 1 --without-torch",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=HERE / "results", metavar="FOLDER")
    parser.add_argument("--small", action="store_true", help="only test that everything runs; the numbers mean nothing")
    args = parser.parse_args()
    if args.small and args.results == HERE / "results":
        parser.error("--small would overwrite the measured results; give --results FOLDER as well")
    args.results.mkdir(parents=True, exist_ok=True)
    for name, small in SMALL.items():
        print(f"\n==== {name}", flush=True)
        options = small.split() if args.small else []
        file = args.results / f"{name}.json"
        subprocess.run([sys.executable, str(HERE / f"{name}.py"), *options, "--json", str(file)], check=True)


if __name__ == "__main__":
    main()
