"""Backend of the page, Label Studio and napari: from pictures and boxes to walks, masks and files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flipagents.compare.methods import (
    METHODS,
    Method,
    has_runtimes,
    make_method,
    run_answers,
    run_rated,
)
from flipagents.compare.ours import Finder, Flip
from flipagents.formats.nifti import Voxels, read_voxels
from flipagents.formats.scans import Scan
from flipagents.maps.geometry import ellipse, filled_box
from flipagents.metrics import average_surface_distance, dice, hausdorff
from flipagents.segment.answer import Answer
from flipagents.segment.outputs import png_bytes
from flipagents.segment.quality import Gauge, Quality
from flipagents.segment.walk import scenes
from flipagents.serve.pictures import erased, superpixels
from flipagents.store.files import file_names, replacing
from flipenv.checks import check_contrast
from flipenv.config import EnvConfig
from flipenv.episode import prepare
from flipenv.errors import BoxError, ConfigError, FlipError
from flipenv.pictures.film import write_gif
from flipenv.pictures.render import Rgb, Scene, draw
from flipenv.pixels import Mask
from flipenv.registry import unknown
from flipenv.sources import count_frames, open_source, read_image, read_mask
from flipenv.sources.files import frame_name, image_name
from flipenv.types import Box, Case

LIMIT = 16_000_000  # px of an image; guards against decompression bombs
AGENTS = "flip"  # the method whose agents can be watched
USUAL = ("contour", AGENTS, "flip+student", "polar", "grabcut-fair")  # shown first; the others are for comparison
EXCLUDED = ("onnx", "oracle")  # methods that need a file on disk, or the true mask


@dataclass(frozen=True, eq=False)
class Picture:
    """A loaded image."""

    file: str  # name without folders
    image: NDArray[np.uint8]  # (height, width)
    box: Box | None = None  # if known
    truth: Mask | None = None  # (height, width), for comparison; hidden from methods
    voxels: Voxels | None = None  # spatial header, for NIfTI
    frame: int | None = None  # of a multi-frame file
    frames: int = 1  # of the file
    made: bool = False  # generated, so it has no file

    @property
    def name(self) -> str:
        """Stem of its output files."""
        return file_names([frame_name(image_name(self.file), self.frame)])[0]

    @property
    def scan(self) -> Scan:
        """Where it is read from."""
        return Scan(Path(self.file), self.frame)

    def case(self, box: Box) -> Case:
        """The picture with a box, without the truth."""
        return Case(self.image, box, id=self.name)


@dataclass(frozen=True, eq=False)
class Result:
    """Result of a method."""

    method: str
    case: Case  # with the box given to the method
    mask: Mask
    answer: Answer | None = None  # with the maps that its quality is rated by, while they are known
    quality: Quality | None = None  # of the mask, where it was rated when it was made


def open_picture(path: Path, frame: int | None = None, *, upright: bool = False) -> Picture:
    """Read an uploaded image, or a frame of a film; `frame` is ignored for single-frame images.

    Raises as `flipenv.sources.read_image` (see there for `upright`); errors name the file without its folder.
    """
    with _by_name(path):
        frames = count_frames(path)
        chosen = frame if frames > 1 else None
        image = read_image(path, frame=chosen, limit=LIMIT, upright=upright)
        return Picture(path.name, image, voxels=read_voxels(path), frame=chosen, frames=frames)


def phantom(seed: int) -> Picture:
    """A synthetic image with its tight box and true mask, by seed."""
    case = open_source(f"phantom:1?first={seed}").load(0)
    return Picture(f"{case.id}.png", np.asarray(case.image), case.box, np.asarray(case.mask), made=True)


def with_truth(picture: Picture, path: Path) -> Picture:
    """Add an uploaded true mask; raises as `flipenv.sources.read_mask`, naming the file without its folder."""
    with _by_name(path):
        return dataclasses.replace(picture, truth=read_mask(path, picture.image.shape, limit=LIMIT))


def box_of(picture: Picture, corners: Sequence[float | None]) -> Box:
    """The box X0, Y0, X1, Y1; BoxError if a number is missing or it is not a box in the image."""
    if not any(corners):  # an empty number field gives 0
        raise BoxError("there is no box yet; drag one around the nodule, or type its four numbers")
    if any(corner is None or not float(corner).is_integer() for corner in corners):
        raise BoxError("expected four whole numbers for the box: X0, Y0, X1, Y1")
    x0, y0, x1, y1 = (int(corner) for corner in corners if corner is not None)
    height, width = picture.image.shape
    if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
        raise BoxError(f"the box leaves the image; X goes from 0 to {width}, Y from 0 to {height}")
    if x0 >= x1 or y0 >= y1:
        raise BoxError("the box is empty; expected X0 < X1 and Y0 < Y1")
    return Box(y0, x0, y1, x1)


def box_drawn(picture: Picture, sides: Sequence[float]) -> Box:
    """The box of a drag, from its left, top, right and bottom in image px, between pixels.

    As `Box.covering`, but clipped to the image and at least one pixel in size. BoxError if a side is not finite.
    """
    x0, y0, x1, y1 = sides
    box = Box.covering(y0, x0, y1, x1)
    height, width = picture.image.shape
    top, left = min(max(box.top, 0), height - 1), min(max(box.left, 0), width - 1)
    return Box(top, left, min(max(box.bottom, top + 1), height), min(max(box.right, left + 1), width))


def available_methods() -> list[str]:
    """The selectable methods, usual ones first."""
    return [*USUAL, *(name for name in METHODS.names() if name not in (*USUAL, *EXCLUDED))]


class SegmentationService:
    """Segments pictures and boxes by any method; methods are loaded once.

    weights, device, runtime: as `flipagents.compare.methods.make_method`.
    """

    def __init__(self, weights: Path | None = None, device: str = "cpu", runtime: str = "auto") -> None:
        self.weights, self.device, self.runtime = weights, device, runtime
        self._made: dict[str, Method] = {}

    def superpixels(self, picture: Picture, box: Box) -> tuple[Rgb, int]:
        """The last stage's superpixels, drawn, and their number."""
        from flipagents.segment.segmenter import walking  # noqa: PLC0415 - torch is slow to import

        segmenter = self._agents().segmenter
        env: EnvConfig = walking(segmenter.stages[-1].env, **segmenter.recipe.votes[0])
        episode = prepare(segmenter.informed(picture.case(box)), env.replace(coarse_channels=False))
        return superpixels(episode), episode.n_superpixels

    def walk(self, picture: Picture, box: Box, margin: int = 0) -> Iterator[Scene]:
        """Run the agents; yields a scene every few steps, see `flipagents.segment.walk.scenes`."""
        (case,) = self._placed([picture.case(box)], margin)
        return scenes(self._agents().segmenter, case, scorer=self._scorer, truth=picture.truth)

    def segment(self, picture: Picture, box: Box, method: str, margin: int = 0) -> Result:
        """Segment the picture with a method; margin: box tolerance in px, see `Finder`."""
        made = self.method(method)
        (case,) = self._placed([picture.case(box)], margin)
        answer = run_answers(made, [case])[0]
        return Result(method, case, answer.mask, answer)

    def quality(self, result: Result, mask: Mask) -> Quality | None:
        """How good a mask, perhaps mended, made from a result probably is; None for a method without maps."""
        made = self.method(result.method)
        answer = result.answer or run_answers(made, [result.case])[0]
        gauge: Gauge = getattr(made, "gauge", None) or Gauge()
        return gauge.rate(result.case.image, answer.mended(mask))

    def masks(self, image: NDArray[np.uint8], boxes: Sequence[Box], method: str, margin: int = 0) -> list[Mask]:
        """Segment several boxes of one image; one mask per box. margin: as `segment`."""
        return [each.mask for each in self.results(image, boxes, method, margin)]

    def results(self, image: NDArray[np.uint8], boxes: Sequence[Box], method: str, margin: int = 0) -> list[Result]:
        """As `masks`, each with the box that the method was given and how good it probably is."""
        made = self.method(method)
        cases = self._placed([Case(image, box, id=str(n)) for n, box in enumerate(boxes, 1)], margin)
        rated = run_rated(made, cases)
        return [Result(method, case, own.mask, quality=own.quality) for case, own in zip(cases, rated, strict=True)]

    def method(self, name: str) -> Method:
        """One of `available_methods`, made on first use; ConfigError for any other."""
        # make_method also accepts names that refer to files on disk.
        if name not in available_methods():
            raise ConfigError(unknown("method", name, available_methods()))
        if name not in self._made:
            runtime = self.runtime if has_runtimes(name) else "auto"
            self._made[name] = make_method(name, self.weights, self.device, runtime=runtime)
        return self._made[name]

    def _agents(self) -> Flip:
        agents = self.method(AGENTS)
        assert isinstance(agents, Flip)
        return agents

    @cached_property
    def _scorer(self) -> Any:
        return self._agents().scorer()

    @cached_property
    def _finder(self) -> Finder:
        return Finder(self.weights, self.device, self.runtime)

    def _placed(self, cases: list[Case], margin: int) -> list[Case]:
        """The cases with their boxes relocated to the nodule; unchanged with margin 0.

        Raises ImageError if a box, before moving, has a single grey level.
        """
        for case in cases:
            check_contrast(case.image, case.box)
        return cases if margin == 0 else self._finder(cases, margin)


