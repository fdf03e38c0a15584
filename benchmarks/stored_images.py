"""Compare image sets in memory with those read batch by batch:  python benchmarks/stored_images.py [--json FILE]

JPEG files are drawn into class folders and loaded twice: the first time they are decoded into the cache, the second
time they are mapped. Then a new process for each way takes an epoch of shuffled and augmented batches. Its memory is
counted without mapped pages, which the system takes back when it needs them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from side_by_side import finish, show

from se_numpy import data
from se_numpy.data.augmentation import draw
from se_numpy.data.batches import Images, Normalisation, StoredImages

CLASSES = 10
BATCH = 128


def write_images(folder: Path, images: int, size: int) -> None:
    """Write smooth random images as JPEG files, to one folder for each class."""
    rng = np.random.default_rng(0)
    for label in range(CLASSES):
        (folder / f"class{label}").mkdir(parents=True)
    for i in range(images):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
        coarse.resize((size, size), Image.Resampling.BICUBIC).save(folder / f"class{i % CLASSES}" / f"{i}.jpg")


def epoch(way: str, folder: Path) -> dict[str, float]:
    """Take one epoch of batches and return the images per second and the memory that it needed, in MB."""
    dataset = data.load(folder)
    images, labels = dataset.train_images, dataset.train_labels
    normalise = Normalisation(np.full(3, 0.5), np.full(3, 0.25))
    before = resident()
    start = time.perf_counter()
    if way == "in memory":
        batches = Images(np.array(images), labels, normalise)
    else:
        batches = StoredImages(images, labels, np.arange(len(images)), normalise)
    made = time.perf_counter() - start
    draws = draw(np.random.default_rng(1), len(labels), augment="crop,flip")
    most, start = 0.0, time.perf_counter()
    for first in range(0, len(labels), BATCH):
        batches.batch(draws, slice(first, first + BATCH))
        most = max(most, resident())
    return {
        "seconds_to_make": made,
        "images_per_second": len(labels) / (time.perf_counter() - start),
        "mb": most - before,
    }


def resident() -> float:
    """Return the memory of this process that is not mapped from files, in MB.  Linux only."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000, metavar="N")
    parser.add_argument("--size", type=int, default=48, metavar="N", help="height and width")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--epoch", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.epoch:
        print(json.dumps(epoch(args.epoch[0], Path(args.epoch[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        images = Path(folder) / "images"
        write_images(images, args.images, args.size)
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            dataset = data.load(images)
            seconds.append(time.perf_counter() - start)
        found = {}
        for way in ("in memory", "read batch by batch"):
            done = subprocess.run([sys.executable, __file__, "--epoch", way, images], check=True, capture_output=True)
            found[way] = json.loads(done.stdout)
    megabytes = dataset.train_images.nbytes / 2**20
    print(f"{args.images:,} files of {args.size} x {args.size}; {megabytes:.0f} MB to train on")
    print(f"loaded in {seconds[0]:.1f} s the first time, in {seconds[1]:.1f} s the second")
    rows = [[way, f["images_per_second"], f["mb"], f["seconds_to_make"]] for way, f in found.items()]
    show("an epoch of shuffled, augmented batches", ["", "images/s", "MB", "s before the first batch"], rows)
    finish(args.json, {"images": args.images, "size": args.size, "load_seconds": seconds, "epoch": found})


if __name__ == "__main__":
    main()
