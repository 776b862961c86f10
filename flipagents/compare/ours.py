"""Our own methods: the agents, the student, the prior alone, and relocating boxes that may be off."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from flipagents.compare.methods import Method, default_method, sees_masks
from flipagents.maps.contour import Contour
from flipagents.maps.locate import relocate
from flipagents.maps.tidy import tidy
from flipagents.segment.answer import Answer
from flipagents.segment.loading import load_student
from flipagents.segment.onnx import OnnxScorer
from flipagents.segment.quality import Gauge
from flipagents.segment.segmenter import Segmenter
from flipagents.store import checkpoint
from flipagents.store.checkpoint import CheckpointError
from flipagents.store.recipe import CLASSIFIER, CONTOUR
from flipenv.errors import ConfigError, FlipError, MissingDependencyError
from flipenv.pixels import Mask
from flipenv.types import Case


class Flip:
    """The agents of a trained pipeline (see `flipagents.Segmenter`).

    weights: output folder of `flip train`, None for the shipped weights. runtime: see `Segmenter.from_pretrained`; the
    attribute of this name is the one chosen. Raises CheckpointError for a folder without a pipeline,
    MissingDependencyError without the runtime.
    """

    def __init__(self, weights: Path | None = None, device: str = "cpu", runtime: str = "auto") -> None:
        with _loading("flip", weights):
            self.device = device
            self.segmenter = Segmenter.from_pretrained(weights, device=device, runtime=runtime)
            self.runtime = self.segmenter.runtime
            if not self.segmenter.stages:
                raise CheckpointError(
                    f"{self.segmenter.folder} has no agents, which method 'flip' and its pictures need; its masks come "
                    "from method 'flip+student'"
                )
            self.gauge = self.segmenter.gauge

    def __call__(self, cases: list[Case]) -> list[Mask]:
        """One mask per case."""
        return self.segmenter.predict_many([case.image for case in cases], [case.box for case in cases])

    def answers(self, cases: list[Case]) -> Iterator[Answer]:
        """One answer per case."""
        return self.segmenter.answers([case.image for case in cases], [case.box for case in cases])

    def scorer(self) -> Any:
        """The pipeline's classifier as a Scorer, None if there is none."""
        assert self.segmenter.folder is not None
        folder = self.segmenter.folder / CLASSIFIER
        if not checkpoint.exists(folder):
            return None
        if self.runtime == "onnx":
            return OnnxScorer.load(folder, self.device)
        from flipagents.classify.classifier import Classifier  # noqa: PLC0415 - torch

        return Classifier.load(folder).scorer(self.device)


class FlipStudent:
    """The student network (`flipagents.maps.network`), one pass per image; otherwise as `Flip`."""

    def __init__(self, weights: Path | None = None, device: str = "cpu", runtime: str = "auto") -> None:
        with _loading("flip+student", weights):
            self.student = load_student("student", weights, device, runtime)
            self.runtime = self.student.runtime
            self.gauge = Gauge.of(checkpoint.weights_folder(weights), "flip+student")

    def __call__(self, cases: list[Case]) -> list[Mask]:
        """One mask per case."""
        return [answer.mask for answer in self.answers(cases)]

    def answers(self, cases: list[Case]) -> Iterator[Answer]:
        """One answer per case."""
        maps = self.student.maps([case.image for case in cases], [case.box for case in cases])
        for case, seen in zip(cases, maps, strict=True):
            yield Answer(tidy(seen > 0.5), case.box, seen)


class ContourMethod:
    """The prior alone (`flipagents.maps.contour`), thresholded at 0.5 and post-processed; otherwise as `Flip`."""

    def __init__(self, weights: Path | None = None, device: str = "cpu", runtime: str = "auto") -> None:
        with _loading("contour", weights):
            self.prior = Contour(load_student("contour", weights, device, runtime))
            self.runtime = self.prior.network.runtime
            self.gauge = Gauge.of(checkpoint.weights_folder(weights), CONTOUR)

    def __call__(self, cases: list[Case]) -> list[Mask]:
        """One mask per case."""
        return [answer.mask for answer in self.answers(cases)]

    def answers(self, cases: list[Case]) -> Iterator[Answer]:
        """One answer per case."""
        for case in cases:
            seen, opinions = self.prior.look(case.image, case.box)
            yield Answer(tidy(seen > 127), case.box, np.asarray(seen / 255, np.float32), opinions)


