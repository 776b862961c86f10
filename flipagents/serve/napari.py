"""Boxes of a napari Shapes layer in, masks in a Labels layer out. Only `segment_boxes_widget` needs Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import napari
import numpy as np
from magicgui import magicgui
from napari.components import ViewerModel
from napari.layers import Image, Labels, Shapes
from napari.utils.notifications import show_error
from numpy.typing import NDArray

from flipagents.serve.service import AGENTS, Desk, offered
from flipenv.checks import check_box, check_image
from flipenv.errors import BoxError, FlipError, ImageError
from flipenv.types import Box

if TYPE_CHECKING:
    from magicgui.widgets import FunctionGui

MOST = np.iinfo(np.uint16).max  # boxes on one image
SQUARE = 1e-3  # px by which a corner may be off the sides of its rectangle
SUFFIX = " masks"  # of the Labels layer, after the name of the image

LabelImage: TypeAlias = NDArray[np.uint16]  # (height, width), 0 where there is no mask, box k has label k

_desk = Desk()


@dataclass(frozen=True, eq=False)
class Frame:
    """The displayed grey image, and the rectangles drawn on it."""

    image: NDArray[np.uint8]  # (height, width)
    index: tuple[int, ...]  # where it lies in the data of its layer; () for a 2-D image
    rectangles: list[NDArray[np.float64]]  # each (4, 2), row and column of the corners in px of the image


def segment_boxes(
    image: NDArray[np.uint8],
    rectangles: Sequence[NDArray[np.float64]],
    method: str = AGENTS,
    margin: int = 0,
    desk: Desk | None = None,
) -> LabelImage:
    """Segment the nodule in each rectangle: (height, width) uint16, label k for rectangle k, counted from 1.

    Where masks overlap the later rectangle's label stays.

    image: (height, width) uint8. rectangles: corners as napari has them, each (4, 2) row and column; pixel (r, c) has
    its centre there and reaches half a pixel further, and each row and column that a rectangle covers by half is in its
    box. method, margin: as `flipagents.serve.service.Desk.masks`.

    Raises BoxError where there is no rectangle, or one that is turned or reaches outside the image; ImageError unless
    the image is 8-bit grey.
    """
    check_image(image)
    if not 0 < len(rectangles) <= MOST:
        raise BoxError(
            f"there are {len(rectangles)} boxes on this image; expected 1 to {MOST}: draw rectangles in the Shapes "
            "layer, each side touching the nodule"
        )
    boxes = [_box(number, corners, image.shape) for number, corners in enumerate(rectangles, start=1)]
    labels = np.zeros(image.shape, np.uint16)
    for number, mask in enumerate((desk or _desk).masks(image, boxes, method, margin), start=1):
        labels[mask] = number
    return labels


def look(viewer: ViewerModel, image: Image | None, boxes: Shapes | None) -> Frame:
    """Take the frame that the viewer shows of a layer, and the rectangles on it, in pixels of that frame.

    Layers may differ in scale and place. Raises ImageError without a layer, or where the viewer does not show rows and
    columns; BoxError for shapes that are not rectangles.
    """
    if image is None:
        raise ImageError("there is no Image layer; open an image first")
    if boxes is None:
        raise BoxError("there is no Shapes layer; add one and draw a rectangle around each nodule")
    if tuple(viewer.dims.displayed) != (viewer.dims.ndim - 2, viewer.dims.ndim - 1):
        raise ImageError(
            f"the viewer shows axes {tuple(viewer.dims.displayed)} of {viewer.dims.ndim}; expected the last two, rows "
            "and columns of one frame: leave 3-D, and undo the change of axes"
        )
    data = image.data[0] if image.multiscale else image.data
    steps = np.rint(image.world_to_data(viewer.dims.point))[: image.ndim - 2].astype(int)
    for axis, step in enumerate(steps):
        if not 0 <= step < data.shape[axis]:
            raise ImageError(f"layer {image.name!r} has no frame where the viewer is; move its sliders to a frame")
    index = tuple(int(step) for step in steps)
    rectangles = []
    for number, (kind, corners) in enumerate(zip(boxes.shape_type, boxes.data, strict=True), start=1):
        if kind != "rectangle":
            raise BoxError(
                f"shape {number} of layer {boxes.name!r} is of kind {kind}; expected rectangles: take it away"
            )
        on_image = np.array([image.world_to_data(boxes.data_to_world(corner)) for corner in corners])
        # A shape with fewer axes than the stack lies on each of its frames.
        axes = range(max(0, image.ndim - boxes.ndim), image.ndim - 2)
        if all((np.rint(on_image[:, axis]) == index[axis]).all() for axis in axes):
            rectangles.append(on_image[:, -2:])
    return Frame(np.asarray(data[index]), index, rectangles)


def show(viewer: ViewerModel, image: Image, index: tuple[int, ...], labels: LabelImage) -> Labels:
    """Put labels into the layer of an image's masks, which is made where there is none; other frames keep theirs."""
    name = f"{image.name}{SUFFIX}"
    shape = (image.data[0] if image.multiscale else image.data).shape[: image.ndim]
    layer = next((each for each in viewer.layers if each.name == name), None)
    if isinstance(layer, Labels) and layer.data.shape == shape:
        layer.data[index] = labels
        layer.refresh()
        return layer
    masks = np.zeros(shape, np.uint16)
    masks[index] = labels
    placed = {each: getattr(image, each) for each in ("scale", "translate", "rotate", "shear", "affine", "units")}
    return viewer.add_labels(masks, name=name, opacity=0.5, **placed)


def segment_boxes_widget() -> FunctionGui[Any]:
    """The widget 'Segment boxes'; the viewer stays free while a method works, and errors are notifications."""

    # magicgui imports what an annotation names, hence the whole path.
    def run(
        viewer: napari.Viewer,
        image: napari.layers.Image,
        boxes: napari.layers.Shapes,
        method: str = AGENTS,
        margin: int = 0,
    ) -> None:
        from napari.qt.threading import create_worker  # noqa: PLC0415 - Qt

        try:
            frame = look(viewer, image, boxes)
        except FlipError as error:
            show_error(str(error))
            return
        widget.call_button.enabled = False
        create_worker(
            segment_boxes,
            frame.image,
            frame.rectangles,
            method,
            margin,
            _progress={"desc": "Segment boxes"},
            _ignore_errors=True,
            _connect={
                "returned": lambda labels: show(viewer, image, frame.index, labels),
                "errored": _told,
                "finished": lambda: setattr(widget.call_button, "enabled", True),
            },
        )

    widget: FunctionGui[Any] = magicgui(
        run,
        call_button="Segment",
        method={"choices": offered(), "tooltip": "docs/agents.md tells of each"},
        margin={"max": 60, "label": "margin, px", "tooltip": "by so much a box may be off; 0 for tight boxes"},
    )
    return widget


def _told(error: Exception) -> None:
    if not isinstance(error, FlipError):
        raise error
    show_error(str(error))


def _box(number: int, corners: NDArray[np.float64], shape: tuple[int, ...]) -> Box:
    low, high = corners.min(axis=0), corners.max(axis=0)
    if (np.minimum(corners - low, high - corners) > SQUARE).any():
        raise BoxError(f"box {number} is turned; expected sides along rows and columns: draw it again")
    try:
        return Box(*check_box(Box.covering(*(low + 0.5), *(high + 0.5)), shape))
    except BoxError as error:
        raise BoxError(f"box {number}: {error}") from None
