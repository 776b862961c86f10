"""Mending the masks of a napari Labels layer by clicks: a left click erases a superpixel, a right click passes it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from numpy.typing import NDArray

from flipagents.segment.corrections import ERASE, PASS, CorrectionError
from flipagents.segment.mend import REACH, Mender
from flipagents.serve import napari_files
from flipagents.serve.napari_nodules import LabelImage, Nodules, check_pixel
from flipenv.errors import FlipError
from flipenv.pixels import Grey

SUFFIX = " masks"  # of the Labels layer's name, after the image's
STILL = 4  # px of the screen that the mouse may move between press and release of a click
LEFT, RIGHT = 1, 2  # mouse buttons
ZOOMS = "double_click_to_zoom"  # napari's own answer to a double click


@dataclass
class Settings:
    """What a click does."""

    mends: bool = True  # if not, clicks are napari's own
    reach: float = REACH  # as `Mender.click`
    size: float = 1.0  # of the superpixels, as a multiple of the mender's own


class MaskLayer:
    """The masks of one Labels layer, by frame, with their boxes and clicks.

    Every change is one entry of napari's own history, so that its undo and redo take back clicks and brush strokes in
    their order.
    """

    def __init__(self, layer: Labels) -> None:
        self._layer = weakref.ref(layer)  # the layer holds this object through its callbacks
        self.frames: dict[tuple[int, ...], Nodules] = {}
        self.saved: set[Path] = set()  # masks on disk that are these

    @property
    def layer(self) -> Labels:
        """The napari layer."""
        layer = self._layer()
        assert layer is not None, "its callbacks end with it"
        return layer

    @property
    def is_there(self) -> bool:
        """Whether the layer still exists."""
        return self._layer() is not None

    def is_of(self, layer: Any) -> bool:
        """Whether these are the masks of a layer."""
        return layer is not None and self._layer() is layer

    def replace(self, index: tuple[int, ...], menders: list[Mender]) -> None:
        """Show other masks on a frame, labelled from 1. index: of the frame in the layer's data, () for a 2-D image."""
        nodules = self.frames.setdefault(index, Nodules())
        nodules.follow(self._shown(index))
        nodules.replace(menders)
        write(self.layer, index, nodules.labels(self._shown(index).shape))

    def click(self, place: NDArray[np.float64], action: str, settings: Settings) -> int:
        """Erase or pass the superpixel at a place in the layer's data; return the label of the mask.

        Raises CorrectionError outside the image, or too far from every box; BoxError without a mask.
        """
        index = tuple(int(np.rint(each)) for each in place[:-2])
        shown = self._shown(index)
        row, column = check_pixel(place[-2:], shown.shape)
        nodules = self.frames.setdefault(index, Nodules())
        labels, label = nodules.click(shown, row, column, action, reach=settings.reach, size=settings.size)
        write(self.layer, index, labels)
        return label

    def undo(self) -> None:
        """Take back the latest change of the layer, by whatever it was made."""
        self.layer.undo()
        self.follow()

    def redo(self) -> None:
        """Do the latest change taken back again."""
        self.layer.redo()
        self.follow()

    def follow(self) -> None:
        """Bring all menders to what the layer shows."""
        for index, nodules in self.frames.items():
            nodules.follow(self._shown(index))

    @property
    def corrections(self) -> int:
        """Number of corrections in the masks shown."""
        return sum(len(each.corrections) for nodules in self.frames.values() for each in nodules.now.values())

    def save(self, folder: Path) -> list[Path]:
        """Write all masks with their corrections; see `napari_files.save`."""
        self.follow()
        return napari_files.save(folder, self.layer.name.removesuffix(SUFFIX), self.frames, self.saved)

    def play_back(self, index: tuple[int, ...], image: Grey, path: Path) -> int:
        """Show the mask before a file's corrections, then apply them one by one, each an entry of the history.

        image: the frame (height, width) uint8. Returns the mask's label. The mask beside the file may be replaced by
        `save`. Raises as `napari_files.open_corrections`.
        """
        nodules = self.frames.setdefault(index, Nodules())
        nodules.follow(self._shown(index))
        mender, corrections = napari_files.open_corrections(path, image, nodules)
        before = nodules.labels(image.shape)
        label = nodules.add(mender, self._shown(index))
        self._write_changes(index, before, nodules.labels(image.shape))
        for each in corrections:
            before = nodules.labels(image.shape)
            mender.replay([each])
            self._write_changes(index, before, nodules.labels(image.shape))
        self.saved.add(napari_files.mask_of(path))
        return label

    def _shown(self, index: tuple[int, ...]) -> LabelImage:
        axes = self.layer.data.shape[:-2]
        if not all(0 <= step < length for step, length in zip(index, axes, strict=True)):
            raise CorrectionError(f"layer {self.layer.name!r} has no frame {index}; move the sliders to a frame")
        return np.asarray(self.layer.data[index])

    def _write_changes(self, index: tuple[int, ...], before: LabelImage, after: LabelImage) -> None:
        write(self.layer, index, np.where(after != before, after, self._shown(index)))


