"""Several processes that train one set of weights, and what they tell each other; a process alone tells nobody.

    torchrun --nproc-per-node 2 -m flipagents train --data data/busi --out runs/mine --device cuda

Each process, a rank, has lanes, replay buffer and random numbers of its own. Gradients are averaged before each step of
the optimiser, so that all hold the same weights, bit for bit.
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

WAIT = datetime.timedelta(days=2)  # for one rank's own work, such as the classifier's training
NEXT = ".next"  # ending of a checkpoint that not all ranks may have written

Value = TypeVar("Value")


@contextmanager
def together(device: str) -> Iterator[str]:
    """Meet the other processes that torchrun started, if it did, and part from them in the end; give this one's device.

    On CUDA each process of a machine takes a GPU of its own, and they speak NCCL; otherwise gloo.
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
    """How many processes train together; 1 alone."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0; the first one writes files."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def everybodys(value: Value) -> list[Value]:
    """The values of all ranks, in their order."""
    if count() == 1:
        return [value]
    values: list[Any] = [None] * count()
    distributed.all_gather_object(values, value)
    return values


def first(make: Callable[[], Value]) -> Value:
    """Let the first rank make a value that all get; an error of its is everybody's."""
    if count() == 1:
        return make()
    told: list[Any] = [None, None]
    if rank() == 0:
        try:
            told[0] = make()
        except Exception as error:  # the others must not wait for it
            told[1] = error
    distributed.broadcast_object_list(told)
    if told[1] is not None:
        raise told[1]
    made: Value = told[0]
    return made


def total(number: int, device: str) -> int:
    """Sum of all ranks' numbers."""
    if count() == 1:
        return number
    sums = torch.tensor(number, device=device)
    distributed.all_reduce(sums)
    return int(sums)


def average(tensors: Iterable[Tensor]) -> None:
    """Replace tensors of floats, the same on all ranks in number and shape, by their means over the ranks."""
    own = [tensor for tensor in tensors if tensor.is_floating_point()]
    if count() == 1 or not own:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in own])
    distributed.all_reduce(flat)
    flat /= count()
    for tensor, mean in zip(own, torch.split(flat, [tensor.numel() for tensor in own]), strict=True):
        tensor.copy_(mean.view_as(tensor))


def write(folder: Path, snapshot: Snapshot, kind: str) -> None:
    """Write a checkpoint of all ranks, each into a folder of its own: `folder`, `folder-1`, ...

    A kill at any time leaves either this one or the one before readable by `read`.
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
    """Read this rank's part of the newest checkpoint that all ranks have; None where no rank has any.

    moment: when a snapshot was taken, from what is told about it. CheckpointError where the ranks have nothing in
    common, or other ranks than now wrote it.
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
