"""Everything that a GPU is needed for, in one command of a limited length: parity, speed, and the paper preset.

    python benchmarks/on_gpu.py --data busi:PATH --minutes 8 --out runs/gpu
    python benchmarks/on_gpu.py --device cpu --quick --out runs/gpu

In turn: the tests that compare the GPU with NumPy; `step_rate.py` and `train_rate.py` at 64 to 4096 lanes with ResNet18
(rates, and the shares of classifier, updates and environment); `latency.py` at 1 and 64 images per call; then the
training of the preset paper (whole canvas, ResNet18) with theta from the boxes, for the time that is left, and its
Dice on `val`. The training is as long as the measured rate allows. A part that has finished is not run again; the
agents resume from their checkpoint. A part that fails does not stop the others. --out gets seven files: how the parts
ended, their logs, the tables, and the trained pipeline; everything else stays in --work.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common import with_split

from flipagents.machine.devices import check_device
from flipagents.store.provenance import about

ROOT = Path(__file__).resolve().parents[1]
LANES = ("64", "256", "1024", "4096")
RESERVE = 90.0  # seconds kept for the evaluation and for packing
SPEED = 210.0  # at most, for each of the parts that measure
SHARE = 0.3  # of the time that is left, for each of two stages; the rest is the classifier's


@dataclass(frozen=True)
class Part:
    """One command; `results` are its files beside the log."""

    name: str
    words: Sequence[str]
    seconds: float
    results: Sequence[Path] = ()


def main(arguments: Sequence[str] | None = None) -> dict[str, str]:
    """Run the script; return how each part ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="phantom:400", help="training cases; with a split val for the evaluation")
    parser.add_argument("--val", help="cases with masks; default: the split val of --data, or other phantoms")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=8.0, help="length of everything together")
    parser.add_argument("--quick", action="store_true", help="smoke test: every part on a few phantoms")
    parser.add_argument("--work", type=Path, default=Path("runs/on_gpu"), help="folder in which the parts run")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/on_gpu"))
    options = parser.parse_args(arguments)
    options.device = check_device(options.device)
    options.out, options.work = options.out.resolve(), options.work.resolve()  # parts run in this checkout
    for folder in (options.out, options.work):
        folder.mkdir(parents=True, exist_ok=True)
    reserve = 10.0 if options.quick else RESERVE
    until = time.monotonic() + 60 * options.minutes
    ended: dict[str, str] = {}

    def left() -> float:
        return until - time.monotonic()

    def go(part: Part, reserve: float = reserve) -> None:
        ended[part.name] = run(part, min(part.seconds, left() - reserve), options)
        print(f"{part.name}: {ended[part.name]}, {max(left(), 0):.0f} s left", flush=True)

    for part in measuring(options):
        go(part)
    go(training(options, left() - reserve))
    if ended["training"].startswith("finished"):
        go(evaluating(options), reserve=0)
    pack(options.work, options.out)
    (options.out / "parts.json").write_text(json.dumps(ended, indent=1) + "\n")
    return ended


def measuring(options: argparse.Namespace) -> list[Part]:
    """Parity and speed."""
    device, quick, work = options.device, ["--quick"] if options.quick else [], options.work
    lanes = [] if options.quick else ["--lanes", *LANES]
    paper = ["--preset", "small" if options.quick else "paper", "--device", device]

    def script(name: str, *words: str) -> Part:
        out = work / name
        results = [out.with_suffix(".json"), out.with_suffix(".md")]
        return Part(name, [sys.executable, f"benchmarks/{name}.py", *words, *quick, "--out", str(out)], SPEED, results)

    return [
        Part(
            "parity", [sys.executable, "-m", "pytest", "-q", "tests/test_cuda.py", "tests/test_core_parity.py"], SPEED
        ),
        script("step_rate", "--device", device),
        script("train_rate", *paper, *lanes, "--seconds", "3", "--repeats", "3"),
        script("latency", "--device", device, "--batches", "1", "64", "--starts", "0"),
    ]