def write(layer: Labels, index: tuple[int, ...], labels: LabelImage) -> None:
    """Write a frame of a layer as one entry of its history; none if nothing changes."""
    rows, columns = np.nonzero(np.asarray(layer.data[index]) != labels)
    if len(rows):
        frame = tuple(np.full(rows.shape, step) for step in index)
        layer.data_setitem((*frame, rows, columns), labels[rows, columns])


def listen(
    viewer: ViewerModel, masks: MaskLayer, settings: Settings, told: Callable[[MaskLayer, FlipError | None], None]
) -> None:
    """Let clicks on the layer mend it while it is selected in napari's pan and zoom mode.

    told: called after each click, with the error if it was refused.
    """

    def mends(layer: Any) -> bool:
        return settings.mends and masks.is_of(layer) and layer.visible and layer.mode == "pan_zoom"

    def act(layer: Labels, place: Any, action: str, displayed: list[int]) -> None:
        try:
            if list(displayed) != list(range(viewer.dims.ndim))[-2:]:
                raise CorrectionError("clicks need rows and columns of one frame; switch to 2-D, in the usual order")
            masks.click(np.asarray(layer.world_to_data(place)), action, settings)
        except FlipError as error:
            told(masks, error)
        else:
            told(masks, None)

    def pressed(layer: Labels, event: Any) -> Iterator[None]:
        action = _action(event) if mends(layer) else None
        if action is None:
            return
        start, place, displayed = np.array(event.pos), tuple(event.position), event.dims_displayed
        moved = 0.0
        yield
        while event.type == "mouse_move":
            moved = max(moved, float(np.abs(np.array(event.pos) - start).max()))
            yield
        if moved <= STILL:  # else napari moved the view
            act(layer, place, action, displayed)

    def pressed_again(layer: Labels, event: Any) -> None:
        """Qt reports the second of two quick clicks as a double click alone."""
        action = _action(event) if mends(layer) else None
        if action is not None:
            act(layer, event.position, action, event.dims_displayed)

    masks.layer.mouse_drag_callbacks.append(pressed)
    masks.layer.mouse_double_click_callbacks.append(pressed_again)
    callbacks = viewer.mouse_double_click_callbacks
    for place, zoom in enumerate(callbacks):
        if zoom.__name__ == ZOOMS:
            callbacks[place] = _unless(mends, zoom)


def _unless(mends: Callable[[Any], bool], zoom: Callable[..., None]) -> Callable[..., None]:
    """napari's zoom by a double click, except where clicks mend."""

    def double_click_to_zoom(viewer: ViewerModel, event: Any) -> None:
        layer = viewer.layers.selection.active
        if not mends(layer):
            zoom(viewer, event)

    return double_click_to_zoom


def _action(event: Any) -> str | None:
    """Erase for a left click, pass for a right or Shift-click; None for others: with Alt napari zooms."""
    shifted = "Shift" in event.modifiers  # keys of vispy, equal to their names
    if event.button not in (LEFT, RIGHT) or len(event.modifiers) > shifted:
        return None
    return PASS if event.button == RIGHT or shifted else ERASE
