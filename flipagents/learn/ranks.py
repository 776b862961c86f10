"""Distributed training: several processes (ranks) that train one set of weights. A single process communicates nothing.

    torchrun --nproc-per-node 2 -m flipagents train --data data/busi --out runs/mine --device cuda

Each rank has its own lanes, replay buffer and random numbers. Gradients are averaged before each optimiser step, so all
ranks hold the same weights, bit for bit.
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

WAIT = datetime.timedelta(days=2)  # timeout while one rank works alone, such as training the classifier
NEXT = ".next"  # suffix of a checkpoint that some ranks may not have written yet

Value = TypeVar("Value")


@contextmanager
def together(device: str) -> Iterator[str]:
    """Join the process group of torchrun, if there is one, and leave it at the end; yield this rank's device.

    On CUDA each process of a machine uses its own GPU and NCCL; otherwise gloo.
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


def everybodys(value: Value) -> list[Value]:
    """Gather the values of all ranks, in rank order."""
    if count() == 1:
        return [value]
    values: list[Any] = [None] * count()
    distributed.all_gather_object(values, value)
    return values


def first(make: Callable[[], Value]) -> Value:
    """Make a value on rank 0 and broadcast it; if rank 0 raises, every rank raises."""
    if count() == 1:
        return make()
    shared: list[Any] = [None, None]
    if rank() == 0:
        try:
            shared[0] = make()
        except Exception as error:  # the others must not wait for it
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
    """Average float tensors over the ranks, in place; count and shapes must be equal on all ranks."""
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

    A kill at any time leaves either this checkpoint or the previous one readable by `read`.
    """
    own = _own(folder)
    if count() == 1:
        checkpoint.write(own, snapshot, kind)
        return
    checkpoint.write(_later(own), snapshot, kind)
    distributed.barrier()
    checkpoint.replace(_later(own), own)
    distributed.barrier()


def read(folder: Path, kind: str, moment: Callable[[dict[str, Any]], int]) -> Snapshot | None:
    """Read this rank's part of the newest checkpoint that all ranks have; None if no rank has any.

    moment: the step of a snapshot, from its metadata. CheckpointError if the ranks share no checkpoint, or if it was
    written by a different number of ranks.
    """
    own = _own(folder)
    places = [place for place in (own, _later(own)) if checkpoint.exists(place)]
    found = {moment(checkpoint.about_of(place)): place for place in places}
    all_found = everybodys(set(found))
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
