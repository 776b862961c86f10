"""Take the napari screenshot of docs/annotators.md: xvfb-run -a python docs/images/napari_plugin.py

Needs the extra `napari`, a Qt binding, and a display with OpenGL.
"""

from __future__ import annotations

import time
from pathlib import Path

import napari
import numpy as np
from PIL import Image
from qtpy.QtWidgets import QApplication
from saving import save

from flipagents.serve.napari import segment_boxes_widget
from flipenv import open_source

FILE = Path(__file__).parent / "napari.png"
TIMEOUT = 300  # s


def main() -> None:
    """Write the screenshot beside this file."""
    case = open_source("phantom:1").load(0)
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1200, 760)
    widget = segment_boxes_widget()
    viewer.window.add_dock_widget(widget, name="Segment boxes")
    viewer.add_image(case.image, name="phantom")
    top, left, bottom, right = np.array(case.box) - 0.5
    corners = [[top, left], [top, right], [bottom, right], [bottom, left]]
    viewer.add_shapes([corners], name="boxes", edge_color="yellow", face_color="transparent", edge_width=2)
    widget.call_button.clicked.emit(True)
    end = time.monotonic() + TIMEOUT
    while "phantom masks" not in viewer.layers or not widget.call_button.enabled:
        if time.monotonic() > end:
            raise TimeoutError(f"no masks after {TIMEOUT} s")
        QApplication.processEvents()
        time.sleep(0.05)
    for _ in range(40):
        QApplication.processEvents()
        time.sleep(0.05)
    save(Image.fromarray(viewer.window.screenshot(canvas_only=False, flash=False)), FILE)
    viewer.close()


if __name__ == "__main__":
    main()