class Guide:
    """The mean of LiteMedSAM's map (`flipagents.maps.litemedsam`) and the pipeline's own in one pass; as `Flip`.

    The pipeline's own is the prior of `contour`; without agents the student's.
    """

    def __init__(self, weights: Path | None = None, device: str = "cpu", runtime: str = "auto") -> None:
        with _loading("guide", weights):
            if default_method(weights) == CONTOUR:
                own: ContourMethod | FlipStudent = ContourMethod(weights, device, runtime)
            else:
                own = FlipStudent(weights, device, runtime)
            from flipagents.maps import litemedsam  # noqa: PLC0415 - torch

            self.guide, self.snug = litemedsam.LiteMedSAM(device), litemedsam.snug
            self.own, self.runtime = own, own.runtime

    def __call__(self, cases: list[Case]) -> list[Mask]:
        """One mask per case."""
        return [answer.mask for answer in self.answers(cases)]

    def answers(self, cases: list[Case]) -> Iterator[Answer]:
        """One answer per case."""
        guides = self.guide.maps([case.image for case in cases], [case.box for case in cases])
        for own, guide, case in zip(self.own.answers(cases), guides, cases, strict=True):
            assert own.map is not None
            seen = np.asarray((own.map + self.snug(guide, case.box)) / 2, np.float32)
            yield Answer(tidy(seen > 0.5), case.box, seen, own.opinions)


class Finder:
    """Moves boxes that may be off to where a pipeline's locator sees the nodule (see `flipagents.maps.locate`).

    weights, device, runtime: as `Flip`.
    """

    def __init__(self, weights: str | Path | None = None, device: str = "cpu", runtime: str = "auto") -> None:
        with _loading("found", weights):
            self.locator = load_student("locator", weights, device, runtime)
            self.runtime = self.locator.runtime

    def __call__(self, cases: list[Case], margin: int) -> list[Case]:
        """Return the cases with their boxes moved, by at most `margin` image px down and across."""
        _check_margin(margin)
        boxes = relocate(self.locator, [case.image for case in cases], [case.box for case in cases], margin)
        return [dataclasses.replace(case, box=box) for case, box in zip(cases, boxes, strict=True)]


class Found:
    """A method for boxes that may be off: a `Finder` relocates each first.

    method: receives the relocated boxes. margin: box tolerance in image px, per axis. weights, device, runtime: of the
    locator network.
    """

    def __init__(
        self,
        method: Method,
        margin: int,
        weights: str | Path | None = None,
        device: str = "cpu",
        runtime: str = "auto",
    ) -> None:
        _check_margin(margin)
        self.finder = Finder(weights, device, runtime)
        self.method, self.margin, self.sees_masks = method, margin, sees_masks(method)

    def __call__(self, cases: list[Case]) -> list[Mask]:
        """One mask per case."""
        return self.method(self.find(cases))

    @property
    def answers(self) -> Callable[[list[Case]], Iterable[Answer]]:
        """Answers of the method, whose boxes are the relocated ones; AttributeError if the method has none.

        There is no `gauge`: calibrations hold for tight boxes.
        """
        answering: Callable[[list[Case]], Iterable[Answer]] = self.method.answers  # type: ignore[attr-defined]
        return lambda cases: answering(self.find(cases))

    def find(self, cases: list[Case]) -> list[Case]:
        """Return the cases with their boxes moved."""
        return self.finder(cases, self.margin)


def _check_margin(margin: int) -> None:
    if margin < 1:
        raise ConfigError(f"margin={margin}; expected a box tolerance of at least 1 px")


@contextmanager
def _loading(name: str, weights: str | Path | None) -> Iterator[None]:
    """Add the remedy if torch or trained weights are missing."""
    try:
        yield
    except MissingDependencyError:
        raise
    except ImportError as error:
        raise MissingDependencyError(
            f"method {name!r} needs {error.name or 'torch'}: pip install flip-learning[agents]; "
            "box, ellipse and polar run without"
        ) from error
    except FlipError as error:
        if weights is not None:
            raise
        raise type(error)(
            f"the shipped weights cannot be loaded ({error}); train your own with `flip train --data PATH --out "
            "runs/mine` and give --weights runs/mine"
        ) from None
