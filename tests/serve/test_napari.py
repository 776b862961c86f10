"""The napari plugin: by its layers without Qt, and in a real window where Qt is there."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from flipagents.compare.methods import default_method, make_method, run_method
from flipagents.maps.geometry import ellipse
from flipenv import Box, Case
from flipenv.errors import BoxError, ConfigError, FlipError, ImageError

pytest.importorskip("napari", reason="napari is not installed; the plugin needs the extra napari")

from napari.components import ViewerModel

from flipagents.serve.napari import read_frame, segment_boxes, show
from flipagents.serve.service import SegmentationService
from flipagents.store.checkpoint import SHIPPED

FIRST, SECOND = Box(20, 30, 60, 90), Box(64, 100, 90, 130)


@pytest.fixture
def image() -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 255, (96, 150), dtype=np.uint8)


def corners(box: Box) -> NDArray[np.float64]:
    """The rectangle along the outer edges of the box's pixels, whose centres have whole numbers."""
    top, left, bottom, right = np.array(box) - 0.5
    return np.array([[top, left], [top, right], [bottom, right], [bottom, left]])


def test_one_label_a_box(image: NDArray[np.uint8]) -> None:
    labels = segment_boxes(image, [corners(FIRST), corners(SECOND)], "ellipse")
    assert labels.dtype == np.uint16
    np.testing.assert_array_equal(labels == 1, ellipse(FIRST, image.shape))
    np.testing.assert_array_equal(labels == 2, ellipse(SECOND, image.shape))
    (expected,) = run_method(make_method("polar"), [Case(image, FIRST)])
    np.testing.assert_array_equal(segment_boxes(image, [corners(FIRST)], "polar") == 1, expected)


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        ([[19.6, 29.7], [59.4, 89.4]], FIRST),
        ([[20, 30], [59, 89]], FIRST),
        ([[20.4, 30.4], [59.4, 89.4]], Box(21, 31, 60, 90)),
        ([[19.4, 30], [59, 89.6]], FIRST),
        ([[18.9999, 28.9999], [60.0001, 90.0001]], Box(19, 29, 61, 91)),
        ([[19.01, 29.01], [59.99, 89.99]], FIRST),
        ([[-0.5, -0.5], [95.5, 149.5]], Box(0, 0, 96, 150)),
    ],
)
def test_what_is_covered_by_half(image: NDArray[np.uint8], drawn: list[list[float]], expected: Box) -> None:
    (top, left), (bottom, right) = drawn
    for turned in ([0, 1, 2, 3], [2, 3, 0, 1], [1, 0, 3, 2]):  # dragged from any corner
        shape = np.array([[top, left], [top, right], [bottom, right], [bottom, left]])[turned]
        labels = segment_boxes(image, [shape], "box")
        assert Box(*_bounds(labels)) == expected


def _bounds(labels: NDArray[np.uint16]) -> tuple[int, ...]:
    rows, columns = np.nonzero(labels)
    return rows.min(), columns.min(), rows.max() + 1, columns.max() + 1


def test_what_is_refused(image: NDArray[np.uint8]) -> None:
    shape = corners(FIRST)
    turned = shape + np.array([[0, 4], [4, 0], [0, -4], [-4, 0]])
    for rectangles, told in [
        ([], "found 0 boxes"),
        ([shape, shape + 60], r"box 2: box \(80, 90, 120, 150\) reaches outside .* 96x150 image"),
        ([shape - 40], "box 1: .* reaches outside"),
        ([turned], "box 1 is rotated"),
        ([shape * np.nan], "not a finite number"),
    ]:
        with pytest.raises(BoxError, match=told):
            segment_boxes(image, rectangles, "ellipse")
    for wrong, told in [
        (image / 255.0, "float64"),
        (image.astype(np.uint16) * 200, "uint16"),
        (np.stack([image] * 3, axis=2), "3 channels"),
    ]:
        with pytest.raises(ImageError, match=told):
            segment_boxes(wrong, [shape], "ellipse")
    for method in ("unheard", "oracle", "onnx:model.onnx"):
        with pytest.raises(ConfigError, match="method"):
            segment_boxes(image, [shape], method)


