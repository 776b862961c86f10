"""napari plugin: boxes in a Shapes layer to masks in a Labels layer, to be mended by clicks.

Only `segment_boxes_widget` needs Qt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import napari
import numpy as np
from magicgui import magicgui
from magicgui.widgets import Container
from napari.components import ViewerModel
from napari.layers import Image, Labels, Shapes
from napari.utils.notifications import show_error
from numpy.typing import NDArray

from flipagents.compare.methods import default_method
from flipagents.serve.napari_mend import SUFFIX, write
from flipagents.serve.napari_nodules import MAX_BOXES, LabelImage, labels_of
from flipagents.serve.napari_panel import MendPanel, Place
from flipagents.serve.page_weights import Choices
from flipagents.serve.service import Result, SegmentationService
from flipenv.checks import check_box, check_image
from flipenv.errors import BoxError, FlipError, ImageError
from flipenv.types import Box

TOLERANCE = 1e-3  # px, allowed deviation of a corner from an upright rectangle

_service = SegmentationService()


@dataclass(frozen=True, eq=False)
class Frame:
    """The displayed grey image, and the rectangles drawn on it."""

    image: NDArray[np.uint8]  # (height, width)
    index: tuple[int, ...]  # in its layer's data; () for a 2-D image
    rectangles: list[NDArray[np.float64]]  # each (4, 2), row and column of the corners, image px


def segment_boxes(
    image: NDArray[np.uint8],
    rectangles: Sequence[NDArray[np.float64]],
    method: str | None = None,
    margin: int = 0,
    service: SegmentationService | None = None,
) -> LabelImage:
    """Segment the nodule in each rectangle: (height, width) uint16, label k for rectangle k, counted from 1.

    Where masks overlap, the later label wins. Otherwise as `segment_each`.
    """
    results = segment_each(image, rectangles, method, margin, service)
    return labels_of({label: each.mask for label, each in enumerate(results, start=1)}, image.shape)


def segment_each(
    image: NDArray[np.uint8],
    rectangles: Sequence[NDArray[np.float64]],
    method: str | None = None,
    margin: int = 0,
    service: SegmentationService | None = None,
) -> list[Result]:
    """Segment the nodule in each rectangle; one mask, with the box that the method was given, per rectangle.

    image: (height, width) uint8. rectangles: corners in napari's coordinates, where pixel centres are integers, each
    (4, 2) row and column; converted by `Box.covering`. method, margin: as
    `flipagents.serve.service.SegmentationService.masks`; None for the default of the service's weights. service: None
    for the shipped weights.

    Raises BoxError if there is no rectangle, or one is rotated or leaves the image; ImageError unless the image is
    8-bit grey.
    """
    check_image(image)
    if not 0 < len(rectangles) <= MAX_BOXES:
        raise BoxError(
            f"found {len(rectangles)} boxes on this image; expected 1 to {MAX_BOXES}: draw rectangles in the Shapes "
            "layer, each side touching the nodule"
        )
    boxes = [_box(number, corners, image.shape) for number, corners in enumerate(rectangles, start=1)]
    service = service or _service
    return service.results(image, boxes, default_method(service.weights) if method is None else method, margin)


def read_image(viewer: ViewerModel, image: Image | None) -> tuple[NDArray[np.uint8], tuple[int, ...]]:
    """The displayed frame of a layer, and its index in the layer's data, () for a 2-D image.

    Raises ImageError without an image layer or if the viewer does not show rows and columns of a frame.
    """
    if image is None:
        raise ImageError("no Image layer found; open an image first")
    if tuple(viewer.dims.displayed) != (viewer.dims.ndim - 2, viewer.dims.ndim - 1):
        raise ImageError(
            f"the viewer shows axes {tuple(viewer.dims.displayed)} of {viewer.dims.ndim}; expected the last two, rows "
            "and columns of one frame: switch to 2-D and restore the axis order"
        )
    data = image.data[0] if image.multiscale else image.data
    steps = np.rint(image.world_to_data(viewer.dims.point))[: image.ndim - 2].astype(int)
    for axis, step in enumerate(steps):
        if not 0 <= step < data.shape[axis]:
            raise ImageError(f"layer {image.name!r} has no frame at the viewer's position; move the sliders to a frame")
    index = tuple(int(step) for step in steps)
    return np.asarray(data[index]), index


def read_frame(viewer: ViewerModel, image: Image | None, boxes: Shapes | None) -> Frame:
    """Read the displayed frame of a layer, and the rectangles on it, in pixels of that frame.

    Layers may have different transforms. Raises as `read_image`; BoxError without a shapes layer or for shapes other
    than rectangles.
    """
    shown, index = read_image(viewer, image)
    assert image is not None
    if boxes is None:
        raise BoxError("no Shapes layer found; add one and draw a rectangle around each nodule")
    rectangles = []
    for number, (kind, corners) in enumerate(zip(boxes.shape_type, boxes.data, strict=True), start=1):
        if kind != "rectangle":
            raise BoxError(f"shape {number} of layer {boxes.name!r} is of type {kind}; expected rectangles: delete it")
        on_image = np.array([image.world_to_data(boxes.data_to_world(corner)) for corner in corners])
        # A shape with fewer axes than the stack applies to every frame.
        axes = range(max(0, image.ndim - boxes.ndim), image.ndim - 2)
        if all((np.rint(on_image[:, axis]) == index[axis]).all() for axis in axes):
            rectangles.append(on_image[:, -2:])
    return Frame(shown, index, rectangles)


def show(viewer: ViewerModel, image: Image, index: tuple[int, ...], labels: LabelImage) -> Labels:
    """Write labels to the mask layer of an image, created if needed; other frames are unchanged.

    One entry of the layer's history, so napari can undo it.
    """
    layer = mask_layer(viewer, image)
    write(layer, index, labels)
    return layer


def mask_layer(viewer: ViewerModel, image: Image) -> Labels:
    """The mask layer of an image, created if needed."""
    name = f"{image.name}{SUFFIX}"
    shape = (image.data[0] if image.multiscale else image.data).shape[: image.ndim]
    layer = next((each for each in viewer.layers if each.name == name), None)
    if isinstance(layer, Labels) and layer.data.shape == shape:
        return layer
    placed = {each: getattr(image, each) for each in ("scale", "translate", "rotate", "shear", "affine", "units")}
    return viewer.add_labels(np.zeros(shape, np.uint16), name=name, opacity=0.5, **placed)


def segment_boxes_widget() -> Container[Any]:
    """The widget 'Segment boxes', which also mends; segments in a worker thread, shows errors as notifications."""
    choices = Choices()
    chosen = choices.first

    # magicgui resolves annotations by import, hence the full path.
    def segment(
        viewer: napari.Viewer,
        image: napari.layers.Image,
        boxes: napari.layers.Shapes,
        weights: str = chosen.name,
        method: str = chosen.method,
        margin: int = 0,
    ) -> None:
        from napari.qt.threading import create_worker  # noqa: PLC0415 - Qt

        try:
            frame = read_frame(viewer, image, boxes)
        except FlipError as error:
            show_error(str(error))
            return
        form.call_button.enabled = False
        create_worker(
            segment_each,
            frame.image,
            frame.rectangles,
            method,
            margin,
            choices.of(weights).service,
            _progress={"desc": "Segment boxes"},
            _ignore_errors=True,
            _connect={
                "returned": lambda results: panel.show(viewer, mask_layer(viewer, image), frame.index, results),
                "errored": _report,
                "finished": lambda: setattr(form.call_button, "enabled", True),
            },
        )

    def place() -> Place:
        viewer, image = form.viewer.value, form.image.value
        pixels, index = read_image(viewer, image)
        return viewer, mask_layer(viewer, image), index, pixels

    def offered(_: Any) -> list[tuple[str, str]]:
        return [*chosen.usual, *((each, each) for each in chosen.others)]

    def choose(name: str) -> None:
        nonlocal chosen
        chosen = choices.of(name)
        form.method.reset_choices()
        form.method.value = chosen.method

    form = magicgui(
        segment,
        call_button="Segment",
        weights={"choices": [(each.label, name) for name, each in choices.all.items()]},
        method={"choices": offered, "tooltip": "described in docs/agents.md"},
        margin={"max": 60, "label": "margin, px", "tooltip": "how far a box may be off; 0 for tight boxes"},
    )
    form.weights.changed.connect(choose)
    panel = MendPanel(place)
    return Container(widgets=[form, panel.widget], labels=False)


def _report(error: Exception) -> None:
    if not isinstance(error, FlipError):
        raise error
    show_error(str(error))


def _box(number: int, corners: NDArray[np.float64], shape: tuple[int, ...]) -> Box:
    low, high = corners.min(axis=0), corners.max(axis=0)
    if (np.minimum(corners - low, high - corners) > TOLERANCE).any():
        raise BoxError(f"box {number} is rotated; expected sides along rows and columns: draw it again")
    try:
        return Box(*check_box(Box.covering(*(low + 0.5), *(high + 0.5)), shape))
    except BoxError as error:
        raise BoxError(f"box {number}: {error}") from None
