"""Train a pipeline: classifier, prior, stage 1 on coarse superpixels, stage 2 on fine ones, students.

Each part writes to its own folder and resumes where it stopped, so the same command resumes a killed run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from flipagents.classify.classifier import Classifier, ClassifierConfig
from flipagents.classify.sites import PatchConfig
from flipagents.classify.training import train_classifier
from flipagents.learn import ranks
from flipagents.learn.agents import make_agent
from flipagents.learn.config import LearnerConfig
from flipagents.learn.learner import Learner, check_agent
from flipagents.learn.rollout import masks_of
from flipagents.machine.devices import check_device
from flipagents.maps.contour import rule_maps, train_contour, with_masks
from flipagents.maps.enriched import Enriched
from flipagents.maps.network import Student, StudentConfig
from flipagents.maps.training import Target, distil
from flipagents.segment.export import write_copy
from flipagents.segment.loading import find_prior, load_agent
from flipagents.segment.segmenter import Segmenter, walking
from flipagents.store import checkpoint, run_folder
from flipagents.store.checkpoint import CheckpointError
from flipagents.store.recipe import CONTOUR, Recipe
from flipagents.store.run_folder import AGENT, CLASSIFIER, FINAL, STAGES
from flipagents.train.agentless import DEFAULT_AGENT, check_unused
from flipagents.train.corrections import read_mended
from flipagents.train.guide import GUIDE, ask_guide, check_guide, with_guides
from flipagents.train.presets import presets
from flipenv.config import EnvConfig
from flipenv.errors import ConfigError
from flipenv.pixels import Mask
from flipenv.pool import EpisodePool, check_names
from flipenv.progress import log_line
from flipenv.registry import unknown
from flipenv.scorer import Scorer
from flipenv.sources import Source, SourceLike, open_source
from flipenv.types import Case


def train_pipeline(
    train: SourceLike,
    val: SourceLike | None,
    folder: str | Path,
    *,
    preset: str = "small",
    agent: str = DEFAULT_AGENT,
    device: str = "cpu",
    progress: bool = True,
    corrections: str | Path | None = None,
    env_options: Mapping[str, Any] | None = None,
    learner_options: Mapping[str, Any] | None = None,
    classifier_options: Mapping[str, Any] | None = None,
    student_options: Mapping[str, Any] | None = None,
) -> Path:
    """Train the pipeline of a preset on images and boxes; return its folder, which `Segmenter.from_pretrained` reads.

    agent: name of the agent for both stages, see `flipagents.learn.agents`.
    corrections: folder of masks that a person mended (`flipagents.train.corrections`); those of training images teach
    the prior's network and the first student in place of the maps of these images. Otherwise no masks are used, neither
    of `train` nor of `val`, which calibrates the classifier. Raises, before anything is computed, ConfigError for an
    unknown preset, agent, device or option, CheckpointError if the folder holds a run with other options, data or
    mended masks, OutputError if it is not writable, and as `read_mended`.

    The folder gets `run.json` at once, and progress lines in `train.log` (see `flipagents.store.run_folder`).

    Inside `flipagents.learn.ranks.process_group` all ranks train the stages together; rank 0 does the rest.
    """
    if preset not in presets():
        raise ConfigError(unknown("preset", preset, presets()))
    check_unused(preset, agent, {"env": env_options, "learner": learner_options, "classifier": classifier_options})
    chosen, folder, device = presets()[preset], Path(folder), check_device(device)
    learner = chosen.learner.replace(**{"device": device, **(learner_options or {})})
    learner = learner.replace(device=check_device(learner.device))
    stages = dict(zip(STAGES, (env.replace(**(env_options or {})) for env in chosen.env), strict=False))
    for env in stages.values():
        check_names(env)
    judged: dict[str, ClassifierConfig] = {}
    if stages:
        last = stages[STAGES[-1]]
        check_agent(make_agent(agent, last, learner), learner)  # errors show before the classifier is trained
        asked = dict(classifier_options or {})
        patches = PatchConfig.of(asked.pop("patches", chosen.classifier.patches), env=last)
        judged = {CLASSIFIER: ClassifierConfig.of(chosen.classifier, **asked, patches=patches)}
    changes = student_options or {}
    contour = {CONTOUR: chosen.contour.replace(**changes)} if chosen.recipe.prior == CONTOUR else {}
    students = {name: pupil.replace(**changes) for name, pupil in chosen.students}
    options = {
        **run_folder.merged({name: env.to_dict() for name, env in stages.items()}, "env"),
        **run_folder.merged({"": learner.to_dict()} if stages else {}, "learner"),
        **run_folder.merged({name: own.to_dict() for name, own in judged.items()}, "classifier"),
        **run_folder.merged({name: vars(own) for name, own in {**contour, **students}.items()}, "student"),
    }
    if corrections is not None and not (contour or students):
        raise ConfigError(f"preset {preset!r} has no network that mended masks could teach: omit corrections")
    if chosen.guided:
        check_guide()
    source = open_source(train)
    known = None if val is None else open_source(val)
    mended = None if corrections is None else read_mended(corrections, source)
    begin = partial(run_folder.begin, folder, preset=preset, agent=agent, options=options, data=train, val=val)
    begin = partial(begin, corrections=None if mended is None else mended.record())
    ranks.on_rank_0(partial(begin, parts=[*judged, *contour, *stages, *students]))
    masks = None if mended is None else mended.masks
    with run_folder.log(folder):
        if mended is not None:
            log_line(mended.summary(), quiet=not progress or ranks.rank() > 0)
        guides = None
        if chosen.guided:
            guides = ranks.on_rank_0(
                partial(ask_guide, _blind(source), folder / GUIDE, device=device, progress=progress)
            )
        scorer = None
        for config in judged.values():
            scorer = _judge(source, known, folder / CLASSIFIER, config, device, progress)
        train_stages(
            source,
            stages,
            folder,
            learner=learner,
            agent=agent,
            scorer=scorer,
            recipe=chosen.recipe,
            contour=contour.get(CONTOUR),
            mended=masks,
            progress=progress,
        )
        taught = partial(teach, source, folder, students, guides=guides, mended=masks)
        ranks.on_rank_0(partial(taught, device=device, progress=progress))
        ranks.on_rank_0(partial(write_copy, folder))
    return folder


def _judge(
    source: Source, val: Source | None, into: Path, config: ClassifierConfig, device: str, progress: bool
) -> Scorer:
    """Load the classifier of a folder, or train it; CheckpointError if it was trained with another config."""

    def train() -> None:
        if not checkpoint.exists(into / FINAL):
            train_classifier(source, config=config, val=val, folder=into, device=device, progress=progress)

    ranks.on_rank_0(train)
    classifier = Classifier.load(into / FINAL)
    if classifier.config != config:
        raise CheckpointError(f"{into} was trained with other options; choose another folder, or remove it")
    return classifier.scorer(device)


@dataclass(frozen=True)
class Cost:
    """Training cost of one stage."""

    episodes: int
    steps: int  # joint steps of all lanes together
    seconds: float  # in the training loop


def train_stages(
    source: Source,
    stages: Mapping[str, EnvConfig],
    folder: Path,
    *,
    learner: LearnerConfig,
    scorer: Scorer | None,
    agent: str = "ddqn",
    recipe: Recipe | None = None,
    contour: StudentConfig | None = None,
    mended: Mapping[int, Mask] | None = None,
    progress: bool = True,
) -> dict[str, Cost]:
    """Train the agents stage by stage, into a folder that `Segmenter.from_pretrained` reads; return the costs.

    stages: environments by stage name, in order; each after the first sees the previous one's masks. agent: name of the
    agent for all of them, see `flipagents.learn.agents`. recipe: of the pipeline; its stages are replaced. contour: the
    network of the prior `contour`, trained first if the recipe names that prior. mended: masks by a case's index, which
    that network learns in place of the rule's maps. Resumes where it stopped; CheckpointError if the folder belongs to
    another run. Inside `flipagents.learn.ranks.process_group` all ranks train the agents together; rank 0 does the
    rest.
    """
    recipe, device = recipe or Recipe(), learner.device
    cases = _blind(source)

    def outline() -> None:
        config = contour or StudentConfig()
        train = partial(train_contour, cases, config, mended=mended, device=device, progress=progress)
        _once(folder / CONTOUR, config, device, train)

    if recipe.prior == CONTOUR:
        ranks.on_rank_0(outline)
    prior = find_prior(recipe.prior, folder, device)
    priors = None if prior is None else [prior(case.image, case.box) for case in cases]
    costs: dict[str, Cost] = {}
    masks = None
    for name, env in stages.items():
        pool = EpisodePool(Enriched(source, priors, masks), env)
        trained = Learner(pool, learner, agent=agent, scorer=scorer, progress=progress)
        trained.fit(folder / name, progress=progress)
        costs[name] = Cost(trained.episodes, trained.steps, trained.seconds)
        if len(costs) < len(stages):
            walk = EpisodePool(pool.source, walking(pool.config).replace(jitter=env.jitter))
            learnt = load_agent(folder / name / AGENT, device)
            masks = ranks.on_rank_0(partial(masks_of, learnt, walk, device=learnt.batch_device, progress=progress))
    whole = dataclasses.replace(recipe, stages=tuple(f"{name}/{AGENT}" for name in stages))
    ranks.on_rank_0(lambda: whole.write(folder))
    return costs


def teach(
    source: Source,
    folder: Path,
    students: Mapping[str, StudentConfig],
    *,
    guides: Sequence[Target] | None = None,
    mended: Mapping[int, Mask] | None = None,
    device: str = "cpu",
    progress: bool = True,
) -> None:
    """Train students into a pipeline's folder, the first on the agents' maps, each other on the previous one's.

    Without agents the first learns the rule's. guides: maps to average with what the first learns, one per case, see
    `flipagents.train.guide`. mended: masks by a case's index, which the first learns in place of these maps.
    """
    cases = _blind(source)
    images, boxes = [case.image for case in cases], [case.box for case in cases]
    teacher: Student | None = None

    def first() -> list[Target]:
        if Recipe.read(folder).stages:
            segmenter = Segmenter.from_pretrained(folder, device=device, runtime="torch")
            maps: list[Target] = [(value + 1) / 2 for value in segmenter.map_many(images, boxes, progress=progress)]
        else:
            maps = list(rule_maps(cases))
        return with_masks(maps if guides is None else with_guides(maps, guides), mended or {})

    def taught(name: str, config: StudentConfig) -> Student:
        log_line(f"{name}: computing its target maps", quiet=not progress)
        maps = first() if teacher is None else list(teacher.maps(images, boxes))
        return distil(cases, maps, config, device=device, progress=progress, title=name)

    for name, config in students.items():
        teacher = _once(folder / name, config, device, partial(taught, name, config))


def _blind(source: Source) -> list[Case]:
    """All cases without their masks."""
    return [dataclasses.replace(source.load(index), mask=None) for index in range(len(source))]


def _once(folder: Path, config: StudentConfig, device: str, train: Callable[[], Student]) -> Student:
    """Load the network of a folder, or train it; CheckpointError if it was trained with another config."""
    if not checkpoint.exists(folder):
        train().save(folder)
    network = Student.load(folder, device)
    if network.config != config:
        raise CheckpointError(f"{folder} was trained with other options; choose another folder, or remove it")
    return network
