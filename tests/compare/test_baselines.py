"""The classical baselines on drawn lesions, on boxes that hold next to nothing, twice, and from the command line."""

from __future__ import annotations

import re
import shlex
from collections import deque
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
from PIL import Image

from flipagents.cli import main
from flipagents.cli import parser as cli
from flipagents.compare import report
from flipagents.compare.baselines import MAKERS, RULES
from flipagents.compare.baselines.grabcut import grabcut
from flipagents.compare.baselines.oracle import Oracle
from flipagents.compare.baselines.otsu import above_otsu, otsu
from flipagents.compare.baselines.region_growing import grow, neighbours
from flipagents.compare.baselines.saliency import spectral_residual
from flipagents.compare.baselines.smooth import smoothed
from flipagents.compare.methods import make_method, run_method
from flipagents.metrics import dice
from flipenv.errors import MaskError, MissingDependencyError
from flipenv.types import Box, Case

SHAPE = (120, 170)
CLASSICAL = ("otsu", "grabcut", "grabcut-fair", "saliency", "saliency-fine", "sp-rg")


def lesion(dark: int = 40, bright: int = 120, noise: float = 6.0) -> Case:
    """A dark slanted lesion with a bright spot in it, on a brighter ground, its tight box and its mask."""
    drawn = np.zeros(SHAPE, np.uint8)
    cv2.ellipse(drawn, (97, 51), (44, 27), 12.0, 0, 360, 1, -1)
    mask = drawn > 0
    image = np.where(mask, dark, bright) + np.random.default_rng(3).normal(0, noise, SHAPE)
    image[48:52, 92:97] = bright
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
    return Case(np.clip(image, 0, 255).astype(np.uint8), box, id="lesion", mask=mask)


def segmented(name: str, image: np.ndarray, box: Box) -> np.ndarray:
    return run_method(make_method(name), [Case(image, box)])[0]


@pytest.mark.parametrize("name", ["otsu", "grabcut", "grabcut-fair", "sp-rg"])
def test_a_dark_lesion_on_a_bright_ground(name: str) -> None:
    case = lesion()
    found = segmented(name, case.image, case.box)
    assert dice(found, case.mask) > 0.95
    if name != "grabcut":  # the others fill holes
        assert found[48:52, 92:97].all()


@pytest.mark.parametrize("name", CLASSICAL)
def test_nothing_outside_the_box(name: str) -> None:
    case = lesion(noise=25)
    box = Box(30, 60, 71, 133)  # it cuts the lesion on the left
    outside = np.ones(SHAPE, bool)
    outside[box.rows, box.columns] = False
    found = segmented(name, case.image, box)
    assert found.any() == (name != "grabcut")  # to which the lesion outside the box says that all of it is background
    assert not (found & outside).any()


@pytest.mark.parametrize("name", ["saliency", "saliency-fine"])
def test_what_stands_out_is_salient(name: str) -> None:
    image = np.full(SHAPE, 120, np.uint8)
    image[40:52, 70:90] = 20
    found = segmented(name, image, Box(25, 40, 80, 120))
    assert found[40:52, 70:90].mean() > 2 * found[25:80, 40:120].mean()


BOXES = [
    ((60, 90), Box(17, 30, 18, 31)),
    ((60, 90), Box(0, 0, 1, 90)),
    ((60, 90), Box(0, 0, 60, 90)),
    ((60, 90), Box(0, 0, 20, 33)),
    ((60, 90), Box(41, 50, 60, 90)),
    ((60, 90), Box(10, 20, 12, 23)),
    ((1, 1), Box(0, 0, 1, 1)),
    ((1, 9), Box(0, 3, 1, 5)),
]


