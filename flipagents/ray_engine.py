"""Many images into files on a Ray cluster: one loaded method a worker, images handed out as workers get free.

    export RAY_ADDRESS=auto     # on a cluster; without it Ray starts on this machine
    flip segment cases.csv -o out/ --engine ray

Ray Data gives blocks of images to a pool of actors and starts one anew when it dies; its block is then done again, but
for the images whose files are there. So nothing is lost, and nothing that was finished is done twice.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from flipagents import threads
from flipagents.bulk import CHUNK, Paths, Work, Worker, unfinished
from flipenv.errors import MissingDependencyError


def run(work: Work, paths: Paths, *, workers: int | None = None, block: int = CHUNK) -> Iterator[tuple[int, str]]:
    """Segment and write cases; yield each one's number as it comes, and why it failed, or nothing.

    Image files and the folder for outputs must be where every machine sees them under the same name. Files that are
    there already count as done.

    workers: at most so many, None for one a GPU (device cuda) or one a CPU of the cluster. block: images that a worker
    takes at a time. Raises MissingDependencyError without Ray, OutputError as a Ray error: it ends everything.
    """
    try:
        import ray  # noqa: PLC0415 - optional
        import ray.data  # noqa: PLC0415
    except ImportError as error:
        raise MissingDependencyError(f"engine 'ray' needs {error.name}: pip install flip-learning[ray]") from error
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
        yield int(row["number"]), str(row["reason"])


class Actor:
    """What Ray keeps alive on a worker."""

    def __init__(self, work: Work) -> None:
        threads.settle()  # a cluster's processes have not the environment of the command
        self.worker = Worker(work)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Segment a block; number and reason of each image, the reason empty where it is done."""
        numbers = [int(number) for number in batch["number"]]
        paths = dict(zip(numbers, ([Path(file) for file in files] for files in batch["files"]), strict=True))
        reasons = dict.fromkeys(numbers, "")
        reasons |= {index: str(error or "") for index, error in self.worker.run(unfinished(paths))}
        return {"number": np.array(numbers), "reason": np.array(list(reasons.values()))}
