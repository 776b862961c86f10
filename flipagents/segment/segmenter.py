"""From box to mask: the stages of a trained pipeline in sequence, on many images at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from flipagents.learn.agent import Agent
from flipagents.learn.rollout import maps_of, masks_of
from flipagents.machine.devices import check_device
from flipagents.maps.mapper import Mapper
from flipagents.maps.rules import Prior
from flipagents.maps.tidy import tidy
from flipagents.segment.answer import Answer, Chances
from flipagents.segment.corrections import CorrectionError
from flipagents.segment.loading import find_prior, load_agent, load_student
from flipagents.segment.mend import clicks_of, mend_points
from flipagents.segment.quality import Gauge, Quality
from flipagents.segment.runtimes import pipeline_folder
from flipagents.store.checkpoint import weights_folder
from flipagents.store.recipe import Recipe
from flipenv.config import EnvConfig
from flipenv.errors import BoxError, ConfigError, EpisodeError, FlipError
from flipenv.pixels import Mask
from flipenv.pool import EpisodePool
from flipenv.types import Box, Case

CHUNK = 128  # images whose episodes and maps are in memory at once
VOTED = ("margin", "background", "superpixels", "cell_area", "order")  # options in which votes may differ

Map = NDArray[np.float32]  # (height, width) in [-1, 1]


class Segmenter:
    """Segments the nodule in a box.

        seg = Segmenter.from_pretrained()
        seg.set_image(image)      # (height, width) uint8
        mask = seg.predict(box)   # (top, left, bottom, right) -> (height, width) bool
        mask = seg.predict(box, points=[(x, y)], labels=[1])  # mended by a click: 1 nodule, 0 not

    Deterministic; needs no classifier. stages: agents in order; each after the first sees the previous one's mask.
    prior: computes the prior that every stage may see, from image and tight box. student: in place of stages, a network
    whose map is the result. Raises ConfigError for both.
    """

    def __init__(
        self,
        stages: Sequence[Agent],
        recipe: Recipe | None = None,
        *,
        prior: Prior | None = None,
        student: Mapper | None = None,
        lanes: int = 64,
    ) -> None:
        if isinstance(lanes, bool) or not isinstance(lanes, int) or lanes < 1:
            raise ConfigError(f"lanes={lanes!r}; expected a whole number, at least 1")
        if stages and student is not None:
            raise ConfigError(f"{len(stages)} stages and a student; expected either agents or a student")
        self.student = student
        self.stages, self.recipe, self.prior, self.lanes = list(stages), recipe or Recipe(), prior, lanes
        self.folder: Path | None = None  # of the loaded networks
        self.gauge = Gauge()  # rates the masks
        self._image: NDArray[np.uint8] | None = None

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path | None = None,
        *,
        device: str = "cpu",
        lanes: int = 64,
        runtime: str = "auto",
    ) -> Segmenter:
        """Load the shipped weights, or a folder written by `flip train` or `flip export`.

        runtime: "onnx" for onnxruntime, "torch", or "auto": onnx on a CPU if the ONNX copy and onnxruntime are
        available, otherwise torch; see `flipagents.segment.runtimes`. Both give the same masks. Raises CheckpointError
        for a folder without a pipeline or without networks for that runtime; MissingDependencyError without the
        library.
        """
        device = check_device(device, runtime=runtime)
        where = pipeline_folder(folder, runtime, device)
        recipe = Recipe.read(where)
        stages = [load_agent(where / name, device) for name in recipe.stages]
        student = None if stages else load_student("student", where, device, recipe.runtime)
        segmenter = cls(stages, recipe, prior=find_prior(recipe.prior, where, device), student=student, lanes=lanes)
        segmenter.folder = where
        segmenter.gauge = Gauge.of(weights_folder(folder), "flip" if stages else "flip+student")
        return segmenter

    @property
    def runtime(self) -> str:
        """Runtime of the networks: "onnx" or "torch"."""
        return self.recipe.runtime

    def set_image(self, image: NDArray[np.uint8]) -> None:
        """Set the image (height, width) uint8 for `predict`; it is checked together with the box."""
        self._image = np.array(image)

    def predict(self, box: Sequence[int], points: ArrayLike | None = None, labels: ArrayLike | None = None) -> Mask:
        """Mask (height, width) bool of the nodule in `box` = (top, left, bottom, right), pixels of the image set.

        points: (N, 2), clicks as (x, y) in pixels, as in segment-anything; labels: (N,), 1 where a click is on the
        nodule and 0 where it is not. They mend the mask in their order, see `flipagents.segment.mend`. Raises
        EpisodeError before `set_image`, BoxError, ImageError, CorrectionError for points or labels that do not fit.
        """
        return self._answered(box, points, labels).mask

    def predict_with_quality(
        self, box: Sequence[int], points: ArrayLike | None = None, labels: ArrayLike | None = None
    ) -> tuple[Mask, Quality]:
        """As `predict`, with how good the mask probably is: see `flipagents.segment.quality`."""
        answer = self._answered(box, points, labels)
        quality = self.gauge.rate(self._shown(), answer)
        assert quality is not None, "a pipeline's answers have a map"
        return answer.mask, quality

    def predict_many(
        self, images: Sequence[NDArray[np.uint8]], boxes: Sequence[Sequence[int]], *, progress: bool = False
    ) -> list[Mask]:
        """One mask per image and box: the positive part of the map, post-processed.

        Raises ImageError or BoxError with the index of the invalid pair.
        """
        return [self._mask(values) for _, values, _ in self._maps(images, boxes, progress)]

    def answers(
        self, images: Sequence[NDArray[np.uint8]], boxes: Sequence[Sequence[int]], *, progress: bool = False
    ) -> Iterator[Answer]:
        """As `predict_many`, one after the other, each mask with its map and the maps behind that.

        This is the prior (`prior`), if agents see one.
        """
        for case, values, opinions in self._maps(images, boxes, progress):
            yield Answer(self._mask(values), case.box, np.asarray((values + 1) / 2, np.float32), opinions)

    def map_many(
        self, images: Sequence[NDArray[np.uint8]], boxes: Sequence[Sequence[int]], *, progress: bool = False
    ) -> list[Map]:
        """One map per image and box: the agents' preference for erasing, averaged over votes and smoothed.

        Without agents the student's map, from -1 for certain tissue to 1.

        Maps are (height, width) float32 in [-1, 1]. Raises as `predict_many`.
        """
        return [values for _, values, _ in self._maps(images, boxes, progress)]

    def informed(self, case: Case) -> Case:
        """Return the case with its prior, if this pipeline has one."""
        return case if self.prior is None else dataclasses.replace(case, prior=self.prior(case.image, case.box))

    def before_last(self, cases: list[Case], *, progress: bool = False) -> list[Case]:
        """Return `informed` cases as the last stage sees them: with the previous stage's mask, if there is one.

        Earlier stages walk once, in the environment that they were trained in, without post-processing.
        """
        for agent in self.stages[:-1]:
            pool = EpisodePool(cases, walking(agent.env), cache=False)
            masks = masks_of(agent, pool, **self._options(agent), progress=progress)
            cases = [dataclasses.replace(case, coarse=mask) for case, mask in zip(cases, masks, strict=True)]
        return cases

    def _maps(
        self, images: Sequence[NDArray[np.uint8]], boxes: Sequence[Sequence[int]], progress: bool
    ) -> Iterator[tuple[Case, Map, dict[str, Chances]]]:
        """Each case with its map and its answer's opinions."""
        if len(images) != len(boxes):
            raise BoxError(f"{len(images)} images but {len(boxes)} boxes; expected one box per image")
        cases = []
        for index, (image, box) in enumerate(zip(images, boxes, strict=True)):
            try:
                cases.append(Case(image, box, id=str(index)))  # type: ignore[arg-type] # any four whole numbers
            except FlipError as error:
                raise type(error)(f"image {index}: {error}") from None
        for start in range(0, len(cases), CHUNK):
            chunk = cases[start : start + CHUNK]
            if self.student is None:
                informed = [self.informed(case) for case in chunk]
                for case, values in zip(informed, self._vote(informed, progress), strict=True):
                    opinions = {} if case.prior is None else {"prior": np.asarray(case.prior / 255, np.float32)}
                    yield case, values, opinions
            else:
                seen = self.student.maps([case.image for case in chunk], [case.box for case in chunk])
                yield from ((case, 2 * own - 1, {}) for case, own in zip(chunk, seen, strict=True))

    def _answered(self, box: Sequence[int], points: ArrayLike | None, labels: ArrayLike | None) -> Answer:
        """The answer for a box of the image set, mended by the points if there are any."""
        image = self._shown()
        if points is None and labels is None:
            return next(self.answers([image], [box]))
        if points is None or labels is None:
            given, missing = ("labels", "points") if points is None else ("points", "labels")
            raise CorrectionError(f"{given} without {missing}; expected points (N, 2), (x, y), and labels (N,), 1 or 0")
        clicks_of(points, labels)  # bad ones are refused before the agents walk
        answer = next(self.answers([image], [box]))
        return answer.mended(mend_points(image, box, answer.mask, points, labels))

    def _mask(self, values: Map) -> Mask:
        return tidy(values > 0, opening=self.recipe.opening)

    def _shown(self) -> NDArray[np.uint8]:
        if self._image is None:
            raise EpisodeError("predict() before set_image(); call set_image(image) first")
        return self._image

    def _vote(self, cases: list[Case], progress: bool) -> Iterator[Map]:
        turned = [_mirrored(case) for case in cases] if self.recipe.mirror else []
        agent = self.stages[-1]
        pool = Votes(
            self.before_last(cases + turned, progress=progress),
            [walking(agent.env, **vote) for vote in self.recipe.votes],
        )
        walks = maps_of(agent, pool, **self._options(agent), progress=progress)
        count = len(self.recipe.votes)
        for index, case in enumerate(cases):
            votes = walks[index * count : (index + 1) * count]
            if turned:
                start = (len(cases) + index) * count
                votes += [walk[:, ::-1] for walk in walks[start : start + count]]
            yield self._smoothed(np.mean(votes, axis=0), case.box)

    def _smoothed(self, mean: Map, box: Box) -> Map:
        """Blur a map: superpixels have jagged edges, lesions do not."""
        if self.recipe.smooth == 0:
            return mean
        sigma = self.recipe.smooth * (box.height * box.width) ** 0.5
        return np.asarray(cv2.GaussianBlur(mean, (0, 0), sigma), np.float32)

    def _options(self, agent: Agent) -> dict[str, Any]:
        return {"lanes": self.lanes, "device": agent.batch_device, "workers": 1}


