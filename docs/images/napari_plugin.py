"""Take the napari screenshot of docs/annotators.md: xvfb-run -a python docs/images/napari_plugin.py

Needs the extra `napari`, a Qt binding, and a display with OpenGL.
"""

from __future__ import annotations

import time
from pathlib import Path

import napari
import numpy as np
from PIL import Image
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from saving import save

from flipagents.serve.napari import segment_boxes_widget
from flipenv import open_source

FILE = Path(__file__).parent / "napari.png"
TIMEOUT = 300  # s
CLICKS = ((115, 178, "LeftButton"), (81, 173, "RightButton"))  # row, column of what the mask misses, and has too much


def _wait(turns: int) -> None:
    for _ in range(turns):
        QApplication.processEvents()
        time.sleep(0.05)


def _click(viewer: napari.Viewer, row: int, column: int, button: str) -> None:
    canvas = viewer.window._qt_viewer.canvas
    origin, other = (np.array(canvas._map_canvas2world((at, at), canvas.view))[-2:] for at in (0, 100))
    down, across = (np.array((row, column)) - origin) / (other - origin) * 100
    where = QPoint(round(across), round(down))
    QTest.mouseClick(canvas.native, getattr(Qt.MouseButton, button), Qt.KeyboardModifier.NoModifier, where)


def main() -> None:
    """Write the screenshot beside this file."""
    case = open_source("phantom:1").load(0)
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1360, 900)
    both = segment_boxes_widget()
    viewer.window.add_dock_widget(both, name="Segment boxes")
    widget = both.segment
    viewer.add_image(case.image, name="phantom")
    top, left, bottom, right = np.array(case.box) - 0.5
    corners = [[top, left], [top, right], [bottom, right], [bottom, left]]
    viewer.add_shapes([corners], name="boxes", edge_color="yellow", face_color="transparent", edge_width=1)
    widget.call_button.clicked.emit(True)
    end = time.monotonic() + TIMEOUT
    while "phantom masks" not in viewer.layers or not widget.call_button.enabled:
        if time.monotonic() > end:
            raise TimeoutError(f"no masks after {TIMEOUT} s")
        _wait(1)
    viewer.scene.camera.center, viewer.scene.camera.zoom = ((top + bottom) / 2, (left + right) / 2), 5
    viewer.layers["phantom masks"].contour = 1
    viewer.layers["phantom masks"].opacity = 1
    _wait(20)
    for row, column, button in CLICKS:
        _click(viewer, row, column, button)
    _wait(20)
    save(Image.fromarray(viewer.window.screenshot(canvas_only=False, flash=False)), FILE)
    viewer.close()


if __name__ == "__main__":
    main()
