"""The pipelines: ours, and the paper's as far as it is specified, at its size and at one for CPUs."""

from __future__ import annotations

from dataclasses import dataclass, field

from flipagents.classify.classifier import ClassifierConfig
from flipagents.learn.config import LearnerConfig
from flipagents.maps.network import StudentConfig
from flipagents.store.recipe import CONTOUR, Recipe
from flipenv.config import AUTO, COARSE, PAPER_COARSE, PAPER_FINE, EnvConfig

CONTEXTS = (0.45, 0.55)  # of the voting canvases; trained on 0.5
SMOOTH = 0.03  # chosen with CONTEXTS on BUSI val, see docs/experiments.md
DECAY = 3e-3  # of agents under the paper's rewards, likewise
WARP = 0.25  # of the networks' training examples, likewise
GUIDED = StudentConfig(  # likewise
    features=(16, 16, 32, 64, 128, 16), warp=0.15, warp_share=0.5, scanners=0.5, epochs=100, weight_decay=0.05
)


@dataclass(frozen=True)
class Preset:
    """Settings in which the paper's pipeline and ours differ."""

    recipe: Recipe  # its prior may also be used by rewards
    env: tuple[EnvConfig, ...] = ()  # of the stages; () for a pipeline without agents
    learner: LearnerConfig = field(default_factory=LearnerConfig.small)
    classifier: ClassifierConfig = field(default_factory=lambda: ClassifierConfig.preset("small"))
    contour: StudentConfig = field(default_factory=StudentConfig)  # of that prior, if it is learned
    students: tuple[
        tuple[str, StudentConfig], ...
    ] = ()  # name; the first learns from the agents, or without them from the rule; each other from the previous one
    guided: bool = False  # whether LiteMedSAM's maps are averaged into what the first student learns


def presets() -> dict[str, Preset]:
    """All presets by name.

    `paper`: as faithful as the text allows. `small`: our best from boxes alone, small enough for two CPU cores.
    `guided`: networks without agents, taught by boxes and by LiteMedSAM. `paper-small`: the paper's rewards at that
    size, with theta from the boxes, and what they need to be learned (docs/paper.md).
    """
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
    votes = tuple({"canvas": {"kind": "roi", "context": context}} for context in CONTEXTS)
    rewarded = EnvConfig(
        channels=("superpixel", "box"),
        frames=2,
        credit="sequential",
        theta=AUTO,
        standardise="core",
        beta=None,
    )
    return {
        "paper": Preset(
            env=(EnvConfig.paper(1), EnvConfig.paper(2)),
            learner=LearnerConfig.paper(),
            classifier=ClassifierConfig.preset("paper", patches={"cell_areas": (PAPER_FINE, PAPER_COARSE)}),
            recipe=Recipe(mirror=False, opening=2),
        ),
        "small": Preset(
            env=(ours.replace(cell_area=COARSE), ours.replace(coarse_channels=True)),
            learner=LearnerConfig.small(gamma=0.0, lanes=32, epochs=3, replay=20_000, weight_decay=1e-4),
            classifier=ClassifierConfig.preset("small"),
            recipe=Recipe(
                prior=CONTOUR,
                votes=votes,
                mirror=False,
                smooth=SMOOTH,
            ),
            contour=StudentConfig(warp=WARP),
            students=(("student", StudentConfig(warp=WARP)), ("locator", StudentConfig.loose())),
        ),
        "guided": Preset(
            recipe=Recipe(stages=()),
            students=(("student", GUIDED), ("locator", StudentConfig.loose(features=(10, 10, 20, 40, 80, 10)))),
            guided=True,
        ),
        "paper-small": Preset(
            env=(rewarded.replace(cell_area=COARSE), rewarded.replace(coarse_channels=True)),
            # rewards of single superpixels are noise about their mean: decay and few steps keep agents from fitting it
            learner=LearnerConfig.small(gamma=0.5, lanes=32, train_steps=30_000, replay=20_000, weight_decay=DECAY),
            classifier=ClassifierConfig.preset("small"),
            recipe=Recipe(votes=votes, smooth=SMOOTH),
        ),
    }
