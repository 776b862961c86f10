"""Numbers of a report against the metrics themselves, and files that other programs read."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from flipagents import metrics, report
from flipagents.baselines.geometry import ellipse, filled_box
from flipagents.methods import METHODS, box_method
from flipenv.config import EnvConfig
from flipenv.errors import ConfigError, SourceError
from flipenv.pool import EpisodePool
from flipenv.types import Case


def classed(cases: list[Case]) -> list[Case]:
    return [
        dataclasses.replace(case, meta={"class": "malignant" if i % 3 == 0 else "benign"})
        for i, case in enumerate(cases)
    ]


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A method 'nothing' that finds nothing on images of more than 100 rows."""
    monkeypatch.setattr(METHODS, "_parts", dict(METHODS._parts))
    box_method("nothing")(lambda image, box: filled_box(box, image.shape) & (image.shape[0] < 100))


def test_every_number_of_a_case(phantoms: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "CHUNK", 4)  # as of a larger source
    found = report.evaluate(classed(phantoms), ["polar"], draws=50, progress=False)
    assert [score.method for score in found.scores] == ["box"] * 6 + ["ellipse"] * 6 + ["polar"] * 6
    for case, score in zip(phantoms, found.scores[6:12], strict=True):
        mask = ellipse(case.box, case.image.shape)
        assert score.case == case.id
        assert score.dice == metrics.dice(mask, case.mask)
        assert score.jaccard == metrics.jaccard(mask, case.mask)
        assert score.conformity == metrics.conformity(mask, case.mask)
        assert score.hausdorff == metrics.hausdorff(mask, case.mask)
        assert score.asd == pytest.approx(metrics.average_surface_distance(mask, case.mask))
        assert score.ms > 0
        assert not score.empty


def test_cutting_changes_no_distance() -> None:
    noise = np.random.default_rng(0)
    for _ in range(30):
        pair = np.zeros((2, 23, 31), bool)
        for mask in pair:
            top, left = noise.integers(0, 18), noise.integers(0, 26)
            mask[top : top + noise.integers(1, 9), left : left + noise.integers(1, 12)] = True
        cut = report._cut(*pair)
        for measure in (metrics.hausdorff, metrics.average_surface_distance, metrics.dice):
            assert measure(*cut) == pytest.approx(measure(*pair), abs=1e-12)


def test_summaries(phantoms: list[Case], nothing: None) -> None:
    cases = classed(phantoms)
    found = report.evaluate(cases, ["nothing", "box"], draws=200, progress=False)
    rows = {(row.group, row.method): row for row in found.summaries}
    assert list(rows) == [(g, m) for g in ("all", "benign", "malignant") for m in ("box", "ellipse", "nothing")]
    dices = {
        name: np.array([score.dice for score in found.scores if score.method == name])
        for name in ("box", "ellipse", "nothing")
    }
    row = rows["all", "box"]
    assert row.n == 6
    assert row.dice == metrics.bootstrap(dices["box"], draws=200)
    assert row.dice_std == pytest.approx(dices["box"].std(ddof=1))
    assert row.dice_median == np.median(dices["box"])
    assert row.difference == metrics.paired_difference(dices["box"], dices["ellipse"], draws=200)
    assert rows["all", "ellipse"].difference == (0, 0, 0)
    assert rows["malignant", "box"].n == 2
    assert rows["malignant", "box"].dice.mean == pytest.approx(dices["box"][[0, 3]].mean())
    blank = rows["all", "nothing"]
    assert blank.empty == pytest.approx(4 / 6)
    assert blank.hausdorff == pytest.approx(
        np.mean([metrics.hausdorff(filled_box(case.box, case.image.shape), case.mask) for case in cases[:2]])
    )
    assert blank.conformity_median == -np.inf


def test_the_rows_of_the_box_are_always_there() -> None:
    found = report.evaluate("phantom:2?height=80&width=112", [], draws=10, progress=False)
    assert [row.method for row in found.summaries if row.group == "all"] == ["box", "ellipse"]


def test_files(phantoms: list[Case], nothing: None, tmp_path: Path) -> None:
    found = report.evaluate(classed(phantoms), ["nothing"], draws=20, progress=False)
    paths = found.write(tmp_path / "new" / "folder")
    assert sorted(path.name for path in paths[0].parent.iterdir()) == ["cases.csv", "report.json", "table.md"]
    with paths[0].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 18
    assert float(rows[0]["dice"]) == found.scores[0].dice
    assert rows[-1]["hausdorff"] == "nan"
    assert (rows[0]["group"], rows[-1]["empty"]) == ("malignant", "True")
    text = paths[1].read_text()
    assert text == found.markdown()
    tables = [
        [line for line in part.splitlines() if line.startswith("|")] for part in text.split("\n\n") if "|" in part
    ]
    assert [len(table) for table in tables] == [5, 5, 5]
    assert len({line.count("|") for table in tables for line in table}) == 1
    assert "benign (4 cases)" in text
    told = json.loads(paths[2].read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert told["about"]["versions"]["numpy"] == np.__version__
    assert {"command", "commit", "machine"} <= set(told["about"])
    assert told["summaries"][0]["dice"]["mean"] == found.summaries[0].dice.mean
    assert told["summaries"][2]["conformity_median"] is None


def test_one_case_has_no_deviation(phantoms: list[Case], tmp_path: Path) -> None:
    found = report.evaluate(phantoms[:1], [], draws=10, progress=False)
    assert "± nan" in found.markdown()
    found.write(tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["summaries"][0]["dice_std"] is None


def test_what_cannot_be_evaluated(phantoms: list[Case]) -> None:
    blind = [*phantoms[:2], dataclasses.replace(phantoms[2], mask=None)]
    with pytest.raises(SourceError, match=f"case '{phantoms[2].id}' has no mask"):
        report.evaluate(blind, [], progress=False)
    with pytest.raises(ConfigError, match="unknown method 'pola'"):
        report.evaluate(phantoms, ["pola"], progress=False)


def test_moved_boxes(phantoms: list[Case]) -> None:
    cases = classed(phantoms)
    found = report.evaluate(cases, ["polar"], shift=(8, 12), draws=20, progress=False)
    pool = EpisodePool(cases, EnvConfig(jitter=(8, 12)), cache=False)
    for index, score in enumerate(found.scores[6:12]):
        case = pool.case(index)
        assert case.box != cases[index].box
        assert score.dice == metrics.dice(ellipse(case.box, case.image.shape), case.mask)
    again = report.evaluate(cases, ["polar"], shift=(8, 12), draws=20, progress=False)
    assert [score.dice for score in again.scores] == [score.dice for score in found.scores]
    assert found.about["shift"] == [8, 12]


def test_found_boxes_have_rows_of_their_own(phantoms: list[Case], tmp_path: Path) -> None:
    pytest.importorskip("monai", reason="the network that looks is one of MONAI's")
    from tests.agents.test_student import tiny_students

    tiny_students(tmp_path)
    found = report.evaluate(phantoms, ["ellipse", "polar"], margin=10, weights=tmp_path, draws=20, progress=False)
    names = [row.method for row in found.summaries if row.group == "all"]
    assert names == ["box", "ellipse", "found ellipse", "found polar"]