def compare(result: Result, truth: Mask) -> list[tuple[str, float, float, float]]:
    """(name, Dice, HD in px, ASD in px) of the method, box and ellipse."""
    box, shape = result.case.box, truth.shape
    masks = {result.method: result.mask, "box": filled_box(box, shape), "ellipse": ellipse(box, shape)}
    return [
        (name, dice(mask, truth), hausdorff(mask, truth), average_surface_distance(mask, truth))
        for name, mask in masks.items()
    ]


def erased_picture(case: Case, mask: Mask) -> NDArray[np.uint8]:
    """The image with a mask erased as by the agents, (height, width) uint8."""
    env = EnvConfig()
    return erased(case, mask, env.background, env.margin)


def write_image(folder: Path, picture: Picture) -> Path:
    """Write the image as NAME.png."""
    path = folder / f"{picture.name}.png"
    with replacing([path]) as parts:
        parts[path].write_bytes(png_bytes(picture.image))
    return path


def write_film(folder: Path, picture: Picture, walked: Sequence[Scene]) -> Path:
    """Write a walk as a GIF."""
    path = folder / f"{picture.name}.gif"
    with replacing([path]) as parts:
        write_gif(parts[path], (draw(scene) for scene in walked), fps=12)
    return path


@contextmanager
def _by_name(path: Path) -> Iterator[None]:
    """Strip the folder from errors."""
    try:
        yield
    except FlipError as error:
        raise type(error)(str(error).replace(str(path), path.name)) from None