@pytest.mark.parametrize("picture", ["flat", "black", "noise", "steps"])
@pytest.mark.parametrize("name", CLASSICAL)
def test_any_box_of_any_image(name: str, picture: str) -> None:
    for shape, box in BOXES:
        image = np.full(shape, 0 if picture == "black" else 40, np.uint8)
        if picture == "noise":
            image = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
        elif picture == "steps":
            image[::2] = 200
        found = segmented(name, image, box)
        assert found.shape == shape
        assert found.dtype == np.bool_
        if name in ("otsu", "saliency-fine") and picture in ("flat", "black"):
            assert not found.any()
        if name == "grabcut-fair" or (name == "grabcut" and (box.height, box.width) == shape):
            assert found.any()


@pytest.mark.parametrize("name", CLASSICAL)
def test_twice_the_same(name: str, phantoms: list[Case]) -> None:
    first = run_method(make_method(name), phantoms[:2])
    cv2.setRNGSeed(77)
    np.random.default_rng().normal()
    for case, mask in zip(phantoms, first, strict=False):
        np.testing.assert_array_equal(segmented(name, case.image, case.box), mask)


def test_otsu_against_its_definition() -> None:
    picture = np.random.default_rng(5).integers(10, 90, (23, 31)).astype(np.uint8)
    picture[5:12, 3:20] += 100

    def spread(threshold: int) -> float:  # within the classes
        parts = picture[picture <= threshold], picture[picture > threshold]
        return sum(part.size * part.var() for part in parts if part.size)

    best = min(range(255), key=spread)
    np.testing.assert_array_equal(above_otsu(picture), picture > best)
    assert not above_otsu(np.full((4, 7), 9, np.uint8)).any()


def test_otsu_keeps_one_dark_piece_without_holes() -> None:
    image = np.full((40, 70), 150, np.uint8)
    image[10:20, 10:30] = 30
    image[13:15, 15:18] = 150  # a hole
    image[25:28, 50:55] = 30  # a smaller piece
    expected = np.zeros(image.shape, bool)
    expected[10:20, 10:30] = True
    np.testing.assert_array_equal(otsu(image, Box(5, 5, 35, 65)), expected)
    np.testing.assert_array_equal(
        otsu(image, Box(12, 12, 35, 65)), expected & (np.arange(70) >= 12) & (np.arange(40) >= 12)[:, None]
    )


def test_smoothing_follows_the_box() -> None:
    image = np.random.default_rng(2).integers(0, 256, (50, 80)).astype(np.uint8)
    box = Box(5, 8, 35, 38)
    assert smoothed(image, box, 0.0) is image
    own = scipy.ndimage.gaussian_filter(image.astype(float), 0.1 * 30, mode="mirror")
    assert np.abs(smoothed(image, box, 0.1)[10:-10, 10:-10] - own[10:-10, 10:-10]).max() < 1.5


def test_the_rectangle_alone_loses_a_nodule_that_has_twins() -> None:
    case = lesion(noise=25)
    image = case.image.copy()
    shadow = np.random.default_rng(1).normal(40, 25, (32, SHAPE[1]))  # as dark as the nodule, and larger
    image[88:] = np.clip(shadow, 0, 255)
    assert dice(grabcut(image, case.box), case.mask) < 0.1
    assert dice(segmented("grabcut-fair", image, case.box), case.mask) > 0.95


def test_saliency_needs_contrib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "saliency")
    with pytest.raises(MissingDependencyError, match=r"no cv2\.saliency.*pip install --force-reinstall"):
        spectral_residual(np.zeros((9, 9), np.uint8), Box(1, 1, 5, 5))


def test_neighbours() -> None:
    labels = np.array([[0, 0, 1], [2, 2, 1], [3, 3, 3]])
    expected = [{0, 1, 2}, {0, 1, 2, 3}, {0, 1, 2, 3}, {1, 2, 3}]
    for one, row in enumerate(neighbours(labels, 4)):
        assert set(np.flatnonzero(row)) | {one} == expected[one]


