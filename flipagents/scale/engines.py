"""Engines that execute the runs of an ablation: sequentially here, on Slurm, or on a Ray cluster.

Each engine yields a run as it finishes, with its error, "" for success. A failed run does not affect the others.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from flipagents.compare.ablation import Run, perform
from flipagents.store.files import write_texts
from flipenv.errors import ConfigError, FlipError
from flipenv.registry import Registry
from flipenv.sources.extras import need

JOBS, JOB = "slurm", "job.json"  # submitit's folder; the job file in a run's folder

Ended: TypeAlias = Iterator[tuple[Run, str]]
ENGINES: Registry[Callable[[Sequence[Run], Path], Ended]] = Registry("engine")  # unfinished runs, their folder


@ENGINES.register("plain")
def plain(runs: Sequence[Run], folder: Path) -> Ended:
    """Sequentially, in this process."""
    for run in runs:
        yield run, _try(run)


@ENGINES.register("slurm")
def slurm(runs: Sequence[Run], folder: Path, cluster: str = "slurm") -> Ended:
    """Submit each run to Slurm through submitit, and wait for all of them.

    Jobs continue if this process ends; the same command then waits for them instead of resubmitting.
    cluster: "slurm", or "local" for local processes. Raises MissingDependencyError without submitit, ConfigError
    without Slurm or for invalid Slurm options.
    """
    submitit = need("submitit", extra="slurm", purpose="engine 'slurm'")
    job_class = {"slurm": submitit.SlurmJob, "local": submitit.LocalJob}[cluster]
    try:
        executor = submitit.AutoExecutor(folder / JOBS, cluster=cluster)
        executor.update_parameters(name="flip-ablate", **runs[0].plan.slurm)
    except (RuntimeError, NameError, TypeError, AssertionError) as error:  # raised on a machine without Slurm
        raise ConfigError(f"engine 'slurm' cannot be used: {error}") from error
    known = {run.folder: _under_way(run, job_class, folder / JOBS) for run in runs}
    fresh = [run for run in runs if known[run.folder] is None]
    if fresh:
        with executor.batch():  # one job array
            handed = [executor.submit(_try, run) for run in fresh]
        for run, job in zip(fresh, handed, strict=True):
            write_texts({run.folder / JOB: json.dumps({"id": job.job_id}) + "\n"})
            known[run.folder] = job
    for run in runs:
        try:
            yield run, str(known[run.folder].result())
        except Exception as error:  # submitit's errors have no common base
            yield run, f"job {known[run.folder].job_id} failed: {' '.join(str(error).split())}"


@ENGINES.register("ray")
def ray(runs: Sequence[Run], folder: Path) -> Ended:
    """One task per run on a Ray cluster: one GPU if the plan's device is cuda, one CPU otherwise.

    `folder` must have the same path on every machine. Raises MissingDependencyError without Ray.
    """
    cluster = need("ray", extra="ray", purpose="engine 'ray'")
    if not cluster.is_initialized():
        cluster.init(log_to_driver=False, logging_level=logging.ERROR)
    gpu = runs[0].plan.device.startswith("cuda")
    task = cluster.remote(num_cpus=1, num_gpus=1 if gpu else 0)(_try)
    waiting = {task.remote(run): run for run in runs}
    while waiting:
        (ended, *_), _ = cluster.wait(list(waiting))
        run = waiting.pop(ended)
        try:
            yield run, cluster.get(ended)
        except cluster.exceptions.RayError as error:
            yield run, str(error)


def _try(run: Run) -> str:
    """Execute a run; return the error if it failed."""
    try:
        perform(run)
    except (FlipError, OSError) as error:
        return str(error)
    return ""


def _under_way(run: Run, job_class: Any, folder: Path) -> Any:
    """The unfinished job already submitted for a run; None if there is none."""
    path = run.folder / JOB
    if not path.exists():
        return None
    job = job_class(folder, json.loads(path.read_text())["id"])
    return None if job.done() else job
