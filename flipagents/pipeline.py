"""Train everything that a mask needs: classifier, stage 1 on coarse superpixels, stage 2 on fine ones, students.

Each part writes into its own folder and goes on where it stopped, so the same command resumes a run that was killed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flipagents import checkpoint
from flipagents.agents import load_agent, make_agent
from flipagents.checkpoint import CheckpointError
from flipagents.classifier import Classifier, ClassifierConfig
from flipagents.classifier_training import FINAL, train_classifier
from flipagents.config import LearnerConfig
from flipagents.distil import distil
from flipagents.learner import AGENT, Learner
from flipagents.priors import Enriched
from flipagents.rollout import masks_of
from flipagents.segment import Recipe, Segmenter, walking
from flipagents.sites import PatchConfig
from flipagents.student import Student, StudentConfig
from flipenv.config import COARSE, PAPER_COARSE, PAPER_FINE, EnvConfig
from flipenv.errors import ConfigError
from flipenv.pool import EpisodePool
from flipenv.registry import unknown
from flipenv.sources import Source, SourceLike, open_source

STAGES = ("stage1", "stage2")
CONTEXTS = (0.45, 0.55)  # of the canvases that vote; trained on 0.5
SMOOTH = 0.03  # chosen with CONTEXTS on BUSI val, see docs/experiments.md


@dataclass(frozen=True)
class Preset:
    """What differs between the paper's pipeline and ours."""

    prior: str | None  # rule whose picture rewards may use, see `flipagents.priors`
    env: tuple[EnvConfig, EnvConfig]  # of the two stages
    learner: LearnerConfig
    classifier: ClassifierConfig
    recipe: Recipe
    students: tuple[tuple[str, StudentConfig], ...] = ()  # name, each taught by the one before, the first by the agents


def presets() -> dict[str, Preset]:
    """`paper`: as faithful as its text allows. `small`: our best, small enough for two CPU cores."""
    ours = EnvConfig(
        channels=("superpixel", "box", "ellipse", "prior"),
        frames=2,
        csr="logit",
        csr_weight=0.5,
        credit="sequential",
        idr_weight=0.0,
        prior_weight=1.0,
        beta=None,
        traversals=1,
    )
    return {
        "paper": Preset(
            prior=None,
            env=(EnvConfig.paper(1), EnvConfig.paper(2)),
            learner=LearnerConfig.paper(),
            classifier=ClassifierConfig.preset("paper", patches={"cell_areas": (PAPER_FINE, PAPER_COARSE)}),
            recipe=Recipe(mirror=False, opening=2),
        ),
        "small": Preset(
            prior="refined",
            env=(ours.replace(cell_area=COARSE), ours.replace(coarse_channels=True)),
            learner=LearnerConfig.small(gamma=0.0, lanes=32, epochs=3, replay=20_000, weight_decay=1e-4),
            classifier=ClassifierConfig.preset("small"),
            recipe=Recipe(
                prior="refined",
                votes=tuple({"canvas": {"kind": "roi", "context": context}} for context in CONTEXTS),
                mirror=False,
                smooth=SMOOTH,
            ),
            students=(("student", StudentConfig()), ("locator", StudentConfig.loose())),
        ),
    }


def train_pipeline(
    train: SourceLike,
    val: SourceLike | None,
    folder: str | Path,
    *,
    preset: str = "small",
    agent: str = "ddqn",
    device: str = "cpu",
    progress: bool = True,
    env_options: Mapping[str, Any] | None = None,
    learner_options: Mapping[str, Any] | None = None,
    classifier_options: Mapping[str, Any] | None = None,
    student_options: Mapping[str, Any] | None = None,
) -> Path:
    """Train the pipeline of a preset on images and boxes; return its folder, which `Segmenter.from_pretrained` reads.

    agent: who learns both stages, a name of `flipagents.agents`.
    No mask is looked at: neither of `train` nor of `val`, which calibrates the classifier. ConfigError for an unknown
    preset, agent or option; CheckpointError where the folder holds a run of other options.
    """
    if preset not in presets():
        raise ConfigError(unknown("preset", preset, presets()))
    chosen, folder = presets()[preset], Path(folder)
    learner = chosen.learner.replace(**{"device": device, **(learner_options or {})})
    stages = [env.replace(**(env_options or {})) for env in chosen.env]
    make_agent(agent, stages[-1], learner)  # what is wrong with it shows before the classifier is trained
    asked = dict(classifier_options or {})
    patches = PatchConfig.of(asked.pop("patches", chosen.classifier.patches), env=stages[-1])
    config = ClassifierConfig.of(chosen.classifier, **asked, patches=patches)
    source = open_source(train)
    known = None if val is None else open_source(val)
    into = folder / "classifier"
    if not checkpoint.exists(into / FINAL):
        train_classifier(source, config=config, val=known, folder=into, device=device, progress=progress)
    classifier = Classifier.load(into / FINAL)
    if classifier.config != config:
        raise CheckpointError(f"{into} was trained with other options; choose another folder, or remove it")
    scorer = classifier.scorer(device)
    masks = None
    for name, env in zip(STAGES, stages, strict=True):
        pool = EpisodePool(Enriched(source, chosen.prior, masks), env)
        Learner(pool, learner, agent=agent, scorer=scorer, progress=progress).fit(folder / name, progress=progress)
        if name != STAGES[-1]:
            learnt = load_agent(folder / name / AGENT, device)
            walk = EpisodePool(pool.source, walking(env).replace(jitter=env.jitter))
            masks = masks_of(learnt, walk, device=None if device == "cpu" else device, progress=progress)
    dataclasses.replace(chosen.recipe, stages=tuple(f"{name}/{AGENT}" for name in STAGES)).write(folder)
    students = {name: pupil.replace(**(student_options or {})) for name, pupil in chosen.students}
    if students:
        _teach(source, folder, students, device, progress)
    return folder


def _teach(source: Source, folder: Path, students: dict[str, StudentConfig], device: str, progress: bool) -> None:
    """Train students into a pipeline's folder, the first on the agents' maps, each other on those of the one before."""
    cases = [dataclasses.replace(source.load(index), mask=None) for index in range(len(source))]
    images, boxes = [case.image for case in cases], [case.box for case in cases]
    teacher: Student | None = None
    for name, config in students.items():
        if not checkpoint.exists(folder / name):
            if teacher is None:
                signed = Segmenter.from_pretrained(folder, device=device).map_many(images, boxes, progress=progress)
                maps: list[NDArray[np.floating[Any]]] = [(value + 1) / 2 for value in signed]
            else:
                maps = list(teacher.maps(images, boxes))
            distil(cases, maps, config, device=device, progress=progress).save(folder / name)
        teacher = Student.load(folder / name, device)
        if teacher.config != config:
            raise CheckpointError(
                f"{folder / name} was trained with other options; choose another folder, or remove it"
            )
