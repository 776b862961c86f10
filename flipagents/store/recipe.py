"""The recipe of a pipeline, stored in its folder: how its stages combine, and the runtime of its networks."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flipagents.store import checkpoint
from flipagents.store.checkpoint import CheckpointError
from flipagents.store.files import write_texts
from flipenv.sources.contents import digest

PIPELINE = "pipeline.json"
CONTOUR = "contour"  # folder of the network behind the prior of this name
CLASSIFIER = "classifier/classifier"
OTHERS = (CONTOUR, "student", "locator", CLASSIFIER)  # optional networks beside the stages


@dataclass(frozen=True)
class Recipe:
    """How the stages of a pipeline combine; the contents of `pipeline.json`."""

    stages: tuple[str, ...] = ("stage1", "stage2")  # folders of agents, in order
    votes: tuple[Mapping[str, Any], ...] = field(
        default=({},)
    )  # config changes of the last stage's environment, one per vote
    prior: str | None = None  # whose picture every stage may see: see `flipagents.segment.loading.find_prior`
    mirror: bool = True  # each vote also includes the image flipped left to right
    smooth: float = 0.0  # sigma of the blur of the averaged map, share of the square root of the box's area
    opening: int = 0  # of the mask, see `flipagents.maps.tidy.tidy`
    runtime: str = "torch"  # what runs the networks in the folder, see `flipagents.segment.runtimes`

    @classmethod
    def read(cls, folder: Path) -> Recipe:
        """Read a pipeline's recipe; CheckpointError if it is missing or damaged."""
        path = folder / PIPELINE
        try:
            values = json.loads(path.read_text())
            return cls(tuple(values.pop("stages")), tuple(values.pop("votes")), **values)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise CheckpointError(
                f"{path} is not a pipeline ({error}); expected a folder written by `flip train`, with {PIPELINE}"
            ) from None

    def write(self, folder: Path) -> None:
        """Write atomically."""
        write_texts({folder / PIPELINE: json.dumps(dataclasses.asdict(self), indent=1) + "\n"})

    def is_copy_of(self, other: Recipe) -> bool:
        """Whether both are equal except for the runtime."""
        return dataclasses.replace(self, runtime=other.runtime) == other


def pipeline_digest(folder: Path) -> str:
    """Hex digest of a pipeline's recipe and weights, the same wherever they lie and whatever lies beside them.

    Raises CheckpointError where the folder holds no pipeline, or a part of it is missing.
    """
    recipe = Recipe.read(folder)
    names = networks(folder, recipe)
    parts = {name: checkpoint.digest_of(folder / name) for name in names}
    return digest(json.dumps([dataclasses.asdict(recipe), parts], sort_keys=True))


def networks(folder: Path, recipe: Recipe) -> list[str]:
    """Folders of all networks of a pipeline, relative to the pipeline's."""
    return [*recipe.stages, *(name for name in OTHERS if checkpoint.exists(folder / name))]
