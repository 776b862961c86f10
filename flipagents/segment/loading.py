"""Load the parts of a pipeline's folder: the only place that dispatches on the format, torch or ONNX."""

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
from flipagents.store.recipe import CLASSIFIER, CONTOUR, Recipe
from flipagents.store.run_folder import unfinished
from flipenv.config import CanvasSpec, EnvConfig
from flipenv.scorer import Scorer


def load_mapper(folder: str | Path, device: str = "cpu") -> Mapper:
    """Load the output of `Student.save` or `flip export`; CheckpointError if the folder holds neither.

    Raises MissingDependencyError without torch, or without onnxruntime for an exported network.
    """
    if checkpoint.kind_of(folder) == EXPORTED:
        from flipagents.segment.onnx import OnnxMapper  # noqa: PLC0415 - optional

        return OnnxMapper.load(folder, device)
    try:
        from flipagents.maps.network import Student  # noqa: PLC0415 - torch
    except ModuleNotFoundError as error:
        raise checkpoint.without_torch(Path(folder), error) from error
    return Student.load(folder, device)


def load_student(
    name: Literal["contour", "student", "locator"],
    folder: str | Path | None = None,
    device: str = "cpu",
    runtime: str = "auto",
) -> Mapper:
    """Load a pipeline's prior, student or locator network; folder: None for the shipped weights.

    runtime: see `flipagents.segment.runtimes.pipeline_folder`. Raises CheckpointError if the folder holds no pipeline,
    or one without that network.
    """
    where = pipeline_folder(folder, runtime, device)
    if not checkpoint.exists(where / name):
        raise CheckpointError(unfinished(where) or f"{where} holds no {name}; `flip train --preset small` makes one")
    return load_mapper(where / name, device)


def load_scorer(
    folder: str | Path | None = None, device: str = "cpu", runtime: str = "auto"
) -> tuple[Scorer, CanvasSpec]:
    """Load a pipeline's classifier, and the canvas on which it scores; folder: None for the shipped weights.

    Raises as `load_student`, also where no stage tells the canvas.
    """
    where = pipeline_folder(folder, runtime, device)
    if not checkpoint.exists(where / CLASSIFIER):
        raise CheckpointError(unfinished(where) or f"{where} holds no classifier; `flip train` makes one")
    recipe = Recipe.read(where)
    if not recipe.stages:
        raise CheckpointError(f"{where} has a classifier but no agents, whose canvas it scores")
    canvas = EnvConfig.of(checkpoint.about_of(where / recipe.stages[0])["env"]).canvas
    if checkpoint.kind_of(where / CLASSIFIER) == EXPORTED:
        from flipagents.segment.onnx import OnnxScorer  # noqa: PLC0415 - optional

        return OnnxScorer.load(where / CLASSIFIER, device), canvas
    try:
        from flipagents.classify.classifier import Classifier  # noqa: PLC0415 - torch
    except ModuleNotFoundError as error:
        raise checkpoint.without_torch(where / CLASSIFIER, error) from error
    return Classifier.load(where / CLASSIFIER).scorer(device), canvas


def load_agent(folder: str | Path, device: str = "cpu", **options: Any) -> Agent:
    """Load an agent written by `save` or `flip export`; CheckpointError if the folder holds none.

    device: "cpu" or "cuda". Raises MissingDependencyError without torch, or without onnxruntime for an exported agent.
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
    """The prior of a pipeline's recipe: a rule of `flipagents.maps.rules`, or `contour` with its network in the folder.

    Raises CheckpointError if the network is missing, ConfigError for any other name.
    """
    if name is None:
        return None
    return Contour(load_mapper(folder / CONTOUR, device)) if name == CONTOUR else PRIORS[name]
