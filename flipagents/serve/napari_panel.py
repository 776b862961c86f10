"""The controls of mending in napari: what a click does, undo and redo, files of corrections."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from magicgui.widgets import CheckBox, Container, FileEdit, FloatSlider, Label, PushButton
from napari.components import ViewerModel
from napari.layers import Labels
from napari.utils.notifications import show_error, show_info

from flipagents.formats.quality_csv import REASONS
from flipagents.segment.mend import FARTHEST, Mender
from flipagents.segment.quality import Quality
from flipagents.serve.napari_mend import MaskLayer, Settings, listen
from flipagents.serve.service import Result
from flipenv.errors import EpisodeError, FlipError
from flipenv.pixels import Grey

QUALITY = "predicted Dice"  # column of the layer's features
SIZES = (4.0, 2.0, 1.0, 0.5)  # of superpixels, as multiples of the mender's own; as on the page
STEP = 0.25  # of the reach
HELP = "click: add to the mask\nright click, Shift-click: take away\nCtrl-Z, Ctrl-Shift-Z: undo, redo"

Place: TypeAlias = tuple[ViewerModel, Labels, tuple[int, ...], Grey]  # mask layer, index and pixels of the frame shown


class MendPanel:
    """Mends every layer given to `show`, and plays corrections back. Needs Qt.

    place: where to play back, from the choices and sliders of the viewer; raises FlipError where it cannot be told.
    """

    def __init__(self, place: Callable[[], Place]) -> None:
        self._place = place
        self._settings = Settings()
        self._masks: weakref.WeakKeyDictionary[Labels, MaskLayer] = weakref.WeakKeyDictionary()
        self._latest: MaskLayer | None = None
        self.mends = CheckBox(value=True, name="clicks", text="clicks mend the mask", tooltip=HELP)
        self.reach = FloatSlider(
            value=self._settings.reach,
            max=FARTHEST,
            step=STEP,
            name="reach",
            label="spread",
            tooltip="0: this superpixel alone; 1: as far beyond the click as the outline is before it",
        )
        self.finer, self.coarser = (PushButton(name=each.lower(), text=each) for each in ("Finer", "Coarser"))
        self.undo, self.redo = (PushButton(name=each.lower(), text=each) for each in ("Undo", "Redo"))
        self.folder = FileEdit(mode="d", name="folder")
        self.save = PushButton(name="save", text="Save masks")
        self.file = FileEdit(mode="r", name="file", label="corrections", filter="*_corrections.json")
        self.play = PushButton(name="play", text="Play back")
        self.status = Label(value=HELP, name="status", label=" ")
        self.widget = Container(
            widgets=[
                self.mends,
                self.reach,
                _row("superpixels", self.finer, self.coarser),
                _row("history", self.undo, self.redo),
                self.folder,
                self.save,
                self.file,
                self.play,
                self.status,
            ],
            name="mend",
        )
        self.mends.changed.connect(lambda value: setattr(self._settings, "mends", value))
        self.reach.changed.connect(lambda value: setattr(self._settings, "reach", value))
        for button, act in (
            (self.finer, lambda: self._resize(1)),
            (self.coarser, lambda: self._resize(-1)),
            (self.undo, lambda: self._chosen().undo()),
            (self.redo, lambda: self._chosen().redo()),
            (self.save, self._save),
            (self.play, self._play),
        ):
            button.changed.connect(lambda _, act=act: self._do(act))

    def show(self, viewer: ViewerModel, layer: Labels, index: tuple[int, ...], results: Sequence[Result]) -> None:
        """Show the masks of a frame on a layer, which can be mended from then on."""
        menders = [Mender(each.case.image, each.case.box, each.mask) for each in results]
        self._of(viewer, layer).replace(index, menders)
        # shown by napari beside the label under the pointer
        layer.features = {
            "index": list(range(len(results) + 1)),
            QUALITY: ["", *(_sure(each.quality) for each in results)],
        }
        self._tell()

    def _of(self, viewer: ViewerModel, layer: Labels) -> MaskLayer:
        viewer, layer = _bare(viewer), _bare(layer)
        if layer not in self._masks:
            self._masks[layer] = MaskLayer(layer)
            listen(viewer, self._masks[layer], self._settings, self._clicked)
        self._latest = self._masks[layer]
        return self._latest

    def _chosen(self) -> MaskLayer:
        """The masks last segmented, clicked or played back."""
        if self._latest is None or not self._latest.is_there:
            raise EpisodeError("there is no mask yet; draw a box and press Segment first")
        return self._latest

    def _clicked(self, masks: MaskLayer, error: FlipError | None) -> None:
        self._latest = masks
        if error is not None:
            show_error(str(error))
        self._tell()

    def _do(self, act: Callable[[], Any]) -> None:
        try:
            act()
        except FlipError as error:
            show_error(str(error))
        self._tell()

    def _resize(self, step: int) -> None:
        place = SIZES.index(self._settings.size) + step
        self._settings.size = SIZES[min(max(place, 0), len(SIZES) - 1)]
        self.finer.enabled, self.coarser.enabled = self._settings.size != SIZES[-1], self._settings.size != SIZES[0]

    def _save(self) -> None:
        masks = self._chosen()
        if not str(self.folder.value).strip(". "):
            raise EpisodeError("there is no folder to save to yet; choose one")
        count = len(masks.save(Path(self.folder.value)))
        show_info(f"{count} mask{'s' * (count != 1)} of {masks.layer.name!r} saved to {self.folder.value}")

    def _play(self) -> None:
        viewer, layer, index, pixels = self._place()
        self._of(viewer, layer).play_back(index, pixels, Path(self.file.value))

    def _tell(self) -> None:
        lines = [HELP, f"superpixels: {self._settings.size:g} × the usual area"]
        if self._latest is not None and self._latest.is_there:
            count = self._latest.corrections
            lines.append(f"{self._latest.layer.name}: {count or 'no'} correction{'s' * (count != 1)}")
        self.status.value = "\n".join(lines)


def _bare(each: Any) -> Any:
    """A viewer or layer without the proxy in which napari hands it to plugins, made anew each time."""
    return getattr(each, "__wrapped__", each)


def _row(name: str, *widgets: Any) -> Container[Any]:
    return Container(widgets=widgets, layout="horizontal", labels=False, name=name)


def _sure(quality: Quality | None) -> str:
    """How good a mask probably is, and why to look at it; "" for a method without maps."""
    if quality is None:
        return ""
    between = "" if quality.low is None else f" ({quality.low:.2f} to {quality.high:.2f})"
    return ", ".join([f"{quality.value:.2f}{between}", *(REASONS.get(each, each) for each in quality.reasons)])
