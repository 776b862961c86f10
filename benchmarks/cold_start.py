"""Wall time of `flip segment` on one image, from a new process to the files, on a quiet and on a busy machine.

Used by `latency.py`. Threads are as for a user: variables that set their number or how they wait are removed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

RUNTIMES = ("onnx", "torch")
SPINNING = 2  # busy-waiting processes on a busy machine
SETTINGS = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "OPENCV_FOR_THREADS_NUM")


def cold(options: argparse.Namespace, checkouts: Mapping[str, Path]) -> list[dict[str, Any]]:
    """One row per checkout, runtime, kind of output and load; the checkouts alternate.

    With pictures, `flip segment` writes mask, overlay and curve; the busy machine is measured with pictures only.
    """
    kinds = [("pictures", 0), ("only masks", 0), ("pictures", SPINNING)]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arguments = ["segment", *_image(options.source, folder), "--overwrite", "--device", options.device]
        for where in checkouts.values():  # warm-up: bytecode and disk cache
            for runtime in RUNTIMES:
                _seconds(where, [*arguments, "-o", str(folder / "first"), "--runtime", runtime])
        masks = set()
        for (kind, spinning), runtime in ((kind, runtime) for kind in kinds for runtime in RUNTIMES):
            out = folder / runtime
            extra = ["--only-masks"] if kind == "only masks" else []
            measured = [*arguments, "-o", str(out), "--runtime", runtime, *extra]
            times: dict[str, list[float]] = {version: [] for version in checkouts}
            with busy(spinning):
                for _ in range(options.starts):
                    for version, where in checkouts.items():
                        times[version].append(_seconds(where, measured))
            masks |= {path.read_bytes() for path in out.glob("*_mask.png")}
            load = f"busy: {spinning} spin" if spinning else "quiet"
            for version, own in times.items():
                rows.append({"version": version, "runtime": runtime, "files": kind, "load": load, "seconds": own})
                print(rows[-1], flush=True)
    print("all masks are equal" if len(masks) == 1 else f"{len(masks)} different masks", flush=True)
    return rows


def cold_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["| cold start, one image | runtime | files | machine | seconds, median | least-most | starts |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in rows:
        low, middle, high = min(row["seconds"]), statistics.median(row["seconds"]), max(row["seconds"])
        lines.append(
            f"| {row['version']} | {row['runtime']} | {row['files']} | {row['load']} | {middle:.2f} "
            f"| {low:.2f}-{high:.2f} | {len(row['seconds'])} |"
        )
    return lines


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep `count` processes spinning inside the block."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for each in spinning:
            each.kill()
            each.wait()


def environment(where: Path) -> dict[str, str]:
    """Environment variables of a user who runs a checkout."""
    return {name: value for name, value in os.environ.items() if name not in SETTINGS} | {"PYTHONPATH": str(where)}


def _seconds(where: Path, arguments: Sequence[str]) -> float:
    started = time.perf_counter()
    command = [sys.executable, "-m", "flipagents", *arguments]
    done = subprocess.run(command, env=environment(where), cwd=where, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return time.perf_counter() - started


def _image(source: str, folder: Path) -> list[str]:
    """Write the first image of a source; return it and its box as arguments of the command."""
    import cv2

    import flipenv

    case = flipenv.open_source(source).load(0)
    path = folder / "image.png"
    cv2.imwrite(str(path), case.image)
    box = case.box
    return [str(path), "--box", *(str(side) for side in (box.left, box.top, box.right, box.bottom))]
