"""Segment many images on a Ray cluster: one loaded method per worker, blocks assigned as workers become free.

    export RAY_ADDRESS=auto     # on a cluster; otherwise Ray starts on this machine
    flip segment cases.csv -o out/ --engine ray

Ray Data assigns blocks of images to a pool of actors. A dead actor is restarted and its block repeated, except for
finished images.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from flipagents.machine import threads
from flipagents.scale.worker import CHUNK, Outcome, Paths, Work, Worker, pending
from flipenv.sources.extras import need


def run(work: Work, paths: Paths, *, workers: int | None = None, block: int = CHUNK) -> Iterator[Outcome]:
    """Segment and write cases; yield each outcome as it arrives.

    Images and the output folder must have the same paths on every machine. Finished cases are skipped, see
    `flipagents.scale.worker.pending`.

    workers: maximum number, None for one per GPU (device cuda) or CPU of the cluster. block: images per task.
    Raises MissingDependencyError without Ray, and a Ray error that aborts the run for an OutputError.
    """
    ray = need("ray", extra="ray", purpose="engine 'ray'")
    need("ray.data", extra="ray", purpose="engine 'ray'")
    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    gpu = work.device.startswith("cuda")
    have = int(ray.cluster_resources().get("GPU" if gpu else "CPU", 1))
    blocks = -(-len(paths) // block)
    pool = ray.data.ActorPoolStrategy(size=max(min(workers or have, have, blocks), 1))
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    items = [{"number": index, "files": [str(file) for file in files]} for index, files in paths.items()]
    done = ray.data.from_items(items, override_num_blocks=blocks).map_batches(
        Actor,
        fn_constructor_kwargs={"work": work},
        compute=pool,
        batch_size=block,
        num_cpus=1,
        num_gpus=1 if gpu else 0,
    )
    for row in done.iter_rows():
        yield Outcome(int(row["number"]), str(row["error"]), json.loads(row["details"]))


class Actor:
    """Holds a loaded method on a Ray worker."""

    def __init__(self, work: Work) -> None:
        threads.settle()  # the cluster's processes do not inherit the command's environment
        self.worker = Worker(work)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Segment a block; return index, error and details of each image, see `Outcome`."""
        numbers = [int(number) for number in batch["number"]]
        paths = dict(zip(numbers, ([Path(file) for file in files] for files in batch["files"]), strict=True))
        left = {index: paths[index] for index in pending(self.worker.work, paths)}
        outcomes = {index: Outcome(index) for index in numbers} | {each.index: each for each in self.worker.run(left)}
        return {
            "number": np.array(numbers),
            "error": np.array([each.error for each in outcomes.values()]),
            "details": np.array([json.dumps(each.details) for each in outcomes.values()]),
        }