def training(options: argparse.Namespace, seconds: float) -> Part:
    """The paper preset with theta from the boxes: as many joint steps a stage as fit into the seconds."""
    data = "phantom:6?height=96&width=136" if options.quick else _split(options.data, "train")
    words = [sys.executable, "-m", "flipagents", "train", "--data", data, "--out", str(options.work / "run")]
    changes = ["env.theta=auto", "env.standardise=core", "env.credit=sequential", "learner.checkpoint_minutes=1.0"]
    if options.quick:
        changes += ["learner.trunk=small", "learner.epochs=1", "learner.lanes=4", "learner.warmup=16"]
        changes += ["learner.replay=400", "learner.batch_size=16", "classifier.network=small", "classifier.epochs=1"]
        changes += ["classifier.examples=128", "classifier.val_examples=64", "learner.train_steps=100"]
    else:
        lanes, steps = _pace(options.work / "train_rate.json")
        changes += [f"learner.lanes={lanes}", f"learner.train_steps={max(int(SHARE * seconds * steps), 1000)}"]
        changes += ["classifier.epochs=12"]
    changes = [word for change in changes for word in ("--set", change)]
    return Part("training", [*words, "--preset", "paper", "--device", options.device, *changes], float("inf"))


def _pace(rates: Path) -> tuple[int, float]:
    """Fastest number of lanes, and joint steps per second of the slower stage with it; cautious where unmeasured."""
    if not rates.exists():
        return 64, 200.0
    rows = json.loads(rates.read_text())["rows"]
    slower = {row["lanes"]: min(each["steps_per_s"] for each in rows if each["lanes"] == row["lanes"]) for row in rows}
    lanes = max(slower, key=lambda count: slower[count])
    return lanes, slower[lanes]


def evaluating(options: argparse.Namespace) -> Part:
    """Dice of the trained pipeline, beside box and ellipse."""
    cases = "phantom:4?first=900&height=96&width=136" if options.quick else options.val or _split(options.data, "val")
    out = options.work / "evaluation"
    words = [sys.executable, "-m", "flipagents", "evaluate", "--data", cases, "--methods", "flip", "--device"]
    words += [options.device, "--weights", str(options.work / "run"), "-o", str(out)]
    return Part("evaluation", words, RESERVE, [out / "table.md"])


def _split(data: str, name: str) -> str:
    """A split of a source that has them; of phantoms, others for `val`."""
    if data.startswith("phantom:"):
        return data if name == "train" else "phantom:40?first=9000"
    return with_split(data, name)


def run(part: Part, seconds: float, options: argparse.Namespace) -> str:
    """Run one part with its log; say how it ended. A part of another device, checkout or length runs again."""
    work, done = options.work, options.work / f"{part.name}.done"
    mark = json.dumps([options.device, options.quick, about(Path(__file__))["commit"]])
    if done.exists() and done.read_text() == mark:
        return "finished before"
    if seconds <= 0:
        return "no time left"
    with (work / f"{part.name}.log").open("ab") as log:
        try:
            ended = subprocess.run(
                part.words,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                timeout=seconds,
                check=False,
                env={**os.environ, "FLIP_DEVICE": options.device},
            )
        except subprocess.TimeoutExpired:
            return "stopped at its time"
    missing = [path.name for path in part.results if not path.exists()]
    if ended.returncode or missing:
        return f"failed with exit status {ended.returncode}{f', no {missing}' if missing else ''}; see the log"
    done.write_text(mark)
    return "finished"


def pack(work: Path, out: Path) -> None:
    """The results as a few files: logs, tables, and the pipeline without replay buffers."""
    logs = [f"== {log.name}\n{log.read_text(errors='replace')}" for log in sorted(work.glob("*.log"))]
    (out / "logs.txt").write_text("\n".join(logs))
    for path in (*work.glob("*.md"), work / "evaluation" / "table.md"):
        if path.exists():
            shutil.copyfile(path, out / path.name)
    kept = [path for path in sorted((work / "run").rglob("*")) if path.is_file() and "checkpoint" not in path.parts]
    with tarfile.open(out / "run.tar.gz", "w:gz") as tar:
        for path in kept:
            tar.add(path, path.relative_to(work))


if __name__ == "__main__":
    sys.exit(0 if all(state.startswith("finished") for state in main().values()) else 1)
