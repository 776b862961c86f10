"""Images per second of `flip segment`: the plain loop, parallel shards, and the engine ray, in turn.

    python benchmarks/scale.py                                    # 64 phantoms, two workers, masks only
    python benchmarks/scale.py --source "busi:PATH?split=val" --method flip --workers 8
    python benchmarks/scale.py --runtime onnx --quick

Each way writes its masks into an empty folder, and all folders are compared bit for bit. Wall time is that of the
whole command: each process loads Python and the method, Ray also starts its cluster; `loop` is the plain loop without
startup and loading. CPU seconds, over all processes, say more on a shared machine; Ray's workers are not children of
this script, so theirs are unknown. A worker has one thread.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from step_rate import machine, one_line, save


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="phantom:64")
    parser.add_argument("--method", default="flip")
    parser.add_argument("--runtime", default="torch", help="torch or onnx, see `flip segment`")
    parser.add_argument("--weights", type=Path, help="default: as shipped")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=2, help="parallel shards, and Ray actors")
    parser.add_argument("--quick", action="store_true", help="smoke test: four small images")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/scale"))
    options = parser.parse_args()
    options.threads, options.repeats = 1, 1
    if options.quick:
        options.source = "phantom:4?height=96&width=128"
    os.environ.update({"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"})
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(options, Path(folder))
    about = {**machine(options), "source": options.source, "method": options.method, "runtime": options.runtime}
    save(options.out, rows, about, table(rows, about))


def measure(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    words = ["segment", options.source, "--method", options.method, "--only-masks", "--device", options.device]
    for name in ("runtime", "weights"):
        words += [] if getattr(options, name) is None else [f"--{name}", str(getattr(options, name))]
    plain = [words]
    shards = [[*words, "--shard", f"{number}/{options.workers}"] for number in range(1, options.workers + 1)]
    ways = {"plain": plain, f"{options.workers} shards": shards}
    try:
        import ray.data  # noqa: F401

        ways["ray"] = [[*words, "--engine", "ray", "--workers", str(options.workers)]]
    except ImportError as error:
        print(f"skipped ray: {error}")
    rows = [{"way": "loop", **loop(options, folder / "loop")}]
    masks = {path.name: path.read_bytes() for path in (folder / "loop").glob("*.png")}
    for number, (way, commands) in enumerate(ways.items()):
        out = folder / str(number)
        started, before = time.perf_counter(), cpu_seconds(resource.RUSAGE_CHILDREN)
        running = [subprocess.Popen([sys.executable, "-m", "flipagents", *each, "-o", str(out)]) for each in commands]
        codes = [each.wait() for each in running]
        seconds = time.perf_counter() - started
        assert codes == [0] * len(commands), f"{way} failed"
        assert {path.name: path.read_bytes() for path in out.glob("*.png")} == masks, f"{way} wrote different masks"
        spent = None if way == "ray" else cpu_seconds(resource.RUSAGE_CHILDREN) - before
        rows.append({"way": way, "images": len(masks), "seconds": seconds, "cpu_seconds": spent})
        print(rows[-1], flush=True)
    return rows


def loop(options: argparse.Namespace, out: Path) -> dict[str, Any]:
    """The plain loop in this process, without startup and loading."""
    from flipagents.scale.worker import Work, Worker
    from flipagents.segment.outputs import output_paths
    from flipagents.store.files import file_names
    from flipenv.sources import open_source

    source = open_source(options.source)
    worker = Worker(Work(source, options.method, options.weights, options.device, runtime=options.runtime))
    paths = {index: output_paths(out, name, pictures=False) for index, name in enumerate(file_names(source.ids))}
    started, before = time.perf_counter(), cpu_seconds(resource.RUSAGE_SELF)
    failed = [each.error for each in worker.run(paths) if each.error]
    assert not failed, failed
    spent = cpu_seconds(resource.RUSAGE_SELF) - before
    return {"images": len(paths), "seconds": time.perf_counter() - started, "cpu_seconds": spent}


def cpu_seconds(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def table(rows: list[dict[str, Any]], about: dict[str, Any]) -> str:
    lines = ["| way | images | seconds | images/s | CPU ms/image |", "|---|---|---|---|---|"]
    for row in rows:
        speed = row["images"] / row["seconds"]
        spent = "" if row["cpu_seconds"] is None else f"{1e3 * row['cpu_seconds'] / row['images']:.0f}"
        lines.append(f"| {row['way']} | {row['images']} | {row['seconds']:.1f} | {speed:.2f} | {spent} |")
    return "\n".join([*lines, "", one_line(about), ""])


if __name__ == "__main__":
    main()
