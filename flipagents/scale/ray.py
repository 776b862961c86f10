"""Segment many images on a Ray cluster: one loaded method per worker, blocks assigned as workers become free.

    export RAY_ADDRESS=auto     # on a cluster; otherwise Ray starts on this machine
    flip segment cases.csv -o out/ --engine ray

Ray Data gives blocks of images to a pool of actors and restarts one that dies; its block is then repeated, except for
images whose files exist. So nothing is lost, and finished images are not repeated.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from flipagents.machine import threads
from flipagents.scale.worker import CHUNK, Outcome, Paths, Work, Worker, waiting
from flipenv.sources.extras import need


def run(work: Work, paths: Paths, *, workers: int | None = None, block: int = CHUNK) -> Iterator[Outcome]:
    """Segment and write cases; yield each outcome as it arrives.

    Image files and the output folder must be visible to every machine under the same names. Finished cases are not
    repeated, see `flipagents.scale.worker.waiting`.

    workers: most workers, None for one per GPU (device cuda) or one per CPU of the cluster. block: images per task.
    Raises MissingDependencyError without Ray, OutputError as a Ray error, which aborts the run.
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
        yield Outcome(int(row["number"]), str(row["error"]), json.loads(row["told"]))


class Actor:
    """Holds a loaded method on a Ray worker."""

    def __init__(self, work: Work) -> None:
        threads.settle()  # the cluster's processes do not inherit the command's environment
        self.worker = Worker(work)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Segment a block; return index, error and details of each image, see `Outcome`."""
        numbers = [int(number) for number in batch["number"]]
        paths = dict(zip(numbers, ([Path(file) for file in files] for files in batch["files"]), strict=True))
        left = {index: paths[index] for index in waiting(self.worker.work, paths)}
        outcomes = {index: Outcome(index) for index in numbers} | {each.index: each for each in self.worker.run(left)}
        return {
            "number": np.array(numbers),
            "error": np.array([each.error for each in outcomes.values()]),
            "told": np.array([json.dumps(each.told) for each in outcomes.values()]),
        }
