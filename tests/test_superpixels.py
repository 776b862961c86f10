import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from flipenv import superpixels
from flipenv.errors import ConfigError, ImageError, MissingDependencyError
from flipenv.superpixels import SUPERPIXELS, centers, grid_shape, relabel, segment

METHODS = ("seeds", "slic", "grid")
GOLDEN_SIZES = [112, 62, 32, 78, 69, 46, 136, 57, 45, 56, 46, 75]  # px, OpenCV 5.0.0
FUZZ = Path(__file__).parents[1] / "benchmarks" / "fuzz_superpixels.py"


def speckle(height, width, seed=0):
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    nodule = ((rows - height * 0.45) / (height * 0.35)) ** 2 + ((columns - width * 0.55) / (width * 0.4)) ** 2 < 1
    echo = np.where(nodule, 40.0, 120.0) * random.rayleigh(0.8, (height, width))
    return cv2.GaussianBlur(echo, (0, 0), 1.0).clip(0, 255).astype(np.uint8)


def run_apart(*arguments):
    return subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize(("method", "n"), [("seeds", 1500), ("slic", 150), ("grid", 300)])
def test_no_input_crashes_or_breaks_the_labels(method, n):
    done = run_apart(FUZZ, "--n", n, "--seed", 1, "--method", method)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


@pytest.mark.parametrize(("height", "width", "wanted"), [(30, 91, 8), (15, 20, 100), (40, 60, 800)])
def test_sizes_on_which_plain_seeds_kills_the_process(height, width, wanted):
    code = (
        "import numpy as np; from flipenv.superpixels import segment;"
        f"image = np.random.default_rng(0).integers(0, 256, ({height}, {width}), dtype=np.uint8);"
        f"print(segment(image, {height * width / wanted}).max() + 1)"
    )
    done = run_apart("-c", code)
    assert done.returncode == 0, done.stderr
    assert abs(int(done.stdout) - wanted) <= 0.25 * wanted


def test_seeds_returns_the_grid_that_was_planned():
    for rows, columns in [(1, 3), (3, 1), (2, 2), (2, 7), (1, 40), (33, 1), (9, 5)]:
        count = max(superpixels.SEEDS_FEWEST, 2 * rows * columns)
        side = superpixels.CELL
        engine = cv2.ximgproc.createSuperpixelSEEDS(columns * side, rows * side, 1, count, superpixels.SEEDS_LEVELS)
        assert engine.getNumberOfSuperpixels() == rows * columns


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cell_area", [36.0, 75.0, 375.0])
def test_density_does_not_depend_on_the_box(method, cell_area):
    for height, width in [(30, 44), (47, 30), (61, 85), (85, 30), (128, 101), (90, 300), (300, 210)]:
        wanted = round(height * width / cell_area)
        found = int(segment(speckle(height, width), cell_area, method).max()) + 1
        assert abs(found - wanted) <= 0.25 * wanted, (height, width, found, wanted)


@pytest.mark.parametrize("method", METHODS)
def test_labels_are_dense_and_deterministic(method):
    image = speckle(61, 85)
    labels = segment(image, 75.0, method)
    assert labels.dtype == np.int16
    assert labels.shape == (61, 85)
    assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))
    assert np.array_equal(labels, segment(image, 75.0, method))


@pytest.mark.parametrize("method", METHODS)
def test_a_view_gives_the_labels_of_its_copy(method):
    view = speckle(90, 120)[11:72, 20:105]
    assert not view.flags.c_contiguous
    assert np.array_equal(segment(view, 75.0, method), segment(view.copy(), 75.0, method))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (1, 90), (90, 1), (2, 300), (3, 3)])
def test_smallest_and_thinnest_areas(method, shape):
    for cell_area in (1.0, 2.5, 75.0):
        labels = segment(np.full(shape, 7, np.uint8), cell_area, method)
        assert labels.shape == shape
        assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))


@pytest.mark.parametrize("method", ["seeds", "slic"])
def test_outlines_follow_the_image(method):
    image = speckle(61, 85)
    dark = cv2.GaussianBlur(image, (0, 0), 3) < 70

    def best_dice(labels):
        inside = np.bincount(labels.ravel(), weights=dark.ravel()) / np.bincount(labels.ravel()) > 0.5
        return 2 * (inside[labels] & dark).sum() / (inside[labels].sum() + dark.sum())

    assert best_dice(segment(image, 75.0, method)) > best_dice(segment(image, 75.0, "grid")) + 0.005


def test_golden_seeds_labels():
    rows, columns = np.mgrid[0:22, 0:37]
    image = (60 + 120 * ((rows - 10) ** 2 + (columns - 20) ** 2 > 60) + (rows * 7 + columns * 3) % 11).astype(np.uint8)
    labels = segment(image, 75.0)
    assert np.bincount(labels.ravel()).tolist() == GOLDEN_SIZES


def test_numbers_go_along_the_rows():
    first = [segment(speckle(61, 85), 75.0, method).ravel() for method in METHODS]
    for labels in first:
        firsts = np.unique(labels, return_index=True)[1] // 85
        assert np.corrcoef(firsts, np.arange(firsts.size))[0, 1] > 0.95


def test_centers_against_a_loop():
    labels = segment(speckle(31, 47), 60.0)
    found = centers(labels)
    assert found.dtype == np.int16
    for superpixel in range(labels.max() + 1):
        rows, columns = np.nonzero(labels == superpixel)
        assert found[superpixel].tolist() == [round(rows.mean()), round(columns.mean())]


def test_relabel_keeps_the_order():
    assert relabel(np.array([[9, 4, 4], [9, 7, 100]])).tolist() == [[2, 0, 0], [2, 1, 3]]


def test_grid_shape_is_near_and_symmetric():
    for height, width in [(7, 90), (61, 85), (300, 40), (5, 5)]:
        for n in range(1, height * width // 4):
            rows, columns = grid_shape(height, width, n)
            assert abs(rows * columns - n) <= 0.25 * n
            assert 1 <= rows <= height
            assert 1 <= columns <= width


def test_errors_say_what_to_do(monkeypatch):
    image = speckle(200, 200)
    with pytest.raises(ConfigError, match=r"200x200 px into about 40000 superpixels; .* larger cell_area"):
        segment(image, 1.0)
    for cell_area in (0.5, 0.0, -3.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="cell_area"):
            segment(image, cell_area)
    with pytest.raises(ConfigError, match="did you mean 'seeds'"):
        segment(image, 75.0, "seed")
    with pytest.raises(ImageError):
        segment(image.astype(float), 75.0)
    monkeypatch.setattr(superpixels.cv2, "ximgproc", None)
    for method in ("seeds", "slic"):
        with pytest.raises(
            MissingDependencyError, match="pip install --force-reinstall --no-deps opencv-contrib-python"
        ):
            segment(image, 75.0, method)
    assert segment(image, 75.0, "grid").max() > 0


def test_registered_methods():
    assert list(METHODS) == [name for name in ("seeds", "slic", "grid") if name in SUPERPIXELS]
