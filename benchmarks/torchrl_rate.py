"""Joint steps per second through TorchRL: its wrapper around the PettingZoo view, and the native batched environment.

    python benchmarks/torchrl_rate.py
    python benchmarks/torchrl_rate.py --cpu-time --threads 1    # per second of CPU time, on a shared machine

Random actions of two agents, no scorer, including resets, without preparation. `direct` is the batch without TorchRL:
step, observation and reset of ended lanes. The wrapper has a single lane and can only be batched in processes. Rollouts
store all observations, as in training.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from step_rate import machine, one_line, save

LANES = (1, 16, 64)
STEPS = 32  # of all lanes in one rollout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads of torch and OpenCV")
    parser.add_argument("--repeats", type=int, default=5, help="timed repeats, summarised by median and IQR")
    parser.add_argument("--seconds", type=float, default=2.0, help="minimum length of a repeat")
    parser.add_argument("--cpu-time", action="store_true", help="count seconds of this process's CPU time")
    parser.add_argument("--quick", action="store_true", help="smoke test: few lanes, one short repeat")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/torchrl_rate"))
    options = parser.parse_args()
    options.device = "cpu"
    os.environ.setdefault("OMP_NUM_THREADS", str(options.threads))
    rows = measure(options)
    about = {**machine(options), "clock": "CPU time" if options.cpu_time else "wall"}
    save(options.out, rows, about, table(rows, about))


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    import cv2
    import torch
    from torchrl.envs.libs.pettingzoo import PettingZooWrapper

    import flipenv
    from flipenv.torchrl import EraseTorchRLEnv

    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    lanes = LANES
    if options.quick:
        lanes, options.repeats, options.seconds = (4,), 1, 0.1
    pool = flipenv.EpisodePool("phantom:16", flipenv.EnvConfig(beta=None))
    clock = time.process_time if options.cpu_time else time.perf_counter
    rows = []

    def add(view: str, count: int, run: Callable[[], None]) -> None:
        rates = [rate(run, count * STEPS, options.seconds, clock) for _ in range(options.repeats + 1)]
        del rates[0]  # warm-up
        low, _, high = statistics.quantiles(rates, n=4) if len(rates) > 1 else rates * 3
        rows.append({"view": view, "lanes": count, "steps_per_s": statistics.median(rates), "iqr": [low, high]})

    wrapped = PettingZooWrapper(flipenv.parallel_env(pool, scorer=None))
    add("PettingZoo wrapper", 1, lambda: roll(wrapped))
    for count in lanes:
        native = EraseTorchRLEnv(count, pool, scorer=None, progress=False)
        add("native", count, lambda native=native: roll(native))  # type: ignore[misc]
        batch = flipenv.Batch(pool, count, scorer=None, device="cpu", progress=False)
        batch.reset()
        add("direct", count, lambda batch=batch, count=count: step(batch, count))  # type: ignore[misc]
    return rows


def roll(env: Any) -> None:
    env.rollout(STEPS, break_when_any_done=False)


def step(batch: Any, lanes: int) -> None:
    import torch

    for _ in range(STEPS):
        state = batch.step(torch.randint(0, 2, (lanes, batch.config.n_agents))).state
        batch.observation()
        ended = torch.nonzero(state.terminated | state.truncated)[:, 0].tolist()
        if ended:
            batch.reset(ended)


def rate(run: Callable[[], None], steps: int, seconds: float, clock: Callable[[], float]) -> float:
    """Steps per second of `run`, which takes so many `steps`, over at least `seconds`."""
    start, done = clock(), 0
    while clock() - start < seconds or done == 0:
        run()
        done += steps
    return done / (clock() - start)


def table(rows: list[dict[str, Any]], about: dict[str, Any]) -> str:
    lines = ["| view | lanes | joint steps/s | IQR | of direct |", "|---|---|---|---|---|"]
    direct = {row["lanes"]: row["steps_per_s"] for row in rows if row["view"] == "direct"}
    for row in rows:
        low, high = row["iqr"]
        share = f"{row['steps_per_s'] / direct[row['lanes']]:.0%}" if row["lanes"] in direct else ""
        cells = f"{row['steps_per_s']:,.0f} | {low:,.0f}-{high:,.0f} | {share}"
        lines.append(f"| {row['view']} | {row['lanes']} | {cells} |")
    return "\n".join([*lines, f"\n{one_line(about)}\n"])


if __name__ == "__main__":
    main()
