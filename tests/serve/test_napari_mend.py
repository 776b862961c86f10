"""Mending in napari: by its layers without Qt, and with the mouse in a real window where Qt is there."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flipagents.maps.geometry import ellipse
from flipagents.segment.corrections import ERASE, PASS, CorrectionError, read_corrections
from flipagents.segment.mend import Mender
from flipagents.segment.quality import Quality
from flipagents.serve.service import Result, SegmentationService
from flipenv import Case, open_source
from flipenv.pixels import Mask

pytest.importorskip("napari", reason="napari is not installed; the plugin needs the extra napari")

from napari.components import ViewerModel

from flipagents.serve.napari import mask_layer
from flipagents.serve.napari_mend import MaskLayer, Settings


@pytest.fixture(scope="module")
def case() -> Case:
    return open_source("phantom:1").load(0)


def start(case: Case) -> Mask:
    return ellipse(case.box, case.image.shape)


def edge(case: Case) -> tuple[int, int]:
    """A pixel of the box outside its ellipse."""
    return case.box.top + 3, case.box.left + 3


def corner(case: Case) -> tuple[int, int]:
    """The opposite one."""
    return case.box.bottom - 4, case.box.right - 4


def test_clicks_and_brush_in_one_history(case: Case) -> None:
    viewer = ViewerModel()
    layer = mask_layer(viewer, viewer.add_image(case.image, name="scan", scale=(0.5, 0.25)))
    masks = MaskLayer(layer)
    masks.replace((), [Mender(case.image, case.box, start(case))])
    alone = Mender(case.image, case.box, start(case))
    states = [layer.data.copy()]
    for place, action in ((edge(case), ERASE), (corner(case), ERASE)):
        alone.click(*place, action, 0.5)
        assert masks.click(np.array(place) + 0.4, action, Settings(reach=0.5)) == 1
        np.testing.assert_array_equal(layer.data == 1, alone.mask)
        states.append(layer.data.copy())
    layer.selected_label = 1
    layer.brush_size = 5
    layer.paint((case.box.bottom - 8, case.box.left + 4), 1)
    masks.click(np.array(edge(case)), PASS, Settings(reach=0))
    assert masks.corrections == 1  # of the mask painted by hand
    masks.undo()
    assert masks.corrections == 0
    masks.undo()
    assert masks.corrections == 2
    np.testing.assert_array_equal(layer.data, states[2])
    layer.undo()  # napari's own, by its key
    layer.undo()
    np.testing.assert_array_equal(layer.data, states[0])
    masks.redo()
    np.testing.assert_array_equal(layer.data, states[1])
    assert masks.corrections == 1
    with pytest.raises(CorrectionError, match="outside the image"):
        masks.click(np.array((-3.0, 5.0)), ERASE, Settings())


def test_frames_of_a_stack_and_playing_back(case: Case, tmp_path: Path) -> None:
    viewer = ViewerModel()
    stack = np.stack([case.image, 255 - case.image, case.image // 2])
    layer = mask_layer(viewer, viewer.add_image(stack, name="cine"))
    masks = MaskLayer(layer)
    viewer.dims.set_current_step(0, 0)
    for index in (1, 2):
        masks.replace((index,), [Mender(stack[index], case.box, start(case))])
    for index in (2, 1):
        masks.click(np.array((index, *edge(case))), ERASE, Settings())
    masks.click(np.array((2, *corner(case))), PASS, Settings(reach=0, size=4))
    masks.click(np.array((2, *corner(case))), ERASE, Settings(reach=0))
    assert [len(masks.frames[index,].now[1].corrections) for index in (1, 2)] == [1, 3]
    assert not layer.data[0].any()
    with pytest.raises(CorrectionError, match="has no frame"):
        masks.click(np.array((3, *edge(case))), ERASE, Settings())
    saved = masks.save(tmp_path)
    assert [each.name for each in saved] == ["cine-frame1_mask.png", "cine-frame2_mask.png"]
    fresh = ViewerModel()
    again = MaskLayer(mask_layer(fresh, fresh.add_image(stack, name="cine")))
    file = tmp_path / "cine-frame2_corrections.json"
    with pytest.raises(CorrectionError, match="another image"):
        again.play_back((1,), stack[1], file)
    assert again.play_back((2,), stack[2], file) == 1
    np.testing.assert_array_equal(again.layer.data[2], layer.data[2])
    assert again.corrections == 3
    assert again.play_back((2,), stack[2], file) == 1  # of the same box, so it takes its place
    assert again.corrections == 3
    again.undo()
    assert again.corrections == 2
    assert again.save(tmp_path) == [saved[1]]  # it was played back from there


class Mouse:
    """The left and right mouse button on pixels of a layer, as Qt reports them."""

    def __init__(self, viewer: Any) -> None:
        from qtpy.QtTest import QTest

        self.test, self.canvas = QTest, viewer.window._qt_viewer.canvas

    def at(self, row: float, column: float) -> Any:
        from qtpy.QtCore import QPoint

        view = self.canvas.view
        origin, one = (np.array(self.canvas._map_canvas2world((x, x), view))[-2:] for x in (0, 100))
        down, across = (np.array((row, column)) - origin) / (one - origin) * 100
        return QPoint(round(across), round(down))

    def click(self, row: float, column: float, button: str = "LeftButton", key: str = "NoModifier") -> None:
        self.test.mouseClick(self.canvas.native, *self._how(button, key), self.at(row, column))

    def click_again(self, row: float, column: float) -> None:
        self.test.mouseDClick(self.canvas.native, *self._how("LeftButton", "NoModifier"), self.at(row, column))

    def drag(self, begin: tuple[float, float], end: tuple[float, float]) -> None:
        from qtpy.QtCore import QEvent, QPointF, Qt
        from qtpy.QtGui import QMouseEvent
        from qtpy.QtWidgets import QApplication

        how = self._how("LeftButton", "NoModifier")
        start, stop = self.at(*begin), self.at(*end)
        self.test.mousePress(self.canvas.native, *how, start)
        for part in (0.5, 1.0):  # QTest's own move holds no button
            place = QPointF(start) + (QPointF(stop) - QPointF(start)) * part
            move = QMouseEvent(QEvent.Type.MouseMove, place, place, Qt.MouseButton.NoButton, *how)
            QApplication.sendEvent(self.canvas.native, move)
        self.test.mouseRelease(self.canvas.native, *how, stop)

    def _how(self, button: str, key: str) -> tuple[Any, Any]:
        from qtpy.QtCore import Qt

        return getattr(Qt.MouseButton, button), getattr(Qt.KeyboardModifier, key)


@dataclass
class Open:
    """A phantom with its mask in a window, and a mender that takes the same clicks."""

    viewer: Any
    panel: Any
    mouse: Mouse
    alone: Mender
    told: list[str]

    @property
    def layer(self) -> Any:
        return self.viewer.layers["scan masks"]

    def is_mended(self) -> bool:
        return np.array_equal(self.layer.data == 1, self.alone.mask)


@pytest.fixture
def opened(napari_window: Any, case: Case, request: pytest.FixtureRequest) -> Open:
    from napari.utils.notifications import notification_manager

    from flipagents.serve.napari import segment_boxes_widget

    qtbot = request.getfixturevalue("qtbot")
    told: list[str] = []
    notification_manager.notification_ready.connect(lambda note: told.append(note.message))
    both = segment_boxes_widget()
    napari_window.window.add_dock_widget(both, name="Segment boxes")
    napari_window.add_image(case.image, name="scan")
    top, left, bottom, right = np.array(case.box) - 0.5
    napari_window.add_shapes([[[top, left], [top, right], [bottom, right], [bottom, left]]])
    napari_window.window.resize(1400, 900)
    qtbot.waitUntil(lambda: napari_window.window._qt_viewer.canvas.size[1] > 600, timeout=60_000)
    napari_window.reset_view()
    both.segment.method.value = "ellipse"
    both.segment.call_button.clicked.emit(True)
    qtbot.waitUntil(lambda: "scan masks" in napari_window.layers, timeout=60_000)
    qtbot.waitUntil(lambda: both.segment.call_button.enabled, timeout=60_000)
    alone = Mender(case.image, case.box, start(case))
    made = Open(napari_window, both.mend, Mouse(napari_window), alone, told)
    assert made.is_mended()
    return made


def test_clicks_of_the_mouse(opened: Open, case: Case) -> None:
    from qtpy.QtCore import Qt

    mouse, alone, camera = opened.mouse, opened.alone, opened.viewer.camera
    zoom = camera.zoom
    mouse.click(*edge(case))
    alone.click(*edge(case), ERASE)
    assert opened.is_mended()
    mouse.click_again(*corner(case))
    alone.click(*corner(case), ERASE)
    assert opened.is_mended()
    assert camera.zoom == zoom
    row = (case.box.top + case.box.bottom) // 2
    for button, key, column in (
        ("RightButton", "NoModifier", case.box.left + 3),
        ("LeftButton", "ShiftModifier", case.box.right - 4),
    ):
        mouse.click(row, column, button, key)
        alone.click(row, column, PASS)
        assert opened.is_mended()
    canvas, centre = mouse.canvas.native, mouse.at(*edge(case))
    mouse.drag((row, case.box.left + 3), edge(case))
    mouse.click(*edge(case), key="AltModifier")
    assert opened.is_mended()
    assert mouse.at(*edge(case)) != centre  # napari moved the view
    control, shift = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
    mouse.test.keyClick(canvas, Qt.Key.Key_Z, control)
    alone.undo()
    assert opened.is_mended()
    mouse.test.keyClick(canvas, Qt.Key.Key_Z, control | shift)
    alone.redo()
    assert opened.is_mended()
    mouse.click(0, case.image.shape[1] - 1)
    assert "too far from the box" in opened.told[-1]


def test_when_clicks_are_naparis(opened: Open, case: Case) -> None:
    mouse, camera = opened.mouse, opened.viewer.camera
    opened.panel.clicks.value = False
    zoom = camera.zoom
    mouse.click(*edge(case))
    assert opened.is_mended()
    mouse.click_again(*edge(case))
    assert camera.zoom != zoom
    camera.zoom = zoom
    opened.panel.clicks.value = True
    opened.layer.mode = "paint"
    opened.layer.brush_size = 3
    mouse.click(*edge(case))
    assert (opened.layer.data == 1).sum() == opened.alone.mask.sum() + 9
    opened.layer.mode = "pan_zoom"
    opened.viewer.layers.selection.active = opened.viewer.layers["scan"]
    painted = opened.layer.data.copy()
    mouse.click(*corner(case))
    np.testing.assert_array_equal(opened.layer.data, painted)


def test_the_panel(opened: Open, case: Case, tmp_path: Path) -> None:
    panel, alone, told = opened.panel, opened.alone, opened.told
    opened.mouse.click(*edge(case))
    alone.click(*edge(case), ERASE)
    panel.reach.value = 0
    panel.superpixels.finer.changed.emit(True)
    assert not panel.superpixels.finer.enabled
    alone.cell_area /= 2
    opened.mouse.click(*corner(case))
    alone.click(*corner(case), ERASE, 0)
    assert opened.is_mended()
    panel.history.undo.changed.emit(True)
    alone.undo()
    assert opened.is_mended()
    assert "scan masks: 1 correction" in panel.status.value
    panel.history.redo.changed.emit(True)
    alone.redo()
    assert opened.is_mended()
    panel.save.changed.emit(True)
    assert "no folder" in told[-1]
    panel.folder.value = tmp_path
    panel.save.changed.emit(True)
    assert "1 mask of 'scan masks' saved" in told[-1]
    corrections = read_corrections(tmp_path / "scan_corrections.json", alone.subject)
    assert [dataclasses.replace(each, time="") for each in corrections] == [
        dataclasses.replace(each, time="") for each in alone.corrections
    ]
    opened.viewer.layers.remove(opened.layer)
    panel.file.value = tmp_path / "scan_corrections.json"
    panel.play.changed.emit(True)
    assert opened.is_mended()
    assert "scan masks: 2 corrections" in panel.status.value


def test_how_sure_each_mask_is(opened: Open, case: Case) -> None:
    from flipagents.serve.napari_panel import MendPanel

    panel = MendPanel(lambda: (opened.viewer, opened.layer, (), case.image))
    quality = Quality(0.931, 0.88, 0.96, calibrated=True, reasons=("outline-unsure",))
    panel.show(opened.viewer, opened.layer, (), [Result("contour", case, start(case), quality=quality)])
    row, column = np.argwhere(opened.layer.data == 1)[0]
    status = opened.layer.get_status((row, column), world=False)
    assert "0.93 (0.88 to 0.96), the outline is unsure" in str(status)
    panel.show(opened.viewer, opened.layer, (), [Result("polar", case, start(case))])
    assert "0.9" not in str(opened.layer.features["predicted Dice"].tolist())


def test_the_service_rates_what_napari_shows(case: Case) -> None:
    (contour,) = SegmentationService().results(case.image, [case.box], "contour")
    (polar,) = SegmentationService().results(case.image, [case.box], "polar")
    assert contour.quality is not None
    assert 0.5 < contour.quality.value <= 1
    assert polar.quality is None
