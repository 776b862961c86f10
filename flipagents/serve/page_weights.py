"""The weights that the page offers: those given on the command line, and those that ship; and their methods."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from flipagents.compare.methods import default_method
from flipagents.serve.service import AGENTS, SegmentationService, available_methods
from flipagents.store import checkpoint
from flipagents.store.checkpoint import SHIPPED, WEIGHTS, CheckpointError
from flipagents.store.recipe import CONTOUR, PIPELINE, Recipe

ABOUT = {"busi-small": "boxes only", "busi-paper": "the paper's rewards", "busi-guided": "boxes and LiteMedSAM"}
LABELS = {  # of the methods shown first, with the network in the pipeline's folder that each needs
    "contour": ("contour: best", CONTOUR),
    AGENTS: ("flip: the agents", None),
    "flip+student": ("flip+student: one pass", "student"),
    "polar": ("polar: best edge, no network", None),
    "grabcut-fair": ("GrabCut", None),
}
NO_AGENTS = "These weights have no agents to watch."


@dataclass(frozen=True, eq=False)
class Weights:
    """One pipeline to choose."""

    name: str
    service: SegmentationService
    folder: Path = field(default=SHIPPED)

    @property
    def label(self) -> str:
        """Its name and what it was trained on, if known."""
        about = ABOUT.get(self.name, "") if self.folder.parent == WEIGHTS else "as given"
        return f"{self.name}: {about}" if about else self.name

    @property
    def has_agents(self) -> bool:
        """Whether there are agents to watch; True for weights that cannot be read, as using them says why."""
        try:
            return bool(Recipe.read(self.folder).stages)
        except CheckpointError:
            return True

    @property
    def method(self) -> str:
        """The method to begin with."""
        return default_method(self.folder)

    @property
    def usual(self) -> list[tuple[str, str]]:
        """Labels and names of the methods shown first."""
        there = {name: part is None or checkpoint.exists(self.folder / part) for name, (_, part) in LABELS.items()}
        there[AGENTS] = self.has_agents
        return [(label, name) for name, (label, _) in LABELS.items() if there[name]]

    @property
    def others(self) -> list[str]:
        """Names of the methods for comparison."""
        return [name for name in available_methods() if name not in LABELS]


class Choices:
    """All weights of the page by name, the first being the one to begin with; networks are loaded on first use.

    weights: given on the command line, None for the default; device, runtime: as `SegmentationService`.
    """

    def __init__(self, weights: Path | None = None, device: str = "cpu", runtime: str = "auto") -> None:
        shipped = sorted(each.parent for each in WEIGHTS.glob(f"*/{PIPELINE}"))
        folders = [SHIPPED, *(folder for folder in shipped if folder != SHIPPED)]
        if weights is not None:
            folders = [weights, *(folder for folder in folders if folder != weights)]
        self.all: dict[str, Weights] = {}
        for folder in folders:
            name = folder.name if folder.name not in self.all else str(folder)
            given = None if folder == SHIPPED else folder
            self.all[name] = Weights(name, SegmentationService(given, device, runtime), folder)

    @property
    def first(self) -> Weights:
        """The weights to begin with."""
        return next(iter(self.all.values()))

    def of(self, name: str | None) -> Weights:
        """By name; the first for an unknown one, as of a session from before."""
        return self.all.get(name or "", self.first)
