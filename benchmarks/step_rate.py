"""Steps per second of the environment, and the share of time in the scorer's forward passes.

    python benchmarks/step_rate.py                  # NumPy and torch on the CPU
    python benchmarks/step_rate.py --device cuda    # also torch on a GPU, up to 1024 lanes
    python benchmarks/step_rate.py --profile        # where the environment's own time goes, 64 lanes, no scorer

A step is one joint step of two agents with random actions. Resets are included (SAME_STEP: ended lanes restart),
episode preparation is not (it happens once, see benchmarks/prepare.py). The scorer is an untrained ResNet18 on the
default canvas; its cost does not depend on its weights. At a `scorer share` of 1.00 the environment would cost nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LANES = (1, 16, 64, 256)
OBSERVATION_BYTES = 2 * 6 * 64 * 64  # one joint observation of two agents


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads of torch and OpenCV")
    parser.add_argument("--repeats", type=int, default=5, help="timed repeats, summarised by median and IQR")
    parser.add_argument("--seconds", type=float, default=2.0, help="minimum length of a repeat")
    parser.add_argument("--quick", action="store_true", help="smoke test: few lanes, one short repeat")
    parser.add_argument("--profile", action="store_true", help="only print the shares of the environment's functions")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/step_rate"))
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", str(options.threads))
    if options.profile:
        profile()
        return
    rows = measure(options)
    about = machine(options)
    save(options.out, rows, about, table(rows, about))


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    import cv2
    import torch
    from monai.networks.nets import resnet18

    import flipenv
    from flipenv.torch_scorer import TorchScorer

    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    cv2.setNumThreads(options.threads)
    if options.quick:
        options.repeats, options.seconds = 1, 0.05
    network = resnet18(spatial_dims=2, n_input_channels=1, num_classes=1)
    pool = flipenv.EpisodePool("phantom:64", flipenv.EnvConfig(beta=None), cache=True)
    pool.prepare_all()
    backends: list[str | None] = [None, "cpu"] + (["cuda"] if options.device == "cuda" else [])
    rows = []
    for device in backends:
        for lanes in (1, 16) if options.quick else (*LANES, *((1024,) if device == "cuda" else ())):
            cuda = device == "cuda"
            scorer = TimedScorer(TorchScorer(network, device=device or "cpu", batch=1024, autocast=cuda), cuda)
            bare = rates(pool, lanes, None, device, options)
            full = rates(pool, lanes, scorer, device, options)
            rows.append(row(device, lanes, bare, full, pool))
            print(rows[-1], flush=True)
    rows.append(pettingzoo_row(pool, options))
    return rows


def profile() -> None:
    """Print the cumulative share of flipenv's functions in 300 steps of 64 lanes on NumPy, without a scorer."""
    import cProfile
    import pstats

    import cv2
    import numpy as np

    import flipenv

    cv2.setNumThreads(1)
    pool = flipenv.EpisodePool("phantom:64", flipenv.EnvConfig(beta=None))
    envs = flipenv.vector_env(64, pool, scorer=None, autoreset_mode="SameStep", progress=False)
    envs.reset(seed=0)
    actions = np.random.default_rng(0).integers(0, 4, (300, 64))
    profiler = cProfile.Profile()
    profiler.enable()
    for each in actions:
        envs.step(each)
    profiler.disable()
    stats = pstats.Stats(profiler)
    shares = [(row[3] / stats.total_tt, *key) for key, row in stats.stats.items() if "flipenv" in key[0]]
    for share, file, _, function in sorted(shares, reverse=True)[:24]:
        print(f"{share:5.0%}  {Path(file).name}: {function}")


class TimedScorer:
    """A scorer that sums the time of its calls."""

    def __init__(self, scorer: Any, synchronise: bool) -> None:
        self.scorer, self.synchronise = scorer, synchronise
        self.seconds = 0.0
        self.canvases = 0

    def __call__(self, canvases: Any) -> Any:
        self._wait()
        start = time.perf_counter()
        scores = self.scorer(canvases)
        self._wait()
        self.seconds += time.perf_counter() - start
        self.canvases += len(canvases)
        return scores

    def _wait(self) -> None:
        if self.synchronise:
            import torch

            torch.cuda.synchronize()