def test_a_region_grows_over_what_looks_like_it() -> None:
    levels = [50, 60, 75, 95, 52]  # a row of superpixels, and the last beyond one that is too far
    rng, theta = np.random.default_rng(8), 18.0
    pixels = [rng.integers(level - 4, level + 5, 30) for level in levels]
    histograms = np.stack([np.bincount(own, minlength=256).cumsum() for own in pixels])
    labels = np.arange(5)[None]
    expected, waiting = {0}, deque([1])
    while waiting:  # in a row there is one neighbour at a time
        one = waiting.popleft()
        region = np.concatenate([pixels[own] for own in expected])
        if scipy.stats.wasserstein_distance(region, pixels[one]) < theta:
            expected.add(one)
            waiting.extend([one + 1] if one + 1 < 5 else [])
    assert expected == {0, 1}
    assert set(np.flatnonzero(grow(histograms, neighbours(labels, 5), 0, theta))) == expected
    assert grow(histograms, neighbours(labels, 5), 0, 0.0).sum() == 1
    assert grow(histograms, neighbours(labels, 5), 0, 255.0).all()


def test_the_oracle_is_an_upper_bound_for_evaluations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = lesion()
    found = report.evaluate([case], ["oracle", "sp-rg"], draws=10, progress=False)
    dices = {row.method: row.dice.mean for row in found.summaries}
    assert 1 > dices["oracle"] > max(dices["sp-rg"], dices["ellipse"])
    coarse = run_method(Oracle(cell_area=375), [case])[0]
    assert 0.8 < dice(coarse, case.mask) < dices["oracle"]
    with pytest.raises(MaskError, match="case 'lesion' has no mask, which the method 'oracle' reads"):
        Oracle()([Case(case.image, case.box, id="lesion")])
    out = tmp_path / "out"
    cv2.imwrite(str(tmp_path / "scan.png"), case.image)
    words = [str(tmp_path / "scan.png"), "--box", "53", "24", "142", "79", "-o", str(out)]
    assert main(["segment", *words, "--method", "oracle"]) == 2
    assert "method 'oracle' reads the true masks" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("name", CLASSICAL)
def test_flip_segment(name: str, tmp_path: Path) -> None:
    case, out = lesion(), tmp_path / "out"
    cv2.imwrite(str(tmp_path / "scan.png"), case.image)
    corners = [str(value) for value in (case.box.left, case.box.top, case.box.right, case.box.bottom)]
    assert main(["segment", str(tmp_path / "scan.png"), "--box", *corners, "-o", str(out), "--method", name]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["quality.csv", "scan_mask.png", "scan_overlay.png"]
    written = np.asarray(Image.open(out / "scan_mask.png")) > 0
    np.testing.assert_array_equal(written, segmented(name, case.image, case.box))


def test_documented_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    class Predictor:
        """Stands in for a network: what is darker than the middle grey level, inside the corners."""

        def set_image(self, image: np.ndarray) -> None:
            assert image.shape[2] == 3
            self.image = image[:, :, 0]

        def predict(self, box: np.ndarray, multimask_output: bool) -> tuple[np.ndarray, None, None]:
            left, top, right, bottom = box
            mask = np.zeros((1, *self.image.shape))
            mask[0, top:bottom, left:right] = self.image[top:bottom, left:right] < 80
            return mask, None, None

    text = (Path(__file__).parents[2] / "docs" / "baselines.md").read_text()
    case = lesion()
    known = {"image": case.image, "box": case.box, "case": case, "predictor": Predictor()}
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        exec(block, known)
    assert dice(known["mask"], case.mask) > 0.9
    assert dice(known["same_kind"], case.mask) > 0.9
    assert dice(known["sam"](case.image, case.box), case.mask) > 0.9
    assert "\n| sam | 0." in capsys.readouterr().out
    for line in "".join(re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL)).splitlines():
        cli.make_parser().parse_args(shlex.split(line)[1:])


def test_every_method_is_documented() -> None:
    text = "".join(path.read_text() for path in (Path(__file__).parents[2] / "docs").glob("*.md"))
    assert [name for name in (*RULES, *MAKERS) if f"`{name}`" not in text] == []