def test_layers(image: NDArray[np.uint8]) -> None:
    viewer = ViewerModel()
    picture = viewer.add_image(image, name="scan", scale=(0.5, 0.25), translate=(7, -3))
    drawn = viewer.add_shapes([corners(FIRST), corners(SECOND)], scale=(0.5, 0.25), translate=(7, -3))
    frame = read_frame(viewer, picture, drawn)
    layer = show(viewer, picture, frame.index, segment_boxes(frame.image, frame.rectangles, "ellipse"))
    assert layer.name == "scan masks"
    assert np.unique(layer.data).tolist() == [0, 1, 2]
    np.testing.assert_array_equal(layer.scale, picture.scale)
    np.testing.assert_array_equal(layer.translate, picture.translate)
    drawn.data = drawn.data[1:]
    frame = read_frame(viewer, picture, drawn)
    assert show(viewer, picture, frame.index, segment_boxes(frame.image, frame.rectangles, "ellipse")) is layer
    np.testing.assert_array_equal(layer.data, ellipse(SECOND, image.shape))
    assert len(viewer.layers) == 3


def test_boxes_in_the_unit_of_another_layer(image: NDArray[np.uint8]) -> None:
    """Shapes drawn in mm, an image of 0.5 by 0.25 mm."""
    viewer = ViewerModel()
    picture = viewer.add_image(image, scale=(0.5, 0.25), translate=(7, -3))
    drawn = viewer.add_shapes([corners(FIRST) * [0.5, 0.25] + [7, -3]])
    np.testing.assert_allclose(read_frame(viewer, picture, drawn).rectangles, [corners(FIRST)])