def rates(pool: Any, lanes: int, scorer: Any, device: str | None, options: argparse.Namespace) -> dict[str, Any]:
    """Steps/s of each repeat, the scorer's share of the time, and device memory per lane."""
    import numpy as np

    import flipenv

    if device == "cuda":
        import torch

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    # the pool of 64 episodes is stacked only once
    envs = flipenv.vector_env(lanes, pool, scorer=scorer, device=device, autoreset_mode="SameStep", progress=False)
    envs.reset(seed=0)
    actions = np.random.default_rng(0).integers(0, 4, (64, lanes))
    if device is not None:
        import torch

        actions = torch.as_tensor(actions, device=device)

    def run(seconds: float) -> tuple[float, float]:
        if scorer is not None:
            scorer.seconds = 0.0
        steps, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds or steps < 3:
            envs.step(actions[steps % 64])
            steps += 1
            if device == "cuda" and steps % 16 == 0:
                torch.cuda.synchronize()
        if device == "cuda":
            torch.cuda.synchronize()
        spent = time.perf_counter() - start
        return steps / spent, (scorer.seconds / spent if scorer is not None else 0.0)

    run(options.seconds / 4)  # warm-up
    repeats = [run(options.seconds) for _ in range(options.repeats)]
    memory = torch.cuda.max_memory_allocated() / lanes if device == "cuda" else lane_bytes(envs)
    return {"rates": [rate for rate, _ in repeats], "share": statistics.median(s for _, s in repeats), "memory": memory}


def lane_bytes(envs: Any) -> float:
    """Bytes per lane: its episode and its state."""
    held = [*vars(envs._batch.episodes).values(), *vars(envs._batch.state).values()]
    return sum(array.nbytes for array in held) / envs.num_envs


def row(device: str | None, lanes: int, bare: dict[str, Any], full: dict[str, Any], pool: Any) -> dict[str, Any]:
    quartiles = statistics.quantiles(full["rates"], n=4) if len(full["rates"]) > 1 else [full["rates"][0]] * 3
    alone, together = statistics.median(bare["rates"]), statistics.median(full["rates"])
    return {
        "arrays": "numpy" if device is None else f"torch {device}",
        "lanes": lanes,
        "steps_per_s_without_scorer": alone * lanes,
        "us_per_step_and_lane_without_scorer": 1e6 / (alone * lanes),
        "steps_per_s": together * lanes,
        "iqr": [quartiles[0] * lanes, quartiles[2] * lanes],
        "scorer_share": full["share"],
        "kib_per_lane": full["memory"] / 1024,
    }


def pettingzoo_row(pool: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of one step of the PettingZoo view without a scorer."""
    import numpy as np

    import flipenv

    env = flipenv.parallel_env(pool, scorer=None)
    draws = np.random.default_rng(0)

    def run(seconds: float) -> float:
        steps, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            if not env.agents:
                env.reset()
            env.step({agent: int(draws.integers(0, 2)) for agent in env.agents})
            steps += 1
        return (time.perf_counter() - start) / steps * 1e3

    run(options.seconds / 4)
    times = [run(options.seconds) for _ in range(options.repeats)]
    return {"view": "PettingZoo parallel, B = 1, no scorer", "ms_per_step": statistics.median(times)}


def save(out: Path, rows: list[dict[str, Any]], about: dict[str, Any], text: str) -> None:
    """Write OUT.json in full precision and OUT.md with the table, which is also printed."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps({"machine": about, "rows": rows}, indent=1) + "\n")
    out.with_suffix(".md").write_text(text)
    print(text)


def machine(options: argparse.Namespace) -> dict[str, Any]:
    import numpy
    import torch

    here = Path(__file__).parent
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=False
    )
    name = torch.cuda.get_device_name() if options.device == "cuda" else processor()
    return {
        "device": name,
        "threads": options.threads,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "torch": torch.__version__,
        "commit": commit.stdout.strip() or "unknown",
        "repeats": options.repeats,
        "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def one_line(about: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in about.items())


def processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line]
    return f"{len(names)} x {names[0]}" if names else platform.processor()


def table(rows: list[dict[str, Any]], about: dict[str, Any]) -> str:
    lines = [
        "| arrays | lanes | steps/s, no scorer | µs/step/lane | steps/s, ResNet18 | IQR | scorer share | KiB a lane |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in rows[:-1]:
        low, high = each["iqr"]
        lines.append(
            f"| {each['arrays']} | {each['lanes']} | {each['steps_per_s_without_scorer']:,.0f} "
            f"| {each['us_per_step_and_lane_without_scorer']:.1f} | {each['steps_per_s']:,.1f} "
            f"| {low:,.1f}-{high:,.1f} | {each['scorer_share']:.3f} | {each['kib_per_lane']:.0f} |"
        )
    lines.append(f"\nPettingZoo view, one lane, no scorer: {rows[-1]['ms_per_step']:.3f} ms a step.\n")
    lines.append(f"{one_line(about)}\n")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
