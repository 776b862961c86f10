"""`flip calibrate`: from cases with masks to quality.json, and from there to `flip segment` and `flip evaluate`."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="the pipeline is torch's")
pytest.importorskip("monai", reason="the networks are MONAI's")
pytest.importorskip("scipy", reason="the fit is SciPy's")
from flipagents.cli import main
from flipagents.compare.methods import make_method, run_answers, run_method, run_rated
from flipagents.compare.ours import Found
from flipagents.formats.quality_csv import read_quality
from flipagents.segment.answer import Answer
from flipagents.segment.calibration import QUALITY, read_calibrations
from flipagents.segment.segmenter import Segmenter
from flipenv.errors import MaskError
from flipenv.types import Case
from tests.maps.test_network import tiny_students
from tests.segment.test_segmenter import tiny_pipeline

CASES = "phantom:14?height=96&width=136"


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained networks, and what their maps are worth."""
    folder = tmp_path_factory.mktemp("calibrated") / "weights"
    tiny_students(tiny_pipeline(folder, prior="polar"))
    shutil.copytree(folder / "student", folder / "contour")
    words = ["calibrate", "--data", CASES, "--weights", str(folder), "--method", "contour", "flip+student", "-q"]
    assert main(words) == 0
    assert main([*words[:5], "--method", "flip", "-q"]) == 0
    return folder


def test_what_is_written(calibrated: Path) -> None:
    found = read_calibrations(calibrated / QUALITY)
    assert set(found) == {"contour", "flip", "flip+student"}
    about = found["contour"].about
    assert (about["source"], about["n"]) == (CASES, 14)
    assert "masks of these cases were read" in about["masks"]
    assert set(about["check"]) >= {"spearman", "error", "coverage"}
    assert "agreement_network" in found["contour"].features
    assert "agreement_prior" in found["flip"].features


@pytest.mark.parametrize("name", ["contour", "flip", "flip+student"])
def test_answers_have_the_same_masks(calibrated: Path, phantoms: list[Case], name: str) -> None:
    method = make_method(name, calibrated)
    masks, answers, rated = (run(method, phantoms) for run in (run_method, run_answers, run_rated))
    for case, mask, answer, own in zip(phantoms, masks, answers, rated, strict=True):
        np.testing.assert_array_equal(mask, answer.mask)
        np.testing.assert_array_equal(mask, own.mask)
        assert answer.map.dtype == np.float32
        assert 0 <= answer.map.min() <= answer.map.max() <= 1
        assert answer.box == case.box
        assert own.quality.calibrated == mask.any()
    moved = Found(method, 5, calibrated)
    cases = moved.find(phantoms)
    for case, answer, own in zip(cases, run_answers(moved, phantoms), run_rated(moved, phantoms), strict=True):
        assert answer.box == case.box
        assert not own.quality.calibrated, "a calibration holds for tight boxes"


def test_methods_without_maps(phantoms: list[Case]) -> None:
    rated = run_rated(make_method("polar"), phantoms)
    assert [own.quality for own in rated] == [None] * 6
    assert run_answers(make_method("polar"), phantoms)[0].map is None


def test_answers_are_counted(phantoms: list[Case]) -> None:
    whole = make_method("ellipse")

    class Miscounting:
        def __init__(self, count: int) -> None:
            self.count = count

        def __call__(self, cases: list[Case]) -> list[np.ndarray]:
            return whole(cases)

        def answers(self, cases: list[Case]) -> list[Answer]:
            return [*run_answers(whole, cases), *run_answers(whole, cases)][: self.count]

    assert len(run_answers(Miscounting(6), phantoms)) == 6
    for count in (4, 7):
        with pytest.raises(MaskError, match=f"{count} masks for 6 cases"):
            run_answers(Miscounting(count), phantoms)


def test_segmenter(calibrated: Path, phantoms: list[Case]) -> None:
    segmenter = Segmenter.from_pretrained(calibrated)
    segmenter.set_image(phantoms[0].image)
    mask, quality = segmenter.predict_with_quality(phantoms[0].box)
    np.testing.assert_array_equal(mask, segmenter.predict(phantoms[0].box))
    (own,) = run_rated(make_method("flip", calibrated), phantoms[:1])
    assert quality == own.quality
    assert quality.calibrated


def test_segment(calibrated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["segment", "phantom:3?height=96&width=136", "-o", str(out), "--weights", str(calibrated), "--only-masks"]
    words += ["--method", "contour"]
    assert main([*words, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    rows = read_quality(out / "quality.csv")
    assert [row.image for row in rows] == [line["id"] for line in lines]
    for row, line in zip(rows, lines, strict=True):
        told = (line["quality"], line["quality_low"], line["quality_high"], line["calibrated"], tuple(line["reasons"]))
        assert told == (row.quality, row.low, row.high, row.calibrated, row.reasons)
        assert row.area_px == line["area_px"] == np.count_nonzero(np.asarray(Image.open(out / row.mask)))
        assert (row.box.left, row.box.top, row.box.right, row.box.bottom) == tuple(line["box"])
    (out / "quality.csv").unlink()
    assert main([*words, "--json", "--shard", "2/3"]) == 0
    (again,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert again.pop("there_already")
    assert again.items() <= lines[1].items()
    assert read_quality(out / "quality.csv") == rows, "of all masks, not of this shard"
    own = tmp_path / "own.json"
    own.write_bytes((calibrated / QUALITY).read_bytes())
    assert main([*words, "--quality", str(own), "--check-boxes"]) == 0
    assert "3 of them again (other weights)" in capsys.readouterr().out
    (out / "quality.csv").write_text("mine,yours\n")
    assert main(words) == 2
    assert "is another table" in capsys.readouterr().err
    assert main([*words, "--overwrite", "--margin", "4", "--quality", str(own)]) == 2
    assert "holds for tight boxes" in capsys.readouterr().err


def test_evaluate(calibrated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "out"
    words = ["evaluate", "--data", "phantom:4?height=96&width=136&first=50", "--methods", "contour"]
    words += ["--weights", str(calibrated), "-o", str(out), "-q"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "| contour | 4 |" in told.split("predicted against true Dice")[1]
    with (out / "cases.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == "contour"]
    assert all(float(row["low"]) <= float(row["quality"]) <= float(row["high"]) for row in rows)
    before = (out / "cases.csv").read_text()
    assert main([*words]) == 0
    assert (out / "cases.csv").read_text() == before, "finished evaluations bring their qualities"
    assert {"reliability-contour.png", "risk-coverage-contour.png"} <= {path.name for path in out.iterdir()}
    assert json.loads((out / "report.json").read_text())["qualities"]["contour"]["n"] == 4


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--data", "phantom:11?height=96&width=136"], "has 11 usable cases; a calibration needs at least 12"),
        (["--data", CASES, "--method", "polar"], "gives no map"),
        (["--data", CASES, "--method", "flip:/here"], "belongs to a folder of weights"),
    ],
)
def test_refused(calibrated: Path, words: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = (calibrated / QUALITY).read_bytes()
    assert main(["calibrate", "--weights", str(calibrated), "-q", *words]) == 2
    assert reason in capsys.readouterr().err
    assert (calibrated / QUALITY).read_bytes() == before