def test_the_current_frame_of_a_stack(image: NDArray[np.uint8]) -> None:
    viewer = ViewerModel()
    stack = np.stack([image, 255 - image, image // 2, image // 3])
    picture = viewer.add_image(stack, name="cine", scale=(2, 1, 1))
    anywhere = viewer.add_shapes([corners(FIRST)])
    on_frame_2 = viewer.add_shapes([np.insert(corners(SECOND), 0, 2, axis=1)], ndim=3, scale=(2, 1, 1))
    viewer.dims.set_current_step(0, 2)
    for drawn, box in ((anywhere, FIRST), (on_frame_2, SECOND)):
        frame = read_frame(viewer, picture, drawn)
        assert frame.index == (2,)
        np.testing.assert_array_equal(frame.image, stack[2])
        np.testing.assert_allclose(frame.rectangles, [corners(box)])
    layer = show(viewer, picture, (2,), segment_boxes(frame.image, frame.rectangles, "ellipse"))
    viewer.dims.set_current_step(0, 1)
    assert read_frame(viewer, picture, on_frame_2).rectangles == []
    frame = read_frame(viewer, picture, anywhere)
    assert show(viewer, picture, frame.index, segment_boxes(frame.image, frame.rectangles, "ellipse")) is layer
    assert layer.data.shape == stack.shape
    assert layer.data.any(axis=(1, 2)).tolist() == [False, True, True, False]


def test_layers_that_are_refused(image: NDArray[np.uint8]) -> None:
    viewer = ViewerModel()
    picture = viewer.add_image(np.stack([image, image]))
    drawn = viewer.add_shapes([corners(FIRST)])
    round_one = viewer.add_shapes([corners(FIRST)], shape_type="ellipse")
    with pytest.raises(ImageError, match="no Image layer"):
        read_frame(viewer, None, drawn)
    with pytest.raises(BoxError, match="no Shapes layer"):
        read_frame(viewer, picture, None)
    with pytest.raises(BoxError, match="of type ellipse"):
        read_frame(viewer, picture, round_one)
    viewer.dims.ndisplay = 3
    with pytest.raises(ImageError, match="switch to 2-D"):
        read_frame(viewer, picture, drawn)
    viewer.dims.ndisplay = 2
    viewer.dims.order = (1, 0, 2)
    with pytest.raises(ImageError, match="axes"):
        read_frame(viewer, picture, drawn)
    colours = viewer.add_image(np.stack([image] * 3, axis=2), rgb=True)
    viewer.dims.order = (0, 1, 2)
    frame = read_frame(viewer, colours, drawn)
    with pytest.raises(ImageError, match="3 channels"):
        segment_boxes(frame.image, frame.rectangles, "ellipse")


def test_weights_without_agents(image: NDArray[np.uint8], tmp_path: Path) -> None:
    """The method is the default of the weights, unless one is named."""
    (tmp_path / "pipeline.json").write_text(json.dumps({"stages": [], "votes": [{}]}))
    shutil.copytree(SHIPPED / "contour", tmp_path / "contour")
    service = SegmentationService(tmp_path)
    (expected,) = run_method(make_method("contour", tmp_path), [Case(image, FIRST)])
    np.testing.assert_array_equal(segment_boxes(image, [corners(FIRST)], service=service) == 1, expected)
    with pytest.raises(FlipError, match="holds no student"):
        segment_boxes(image, [corners(FIRST)], "flip", service=service)


def test_undoing_a_segmentation(image: NDArray[np.uint8]) -> None:
    """Also on a frame that is not displayed any more."""
    viewer = ViewerModel()
    picture = viewer.add_image(np.stack([image, image]), name="cine")
    viewer.dims.set_current_step(0, 0)
    first = segment_boxes(image, [corners(FIRST)], "ellipse")
    layer = show(viewer, picture, (1,), first)
    show(viewer, picture, (1,), segment_boxes(image, [corners(SECOND)], "ellipse"))
    assert not layer.data[0].any()
    layer.undo()
    np.testing.assert_array_equal(layer.data[1], first)
    layer.undo()
    assert not layer.data.any()


def test_napari_finds_the_plugin() -> None:
    npe2 = pytest.importorskip("npe2")
    found = npe2.PluginManager()
    found.discover()
    if "flip-learning" not in found:
        pytest.skip("flip-learning is not installed with its entry points")
    contributions = found.get_manifest("flip-learning").contributions
    assert [each.display_name for each in contributions.widgets] == ["Segment boxes"]
    module, _, name = contributions.commands[0].python_name.partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_in_a_window(napari_window: Any, image: NDArray[np.uint8], request: pytest.FixtureRequest) -> None:
    from napari.utils.notifications import notification_manager

    from flipagents.serve.napari import segment_boxes_widget

    qtbot = request.getfixturevalue("qtbot")
    both = segment_boxes_widget()
    napari_window.window.add_dock_widget(both, name="Segment boxes")
    widget = both.segment
    assert widget.method.value == default_method() == "contour"
    widget.weights.value = "busi-paper"
    assert "flip+student" not in widget.method.choices
    widget.weights.value = "busi-small"
    assert "flip+student" in widget.method.choices
    told: list[str] = []
    notification_manager.notification_ready.connect(lambda note: told.append(note.message))
    widget.method.value = "ellipse"
    widget.call_button.clicked.emit(True)
    assert "no Image layer" in told[-1]
    picture = napari_window.add_image(image, name="scan")
    drawn = napari_window.add_shapes([corners(FIRST) + 90], name="boxes")
    assert (widget.image.value, widget.boxes.value) == (picture, drawn)
    widget.call_button.clicked.emit(True)
    qtbot.waitUntil(lambda: "reaches outside" in told[-1], timeout=20_000)
    qtbot.waitUntil(lambda: widget.call_button.enabled, timeout=20_000)
    drawn.data = [corners(FIRST)]
    widget.call_button.clicked.emit(True)
    qtbot.waitUntil(lambda: "scan masks" in napari_window.layers, timeout=20_000)
    np.testing.assert_array_equal(napari_window.layers["scan masks"].data, ellipse(FIRST, image.shape))
    qtbot.waitUntil(lambda: widget.call_button.enabled, timeout=20_000)
