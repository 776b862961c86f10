"""Distributed training of one set of weights by several processes (ranks). A single process does not communicate.

    torchrun --nproc-per-node 2 -m flipagents train --data data/busi --out runs/mine --device cuda

Each rank has its own lanes, replay buffer and random streams. Gradients are averaged before each optimiser step, so
weights are identical on all ranks.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from flipagents.store import checkpoint
from flipagents.store.checkpoint import CheckpointError, Snapshot

WAIT = datetime.timedelta(days=2)  # timeout, long enough for work on rank 0 only, such as training the classifier
NEXT = ".next"  # suffix of a checkpoint not yet complete on all ranks

Value = TypeVar("Value")


@contextmanager
def process_group(device: str) -> Iterator[str]:
    """Join torchrun's process group, if any, and leave it at the end; yield this rank's device.

    On CUDA, one GPU per process and NCCL; otherwise gloo.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    gpu = torch.device(device).type == "cuda"
    if gpu:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if gpu else "gloo", timeout=WAIT)
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def count() -> int:
    """Number of ranks; 1 without torchrun."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """This process's rank; rank 0 writes files."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def all_gather(value: Value) -> list[Value]:
    """Gather the values of all ranks, in rank order."""
    if count() == 1:
        return [value]
    values: list[Any] = [None] * count()
    distributed.all_gather_object(values, value)
    return values


def on_rank_0(make: Callable[[], Value]) -> Value:
    """Call `make` on rank 0 and broadcast its result; if it raises, every rank raises."""
    if count() == 1:
        return make()
    shared: list[Any] = [None, None]
    if rank() == 0:
        try:
            shared[0] = make()
        except Exception as error:  # raise on all ranks, so that none waits
            shared[1] = error
    distributed.broadcast_object_list(shared)
    if shared[1] is not None:
        raise shared[1]
    value: Value = shared[0]
    return value


def total(number: int, device: str) -> int:
    """Sum over all ranks."""
    if count() == 1:
        return number
    sums = torch.tensor(number, device=device)
    distributed.all_reduce(sums)
    return int(sums)


def average(tensors: Iterable[Tensor]) -> None:
    """Average float tensors over all ranks, in place; count and shapes must match across ranks."""
    own = [tensor for tensor in tensors if tensor.is_floating_point()]
    if count() == 1 or not own:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in own])
    distributed.all_reduce(flat)
    flat /= count()
    for tensor, mean in zip(own, torch.split(flat, [tensor.numel() for tensor in own]), strict=True):
        tensor.copy_(mean.view_as(tensor))


def write(folder: Path, snapshot: Snapshot, kind: str) -> None:
    """Write a checkpoint of all ranks, one folder per rank: `folder`, `folder-1`, ...

    If killed, `read` finds either this checkpoint or the previous one.
    """
    own = _own(folder)
    if count() == 1:
        checkpoint.write(own, snapshot, kind)
        return
    checkpoint.write(_later(own), snapshot, kind)
    distributed.barrier()
    checkpoint.replace(_later(own), own)
    distributed.barrier()


def read(folder: Path, kind: str, step_of: Callable[[dict[str, Any]], int]) -> Snapshot | None:
    """Read this rank's part of the newest checkpoint common to all ranks; None if no rank has any.

    step_of: gives the step from a snapshot's metadata. CheckpointError if no checkpoint is common to all ranks, for
    example after a change of their number.
    """
    own = _own(folder)
    places = [place for place in (own, _later(own)) if checkpoint.exists(place)]
    found = {step_of(checkpoint.about_of(place)): place for place in places}
    all_found = all_gather(set(found))
    if not any(all_found):
        return None
    shared = set.intersection(*all_found)
    if not shared:
        raise CheckpointError(
            f"{folder}: the {count()} processes have no checkpoint of the same step; start as many as before, or use a "
            "new folder"
        )
    return checkpoint.read(found[max(shared)], kind)


def _own(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-{rank()}") if rank() else folder


def _later(folder: Path) -> Path:
    return folder.with_name(folder.name + NEXT)
