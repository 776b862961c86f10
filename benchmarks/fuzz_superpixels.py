"""Fuzz the superpixels: sizes from 1x1, aspect ratios up to 40:1, flat to noisy images, cells of 1 to 2000 px².

    python benchmarks/fuzz_superpixels.py --n 20000 --seed 0

A crash of OpenCV kills its process. So a child process announces each input before segmenting it; the parent reports
the last input announced and starts a new child after it. Exit code 1 on any failure.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from flipenv import superpixels

# (height, width, superpixels requested) for which OpenCV's SEEDS is known to crash
KNOWN_CRASHES = [(30, 91, 8), (15, 20, 100), (40, 60, 800)]
KINDS = ("constant", "gradient", "noise", "steps", "speckle")
LONGEST = 320  # px
ASPECT = 40.0
LARGEST_CELL = 2000.0  # px²
MOST_CELLS = 1500  # keeps the run short: inputs with more get larger cells
LOOSE = 0.5  # relative error of the count accepted for cells below 2 px², where rounding dominates


def inputs(n: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield n inputs as plain data, known crashes first; input i does not depend on n."""
    for index in range(n):
        random = np.random.default_rng((seed, index))
        kind = KINDS[index % len(KINDS)]
        if index < len(KNOWN_CRASHES) * len(KINDS):
            height, width, wanted = KNOWN_CRASHES[index // len(KINDS)]
            cell_area = height * width / wanted
        else:
            long = np.exp(random.uniform(0, np.log(LONGEST + 0.5)))
            short = long / np.exp(random.uniform(0, np.log(ASPECT)) * random.integers(2))
            height, width = (max(1, round(side)) for side in random.permutation([long, short]))
            cell_area = np.exp(random.uniform(0, np.log(min(LARGEST_CELL, height * width))))
            cell_area = max(cell_area, height * width / MOST_CELLS)
        yield {"index": index, "height": height, "width": width, "cell_area": float(cell_area), "kind": kind}


def picture(height: int, width: int, kind: str, random: np.random.Generator) -> np.ndarray:
    """Draw an image (height, width) uint8; half of them are views into a larger array, as crops are."""
    inside, outside = random.integers(0, 256, 2)
    rows, columns = np.mgrid[0:height, 0:width] + 0.5
    if kind == "constant":
        image = np.full((height, width), inside, dtype=float)
    elif kind == "gradient":
        image = inside + (outside - inside) * (rows / height + columns / width) / 2
    elif kind == "noise":
        image = random.integers(0, 256, (height, width))
    elif kind == "steps":
        image = np.where((rows // 5 + columns // 7) % 2, inside, outside)
    else:
        ellipse = (rows / height - 0.5) ** 2 + (columns / width - 0.5) ** 2 < 0.2
        speckle = random.rayleigh(1.0, (height, width))
        image = cv2.GaussianBlur(np.where(ellipse, inside, outside) * speckle, (0, 0), 1.2)
    grey = np.clip(image, 0, 255).astype(np.uint8)
    return np.pad(grey, 3, mode="edge")[3:-3, 3:-3] if random.integers(2) else grey


def problem(labels: np.ndarray, height: int, width: int, cell_area: float) -> str | None:
    """Describe what is wrong with the labels of an area; None if nothing is."""
    if labels.shape != (height, width) or labels.dtype != np.int16:
        return f"labels are {labels.shape} {labels.dtype}"
    if labels.min() < 0:
        return f"{(labels < 0).sum()} pixels are in no superpixel"
    sizes = np.bincount(labels.ravel())
    if sizes.min() < 1:
        return f"{(sizes < 1).sum()} of {len(sizes)} superpixels are empty"
    wanted = max(1, round(height * width / cell_area))
    if abs(len(sizes) - wanted) > (superpixels.TOLERANCE if cell_area >= 2 else LOOSE) * wanted:
        return f"{len(sizes)} superpixels instead of {wanted}"
    places = superpixels.centers(labels)
    if places.min() < 0 or (places >= (height, width)).any():
        return "a centre lies outside the area"
    return None


def child(method: str, n: int, seed: int, start: int) -> None:
    """Print one line before and one after each input."""
    fallbacks = []
    regular = superpixels.grid

    def counted(image: np.ndarray, wanted: int) -> np.ndarray:
        fallbacks.append(wanted)
        return regular(image, wanted)

    superpixels.grid = counted
    for given in inputs(n, seed):
        index, height, width, cell_area, kind = given.values()
        if index < start:
            continue
        print(json.dumps(given), flush=True)
        image = picture(height, width, kind, np.random.default_rng((seed, index, 1)))
        fallbacks.clear()
        try:
            labels = superpixels.segment(image, cell_area, method)
            wrong = problem(labels, height, width, cell_area)
            if not wrong and index % 16 == 0 and (superpixels.segment(image.copy(), cell_area, method) != labels).any():
                wrong = "a second call returns other labels"
        except Exception as error:
            wrong, labels = repr(error), np.zeros((1, 1), np.int16)
        wanted = max(1, round(height * width / cell_area))
        done = {"wrong": wrong, "got": int(labels.max()) + 1, "wanted": wanted, "grid": bool(fallbacks)}
        print(json.dumps(done), flush=True)


def run(method: str, n: int, seed: int, most_failures: int = 20) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the outcome of each input, and descriptions of the failures."""
    results: list[dict[str, Any]] = []
    failures: list[str] = []
    start, began = 0, time.monotonic()
    while start < n and len(failures) < most_failures:
        options = ["--method", method, "--n", str(n), "--seed", str(seed), "--child", str(start)]
        given: dict[str, Any] | None = None
        with subprocess.Popen([sys.executable, __file__, *options], stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout or ():
                record = json.loads(line)
                if "index" in record:
                    given = record
                    continue
                results.append({**(given or {}), **record})
                if record["wrong"]:
                    failures.append(f"{given}: {record['wrong']}")
                if len(results) % 2000 == 0:
                    seconds = time.monotonic() - began
                    print(f"{len(results)} inputs, {len(failures)} failures, {seconds:.0f} s", flush=True)
                given = None
        if process.returncode == 0:
            break
        failures.append(f"{given}: the process died with code {process.returncode}")
        if given is None:
            break
        start = given["index"] + 1
    return results, failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=20_000, help="inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--method", default="seeds", choices=sorted(superpixels.SUPERPIXELS))
    parser.add_argument("--child", type=int, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="smoke test: 60 inputs")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.n = 60
    if arguments.child is not None:
        child(arguments.method, arguments.n, arguments.seed, arguments.child)
        return 0
    began = time.monotonic()
    results, failures = run(arguments.method, arguments.n, arguments.seed)
    print(f"{arguments.method}: {len(results)} inputs in {time.monotonic() - began:.0f} s, {len(failures)} failures")
    many = [result for result in results if result["wanted"] >= 10]
    usual = [result for result in many if result["cell_area"] >= 24]
    print("got / wanted at percentiles 0 1 5 50 95 99 100, and how often the regular grid was the fallback")
    for name, chosen in (("all", results), ("10 or more", many), ("10 or more, cells of 24 px² or more", usual)):
        if chosen:
            ratios = np.percentile([result["got"] / result["wanted"] for result in chosen], [0, 1, 5, 50, 95, 99, 100])
            share = np.mean([result["grid"] for result in chosen])
            print(f"  {name} ({len(chosen)}):", *(f"{ratio:.3f}" for ratio in ratios), f"grid {share:.2%}")
    for failure in failures:
        print("FAILED", failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
