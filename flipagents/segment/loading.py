"""What a pipeline's folder holds, as the parts that segment: the one place that asks who wrote it, torch or ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from flipagents.learn.agent import KIND, Agent
from flipagents.learn.agents import make_agent
from flipagents.maps.contour import Contour
from flipagents.maps.mapper import Mapper
from flipagents.maps.rules import PRIORS, Prior
from flipagents.segment.runtimes import pipeline_folder
from flipagents.store import checkpoint
from flipagents.store.checkpoint import CheckpointError
from flipagents.store.onnx import KIND as EXPORTED
from flipagents.store.recipe import CONTOUR
from flipagents.store.run_folder import unfinished


def load_mapper(folder: str | Path, device: str = "cpu") -> Mapper:
    """Load what `Student.save` or `flip export` wrote; CheckpointError where the folder holds neither.

    Raises MissingDependencyError without torch, or without onnxruntime for what was exported.
    """
    if checkpoint.kind_of(folder) == EXPORTED:
        from flipagents.segment.onnx import OnnxMapper  # noqa: PLC0415 - optional

        return OnnxMapper.load(folder, device)
    from flipagents.maps.network import Student  # noqa: PLC0415 - torch

    return Student.load(folder, device)


def load_student(
    name: Literal["contour", "student", "locator"],
    folder: str | Path | None = None,
    device: str = "cpu",
    runtime: str = "auto",
) -> Mapper:
    """Load a pipeline's prior, its student, or the one that finds boxes; folder: None for the weights that ship.

    runtime: see `flipagents.segment.runtimes.pipeline_folder`. Raises CheckpointError where the folder holds no
    pipeline, or one without it.
    """
    where = pipeline_folder(folder, runtime, device)
    if not checkpoint.exists(where / name):
        raise CheckpointError(
            unfinished(where) or f"{where} holds no {name}; `flip train` makes one after the agents, preset 'small'"
        )
    return load_mapper(where / name, device)


def load_agent(folder: str | Path, device: str = "cpu", **options: Any) -> Agent:
    """Make the agent that `save` or `flip export` wrote; CheckpointError where the folder holds none.

    device: "cpu" or "cuda". Raises MissingDependencyError without torch, or without onnxruntime for what was exported.
    """
    if checkpoint.kind_of(folder) == EXPORTED:
        from flipagents.segment.onnx import open_agent  # noqa: PLC0415 - optional

        return open_agent(folder, device, **options)
    saved = checkpoint.read(folder, KIND)
    about = saved.about
    agent = make_agent(about["agent"], about["env"], {**about["config"], "device": device}, **options)
    agent.take(saved)
    return agent


def find_prior(name: str | None, folder: Path, device: str = "cpu") -> Prior | None:
    """The prior of a pipeline's recipe: a rule of `flipagents.maps.rules`, or `contour`, whose network lies in the
    folder.

    Raises CheckpointError where it does not, ConfigError for a name that is neither.
    """
    if name is None:
        return None
    return Contour(load_mapper(folder / CONTOUR, device)) if name == CONTOUR else PRIORS[name]
