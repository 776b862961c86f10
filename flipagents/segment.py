"""Box in, mask out: the stages of a trained pipeline, one after the other, on many images at once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flipagents.agents import Agent, load_agent
from flipagents.checkpoint import CheckpointError
from flipagents.postprocess import tidy
from flipagents.priors import PRIORS
from flipagents.rollout import masks_of
from flipenv.config import EnvConfig
from flipenv.errors import BoxError, EpisodeError, FlipError
from flipenv.pool import EpisodePool
from flipenv.types import Box, Case

PIPELINE = "pipeline.json"
SHIPPED = Path(str(files("flipagents") / "weights" / "busi-small"))  # used where no folder is given
CHUNK = 256  # images whose episodes are in memory at once

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Recipe:
    """How the stages of a pipeline are put together; what `pipeline.json` holds."""

    stages: tuple[str, ...] = ("stage1", "stage2")  # folders of agents, in order
    votes: tuple[Mapping[str, Any], ...] = field(default=({},))  # changes of the environment; their masks are averaged
    prior: str | None = None  # rule of `flipagents.priors` whose picture every stage may see
    mirror: bool = True  # each vote is also taken on the image mirrored left to right
    smooth: float = 0.0  # deviation of the blur of the share of votes, share of the square root of the box's area
    opening: int = 0  # of the mask, see `flipagents.postprocess.tidy`

    @classmethod
    def read(cls, folder: Path) -> Recipe:
        """Read a pipeline's recipe; CheckpointError where there is none or it is damaged."""
        path = folder / PIPELINE
        try:
            values = json.loads(path.read_text())
            return cls(tuple(values.pop("stages")), tuple(values.pop("votes")), **values)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise CheckpointError(
                f"{path} is no pipeline ({error}); expected a folder that `flip train` wrote, with {PIPELINE} in it"
            ) from None

    def write(self, folder: Path) -> None:
        """Write under a temporary name and rename."""
        part = folder / f".{PIPELINE}.part"
        part.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")
        part.replace(folder / PIPELINE)


class Segmenter:
    """Segments the nodule in a box.

        seg = Segmenter.from_pretrained()
        seg.set_image(image)      # (height, width) uint8
        mask = seg.predict(box)   # (top, left, bottom, right) -> (height, width) bool

    Deterministic; needs no classifier. stages: agents in order; each but the first sees the mask of the one before.
    """

    def __init__(self, stages: Sequence[Agent], recipe: Recipe | None = None, *, lanes: int = 64) -> None:
        self.stages, self.recipe, self.lanes = list(stages), recipe or Recipe(), lanes
        self._prior = None if self.recipe.prior is None else PRIORS[self.recipe.prior]
        self._image: NDArray[np.uint8] | None = None

    @classmethod
    def from_pretrained(cls, folder: str | Path | None = None, *, device: str = "cpu", lanes: int = 64) -> Segmenter:
        """Load the weights that ship with the package, or a folder that `flip train` wrote.

        Raises CheckpointError for a folder that holds no pipeline.
        """
        where = SHIPPED if folder is None else Path(folder)
        recipe = Recipe.read(where)
        return cls([load_agent(where / name, device) for name in recipe.stages], recipe, lanes=lanes)

    def set_image(self, image: NDArray[np.uint8]) -> None:
        """Choose the image (height, width) uint8 for `predict`; it is checked together with the box."""
        self._image = image

    def predict(self, box: Sequence[int]) -> Mask:
        """Mask (height, width) bool of the nodule in `box` = (top, left, bottom, right), pixels of the image set."""
        if self._image is None:
            raise EpisodeError("predict() before set_image(); call set_image(image) first")
        return self.predict_many([self._image], [box])[0]

    def predict_many(
        self, images: Sequence[NDArray[np.uint8]], boxes: Sequence[Sequence[int]], *, progress: bool = False
    ) -> list[Mask]:
        """One mask for each image and box; lanes are refilled across images, so the batch stays full.

        Raises ImageError or BoxError that names the number of the pair that does not fit.
        """
        if len(images) != len(boxes):
            raise BoxError(f"{len(images)} images but {len(boxes)} boxes; expected one box for each image")
        cases = []
        for index, (image, box) in enumerate(zip(images, boxes, strict=True)):
            try:
                cases.append(Case(image, box, id=str(index)))  # type: ignore[arg-type] # any four whole numbers
            except FlipError as error:
                raise type(error)(f"image {index}: {error}") from None
        chunks = (cases[start : start + CHUNK] for start in range(0, len(cases), CHUNK))
        return [mask for chunk in chunks for mask in self._vote([self.informed(case) for case in chunk], progress)]

    def informed(self, case: Case) -> Case:
        """Return the case with the prior that the recipe names, if it names one."""
        return case if self._prior is None else dataclasses.replace(case, prior=self._prior(case.image, case.box))

    def _vote(self, cases: list[Case], progress: bool) -> list[Mask]:
        sums = [np.zeros(case.image.shape) for case in cases]
        count = 0
        for vote in self.recipe.votes:
            for turned in (False, True) if self.recipe.mirror else (False,):
                seen = [_mirrored(case) for case in cases] if turned else cases
                masks = self.rollout(seen, vote, progress=progress)
                sums = [total + (mask[:, ::-1] if turned else mask) for total, mask in zip(sums, masks, strict=True)]
                count += 1
        means = (self._smoothed(total / count, case.box) for total, case in zip(sums, cases, strict=True))
        return [tidy(mean > 0.5, opening=self.recipe.opening) for mean in means]

    def _smoothed(self, mean: NDArray[np.float64], box: Box) -> NDArray[np.float64]:
        """Blur the share of votes: superpixels end in steps, lesions do not."""
        if self.recipe.smooth == 0:
            return mean
        sigma = self.recipe.smooth * (box.height * box.width) ** 0.5
        return np.asarray(cv2.GaussianBlur(mean, (0, 0), sigma))

    def rollout(
        self, cases: list[Case], options: Mapping[str, Any] | None = None, *, progress: bool = False
    ) -> list[Mask]:
        """Masks of the last stage, as erased: one walk of all stages over `informed` cases, no vote, nothing tidied."""
        masks: list[Mask] = []
        for agent in self.stages:
            env = walking(agent.env, **(options or {}))
            if masks:
                cases = [dataclasses.replace(case, coarse=mask) for case, mask in zip(cases, masks, strict=True)]
            pool = EpisodePool(cases, env, cache=False)
            device = None if agent.config.device == "cpu" else agent.config.device
            masks = masks_of(agent, pool, lanes=self.lanes, device=device, workers=1, progress=progress)
        return masks


def walking(env: EnvConfig, **options: Any) -> EnvConfig:
    """The environment of a trained agent without classifier and jitter, as it walks at inference."""
    return env.replace(beta=None, jitter=(0.0, 0.0), variants=1, **options)


def _mirrored(case: Case) -> Case:
    width = case.image.shape[1]
    box = Box(case.box.top, width - case.box.right, case.box.bottom, width - case.box.left)
    prior = None if case.prior is None else np.ascontiguousarray(case.prior[:, ::-1])
    return Case(np.ascontiguousarray(case.image[:, ::-1]), box, id=case.id, prior=prior)
