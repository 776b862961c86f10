"""What a pipeline's networks tell about a nodule in a film: where it went, and whether it is still there."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from flipagents.maps.mapper import Mapper
from flipagents.maps.seek import Seeker
from flipagents.segment.follow import Score
from flipagents.segment.loading import load_scorer, load_student
from flipagents.segment.runtimes import pipeline_folder
from flipagents.store import checkpoint
from flipagents.store.recipe import CLASSIFIER, PIPELINE
from flipenv.batch import to_numpy
from flipenv.config import CanvasSpec, EnvConfig
from flipenv.episode import prepare
from flipenv.errors import MissingDependencyError
from flipenv.pixels import Grey
from flipenv.scorer import Scorer
from flipenv.types import Box, Case


class Watch(NamedTuple):
    """What films are followed by."""

    seeker: Seeker
    score: Score | None  # None without a classifier
    lacking: tuple[str, ...]  # what it does without, and why, one line each

    @property
    def judges(self) -> str:
        """What judges whether the nodule is still there."""
        parts = ["contrast", "map" if self.seeker.locator is not None else "map of boundaries alone"]
        return ", ".join([*parts, *(["classifier"] if self.score is not None else [])])


def watch(weights: str | Path | None = None, device: str = "cpu", runtime: str = "auto") -> Watch:
    """Load the locator and the classifier of a pipeline, each if it is there; None for the shipped weights.

    runtime: see `flipagents.segment.runtimes`. A network that is not there, or whose library is not installed, is named
    in `lacking`. Raises CheckpointError for one that is damaged, and as `pipeline_folder`.
    """
    where, lacking = pipeline_folder(weights, runtime, device), []
    locator: Mapper | None = None
    score: Score | None = None
    try:
        if checkpoint.exists(where / "locator"):
            locator = load_student("locator", weights, device, runtime)
        else:
            lacking.append(f"{where.name} has no locator")
        if checkpoint.exists(where / CLASSIFIER) and (where / PIPELINE).exists():
            score = _judge(*load_scorer(weights, device, runtime))
        else:
            lacking.append(f"{where.name} has no classifier")
    except MissingDependencyError as error:
        lacking.append(str(error))
    return Watch(Seeker(locator), score, tuple(lacking))


def _judge(scorer: Scorer, canvas: CanvasSpec) -> Score:
    """The score of an image that nothing was erased from, as agents see it first."""
    env = EnvConfig(canvas=canvas)

    def score(image: Grey, box: Box) -> float:
        return float(to_numpy(scorer(prepare(Case(image, box), env).image[None]))[0])

    return score
