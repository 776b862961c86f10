"""COCO instances: polygons against a plain loop, run lengths against the mask they were made of."""

import json
import pickle
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from flipenv import Box
from flipenv.errors import MissingDependencyError, SourceError
from flipenv.sources import CocoSource, open_source

HEIGHT, WIDTH = 40, 60
IMAGE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)
MASK = np.zeros((HEIGHT, WIDTH), bool)
MASK[6:20, 8:49] = True
MASK[10:12, 20:30] = False


def write(root, *annotations, **changes):
    (root / "images").mkdir(parents=True, exist_ok=True)
    Image.fromarray(IMAGE).save(root / "images" / "scan a.png")
    content = {
        "images": [{"id": 4, "file_name": "scan a.png", "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": 1, "name": "nodule"}, {"id": 2, "name": "cyst"}],
        "annotations": [
            {"id": number, "image_id": 4, "category_id": 1, "bbox": [7.2, 5, 43, 19.8], **annotation}
            for number, annotation in enumerate(annotations, 11)
        ],
        **changes,
    }
    path = root / "instances.json"
    path.write_text(json.dumps(content))
    return path


def inside(polygon):
    """Even-odd rule at each pixel's centre."""
    points = np.reshape(polygon, (-1, 2))
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for row in range(HEIGHT):
        for column in range(WIDTH):
            x, y = column + 0.5, row + 0.5
            crossings = 0
            for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
                if (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
                    crossings += 1
            mask[row, column] = crossings % 2
    return mask


def runs(mask):
    flat = mask.T.ravel()
    starts = np.flatnonzero(np.diff(flat)) + 1
    edges = [0, *([0] if flat[0] else []), *starts, flat.size]
    return np.diff(edges).tolist()


def test_box_id_and_class(tmp_path):
    path = write(tmp_path, {}, {"category_id": 2, "bbox": [0, 0, 60, 40]})
    source = open_source(f"coco:{path}")
    assert source.ids == ("scan a-11", "scan a-12")
    case = source.load(0)
    assert case.box == (5, 7, 25, 50)
    assert case.mask is None
    assert case.meta == {"class": "nodule"}
    np.testing.assert_array_equal(case.image, IMAGE)
    assert open_source(f"coco:{path}?category=cyst").ids == ("scan a-12",)
    with pytest.raises(SourceError, match=r"unknown category 'nodul': did you mean 'nodule'"):
        CocoSource(path, category="nodul")


def test_a_rectangle_covers_its_pixels_and_no_more(tmp_path):
    path = write(tmp_path, {"segmentation": [[8, 6, 49, 6, 49, 20, 8, 20]]})
    mask = CocoSource(path).load(0).mask
    expected = np.zeros_like(MASK)
    expected[6:20, 8:49] = True
    np.testing.assert_array_equal(mask, expected)


def test_polygons_are_what_pycocotools_draws(tmp_path):
    tools = pytest.importorskip("pycocotools.mask")
    polygon = [10.3, 8.1, 44.7, 6.2, 55.1, 20.9, 38.4, 35.6, 12.2, 30.3]
    mask = CocoSource(write(tmp_path, {"segmentation": [polygon]})).load(0).mask
    theirs = tools.decode(tools.frPyObjects([polygon], HEIGHT, WIDTH))[:, :, 0] > 0
    assert 2 * (mask & theirs).sum() / (mask.sum() + theirs.sum()) > 0.99


def test_polygons_that_leave_the_image_are_cut(tmp_path):
    path = write(tmp_path, {"segmentation": [[-20, -5, 30, -5, 30, 90, -20, 90]]})
    expected = np.zeros_like(MASK)
    expected[:, :30] = True
    np.testing.assert_array_equal(CocoSource(path).load(0).mask, expected)


def test_polygons_against_a_plain_loop(tmp_path):
    random = np.random.default_rng(1)
    polygons = []
    for centre in ((20, 15), (42, 24)):
        angles = np.sort(random.uniform(0, 2 * np.pi, 9))
        radii = random.uniform(6, 14, 9)
        x, y = centre[0] + 1.3 * radii * np.cos(angles), centre[1] + radii * np.sin(angles)
        polygons.append(np.stack([x, y], axis=1).ravel().tolist())
    mask = CocoSource(write(tmp_path, {"segmentation": polygons})).load(0).mask
    expected = inside(polygons[0]) | inside(polygons[1])
    np.testing.assert_array_equal(mask, expected)


def test_run_lengths(tmp_path):
    coded = {"size": [HEIGHT, WIDTH], "counts": runs(MASK)}
    np.testing.assert_array_equal(CocoSource(write(tmp_path, {"segmentation": coded})).load(0).mask, MASK)


def test_compressed_run_lengths(tmp_path, monkeypatch):
    tools = pytest.importorskip("pycocotools.mask")
    coded = tools.encode(np.asfortranarray(MASK.astype(np.uint8)))
    coded["counts"] = coded["counts"].decode()
    source = CocoSource(write(tmp_path, {"segmentation": coded}))
    np.testing.assert_array_equal(source.load(0).mask, MASK)
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    with pytest.raises(MissingDependencyError, match=r"annotation 11: .*pip install flip-learning\[coco\]"):
        source.load(0)


@pytest.mark.parametrize("segmentation", [[], [[]], [[], []], None])
def test_polygons_without_points_draw_nothing(tmp_path, segmentation):
    assert CocoSource(write(tmp_path, {"segmentation": segmentation})).load(0).mask is None


def test_a_polygon_without_points_leaves_the_others(tmp_path):
    source = CocoSource(write(tmp_path, {"segmentation": [[], [8, 6, 49, 6, 49, 20, 8, 20]]}))
    assert source.load(0).mask.sum() == 41 * 14


def test_what_joins_an_export_with_its_input_is_kept(tmp_path):
    categories = [{"id": 7, "name": "nodule", "supercategory": "lesion"}, {"id": 2, "name": "cyst"}]
    path = write(
        tmp_path, {"category_id": 7}, {"id": "b", "category_id": 2}, {"category_id": None}, categories=categories
    )
    source = CocoSource(path)
    assert source.categories == categories
    assert CocoSource(path, category="cyst").categories == categories
    kept = [(each.number, each.image_id, each.category_id, each.category, each.file_name) for each in source.entries]
    assert kept == [
        (11, 4, 7, "nodule", "scan a.png"),
        ("b", 4, 2, "cyst", "scan a.png"),
        (13, 4, None, None, "scan a.png"),
    ]
    assert source.ids == ("scan a-11", "scan a-b", "scan a-13")


def test_fingerprint_and_pickle(tmp_path):
    polygon = {"segmentation": [[8, 6, 49, 6, 49, 20]]}
    source = pickle.loads(pickle.dumps(CocoSource(write(tmp_path / "a", polygon))))
    before = source.fingerprint(0)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert CocoSource(tmp_path / "b" / "instances.json").fingerprint(0) == before
    changed = [{"segmentation": [[8, 6, 49, 6, 49, 21]]}, {"bbox": [7, 5, 43, 21], **polygon}, {}]
    digests = {before, *(CocoSource(write(tmp_path / "b", other)).fingerprint(0) for other in changed)}
    assert len(digests) == 4
    Image.fromarray(255 - IMAGE).save(tmp_path / "a" / "images" / "scan a.png")
    assert source.fingerprint(0) != before


@pytest.mark.parametrize("side", [0.4, 1, 11, 11.5])
def test_a_box_is_as_large_wherever_it_lies_to_half_a_pixel(side):
    boxes = [Box.from_coco(start, start + 2, side, side) for start in np.arange(0, 6, 0.5)]
    whole, halves = boxes[::2], boxes[1::2]
    for group in (whole, halves):
        assert len({(box.height, box.width) for box in group}) == 1
    if side == 11:
        assert {(box.height, box.width) for box in boxes} == {(11, 11), (12, 12)}
        assert halves[5] == (7, 5, 19, 17)