class Votes(EpisodePool):
    """Each case prepared in several environments, so that all its votes run in parallel as lanes of one batch.

    The environments may differ only in `VOTED` and in the canvas' kind and context; otherwise ConfigError.
    """

    def __init__(self, cases: list[Case], envs: Sequence[EnvConfig]) -> None:
        first = envs[0]
        for env in envs:
            canvas = dataclasses.replace(env.canvas, kind=first.canvas.kind, context=first.canvas.context)
            if env.replace(canvas=canvas, **{name: getattr(first, name) for name in VOTED}) != first:
                raise ConfigError(
                    f"votes run in one batch, so they may differ only in {', '.join(VOTED)} and in the canvas' kind "
                    f"and context; got {env} beside {first}"
                )
        super().__init__(cases, first.replace(variants=len(envs)), cache=False)
        self._envs = tuple(envs)

    def config_of(self, index: int) -> EnvConfig:
        """Environment of one vote on one case."""
        return self._envs[index % len(self._envs)]


def walking(env: EnvConfig, **options: Any) -> EnvConfig:
    """The inference environment of a trained agent: without classifier and jitter."""
    return env.replace(beta=None, jitter=(0.0, 0.0), variants=1, **options)


def _mirrored(case: Case) -> Case:
    width = case.image.shape[1]
    box = case.box.mirrored(width)
    prior = None if case.prior is None else np.ascontiguousarray(case.prior[:, ::-1])
    return Case(np.ascontiguousarray(case.image[:, ::-1]), box, id=f"{case.id} mirrored", prior=prior)
