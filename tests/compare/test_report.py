"""Reports of several methods: their rows, their files, and runs that were killed."""

from __future__ import annotations

import dataclasses
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flipagents import metrics
from flipagents.compare import report
from flipagents.compare.evaluation import Candidate
from flipagents.compare.methods import METHODS, Method, box_method
from flipagents.compare.scoring import from_csv, score
from flipagents.compare.summaries import SIZES
from flipagents.maps.geometry import ellipse, filled_box
from flipagents.store.checkpoint import CheckpointError
from flipagents.store.files import OutputError
from flipenv.errors import ConfigError, MissingDependencyError, SourceError
from flipenv.types import Case


def classed(cases: list[Case]) -> list[Case]:
    return [
        dataclasses.replace(case, meta={"class": "malignant" if i % 3 == 0 else "benign"})
        for i, case in enumerate(cases)
    ]


@pytest.fixture
def nothing() -> None:
    """A method 'nothing' that finds nothing on images of more than 100 rows."""
    box_method("nothing")(lambda image, box: filled_box(box, image.shape) & (image.shape[0] < 100))


def test_rows_in_order(phantoms: list[Case]) -> None:
    found = report.evaluate(classed(phantoms), ["polar", "box"], draws=50, progress=False)
    assert [score.method for score in found.scores] == ["box"] * 6 + ["ellipse"] * 6 + ["polar"] * 6
    for case, row in zip(classed(phantoms), found.scores[6:12], strict=True):
        assert dataclasses.replace(row, ms=0) == score("ellipse", 0, case, ellipse(case.box, case.image.shape), 0)
        assert row.ms > 0


def test_summaries(phantoms: list[Case], nothing: None) -> None:
    found = report.evaluate(classed(phantoms), ["nothing"], draws=200, progress=False)
    groups = ["all", "benign", "malignant", *SIZES]
    assert [(row.group, row.method) for row in found.summaries] == [
        (group, method) for group in groups for method in ("box", "ellipse", "nothing")
    ]
    dices = {
        name: [score.dice for score in found.scores if score.method == name] for name in ("box", "ellipse", "nothing")
    }
    row = found.row("box")
    assert row is not None
    assert row.dice.interval == metrics.bootstrap(dices["box"], draws=200)
    assert row.differences == {"ellipse": metrics.paired_difference(dices["box"], dices["ellipse"], draws=200)}
    blank = found.row("nothing")
    assert blank is not None
    assert blank.empty == pytest.approx(4 / 6)
    assert found.row("nobody") is None
    assert found.row("box", "malignant").n == 2  # type: ignore[union-attr]


def test_the_rows_of_the_box_are_always_there() -> None:
    found = report.evaluate("phantom:2?height=80&width=112", [], draws=10, progress=False)
    assert [row.method for row in found.summaries if row.group == "all"] == ["box", "ellipse"]


def test_files(phantoms: list[Case], nothing: None, tmp_path: Path) -> None:
    found = report.evaluate(classed(phantoms), ["nothing"], draws=20, progress=False)
    paths = found.write(tmp_path / "new" / "folder")
    names = ["cases.csv", "report.json", "table.md", "table.tex"]
    assert sorted(path.name for path in paths[0].parent.iterdir()) == names
    assert repr(from_csv(paths[0].read_text())) == repr(found.scores)
    text = paths[1].read_text()
    assert text == found.markdown()
    assert "benign (4 cases)" in text
    assert r"\toprule" in paths[2].read_text()
    told = json.loads(paths[3].read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert told["about"]["versions"]["numpy"] == np.__version__
    assert {"command", "commit", "machine", "time"} <= set(told["about"])
    assert told["summaries"][0]["measures"]["dice"]["mean"] == found.summaries[0].dice.mean
    assert told["summaries"][0]["differences"]["ellipse"]["low"] == found.summaries[0].differences["ellipse"].low
    assert told["summaries"][2]["measures"]["conformity"]["mean"] is None
    assert told["box_areas_px2"] == list(found.bounds or ())


def test_one_case_has_no_deviation(phantoms: list[Case], tmp_path: Path) -> None:
    found = report.evaluate(phantoms[:1], [], draws=10, progress=False)
    assert "± nan" in found.markdown()
    found.write(tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["summaries"][0]["measures"]["dice"]["std"] is None


def test_what_cannot_be_evaluated(phantoms: list[Case], calls: list[str], tmp_path: Path) -> None:
    blind = [dataclasses.replace(case, mask=None) for case in phantoms]
    with pytest.raises(SourceError, match="none of 6 cases can be evaluated; .* has no mask"):
        report.evaluate(blind, [], progress=False)
    with pytest.raises(ConfigError, match="unknown method 'pola': did you mean 'polar'"):
        report.evaluate(phantoms, ["counted", "pola"], progress=False)
    with pytest.raises((CheckpointError, MissingDependencyError), match="nowhere" if find_spec("torch") else "torch"):
        report.evaluate(phantoms, ["counted", Candidate("unet", weights=tmp_path / "nowhere")], progress=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write into .*file.out \(Not a directory\); choose another folder"):
        report.evaluate(phantoms, ["counted"], folder=tmp_path / "file" / "out", progress=False)
    assert calls == [], "all this is known before anything is computed"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shift": (10, 5)}, "the smaller first"),
        ({"shift": (-1, 5)}, "shift=-1"),
        ({"shift": (0, float("nan"))}, "shift=nan"),
        ({"shift": (1,)}, "two distances"),
        ({"seeds": ()}, "seeds is empty"),
        ({"seeds": (-1,)}, "seed=-1"),
        ({"margin": -5}, "margin=-5"),
        ({"draws": 0}, "draws=0"),
        ({"jobs": 0}, "jobs=0"),
        ({"device": "cudua"}, "did you mean 'cuda'"),
    ],
)
def test_values_that_make_no_sense(phantoms: list[Case], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        report.evaluate(phantoms, [], progress=False, **options)


def test_bad_cases_are_listed_and_the_others_done(phantoms: list[Case], picky: list[str], tmp_path: Path) -> None:
    """Without the case that cannot be read the numbers are those of a source that never had it."""
    cases = [*phantoms[:2], dataclasses.replace(phantoms[2], mask=None), *phantoms[3:]]
    picky.append(phantoms[4].id)
    found = report.evaluate(cases, ["picky"], draws=50, progress=False)
    without = report.evaluate([*phantoms[:2], *phantoms[3:]], ["box"], draws=50, progress=False)
    assert [(each.method, each.case) for each in found.failures] == [("", phantoms[2].id), ("picky", phantoms[4].id)]
    for name in ("box", "ellipse"):
        ours, theirs = found.row(name), without.row(name)
        assert ours.measures["dice"] == theirs.measures["dice"]
        assert (ours.n, ours.failed) == (5, 0)
        assert ours.differences == theirs.differences
    row = found.row("picky")
    assert (row.n, row.failed) == (4, 1)
    kept = {score.case: score.dice for score in found.scores if score.method == "picky"}
    assert list(kept) == [phantoms[index].id for index in (0, 1, 3, 5)]
    assert row.differences == {"ellipse": metrics.Interval(0, 0, 0)}, "on the cases that both have"
    text = found.markdown()
    assert "all (5 cases)" in text
    assert f"In no row, 1 case:\n\n- {phantoms[2].id}: has no mask" in text
    assert (
        f"Excluded from the row of picky and from differences with it, 1 case:\n\n- {phantoms[4].id}: not this" in text
    )
    assert "/home/me" not in text
    found.write(tmp_path)
    told = json.loads((tmp_path / "report.json").read_text())
    assert [(each["case"], each["method"]) for each in told["failed"]] == [
        (phantoms[2].id, ""),
        (phantoms[4].id, "picky"),
    ]
    assert "/home/me" not in json.dumps(told["failed"])
    assert [each["failed"] for each in told["summaries"][:3]] == [0, 0, 1]
    assert f"% {phantoms[2].id}: has no mask" in (tmp_path / "table.tex").read_text()


def test_a_method_that_fails_everywhere_is_listed_as_not_run(phantoms: list[Case], picky: list[str]) -> None:
    picky += [case.id for case in phantoms]
    found = report.evaluate(phantoms, ["picky", "otsu"], draws=20, progress=False)
    assert {row.method for row in found.summaries} == {"box", "ellipse", "otsu"}
    assert found.missing["picky"].startswith(f"it failed on every case, for example {phantoms[0].id}: not this one")
    assert len(found.failures) == 6


def test_a_group_of_which_a_method_has_no_case(phantoms: list[Case], picky: list[str]) -> None:
    cases = classed(phantoms)
    picky += [case.id for case in cases if case.meta["class"] == "malignant"]
    found = report.evaluate(cases, ["picky"], draws=20, progress=False)
    row = found.row("picky", "malignant")
    assert (row.n, row.failed, row.differences) == (0, 2, {})
    line = next(
        line for line in found.markdown().partition("malignant (2 cases)")[2].splitlines() if line.startswith("| picky")
    )
    assert line.split(" | ")[1:-2] == ["—"] * (len(line.split(" | ")) - 3)
    assert line.endswith(" 0 | 2 |")
    assert "nan" not in line


def test_the_same_cases_in_all_rows_with_several_seeds(phantoms: list[Case], picky: list[str]) -> None:
    cases = [*phantoms[:2], dataclasses.replace(phantoms[2], mask=None), *phantoms[3:]]
    picky.append(phantoms[4].id)
    found = report.evaluate(cases, ["picky"], shift=(2, 4), seeds=(0, 1), draws=20, progress=False)
    assert [(row.method, row.n, row.failed, row.seeds) for row in found.summaries[:3]] == [
        ("box", 5, 0, 2),
        ("ellipse", 5, 0, 2),
        ("picky", 4, 1, 2),
    ]
    assert len(found.failures) == 2, "each case once"


def test_bad_cases_and_a_run_that_goes_on(phantoms: list[Case], calls: list[str], tmp_path: Path) -> None:
    cases = [*phantoms[:5], dataclasses.replace(phantoms[5], mask=None)]
    options = {"folder": tmp_path, "draws": 20, "progress": False}
    one, two = (report.evaluate(cases, ["counted"], **options) for _ in range(2))
    assert len(calls) == 5, "what is done is not done again"
    assert one.failures == two.failures
    assert repr(one.summaries) == repr(two.summaries)
    report.evaluate(phantoms, ["counted"], **options)
    assert len(calls) == 11, "it has a mask by now"


def test_a_log_gets_a_line_a_method(phantoms: list[Case], capsys: pytest.CaptureFixture[str]) -> None:
    report.evaluate(phantoms, ["otsu"], draws=20)
    lines = capsys.readouterr().err.split("\n")[:-1]
    assert lines[0] == "evaluating: 0/18, starting"
    assert [line.partition(",")[0] for line in lines[1:4]] == ["box", "ellipse", "otsu"]
    assert "Dice 0." in lines[1]
    assert lines[-1].startswith("evaluating: 18/18, done in")
    assert all(lines)
    report.evaluate(phantoms, ["otsu"], draws=20, progress=False)
    assert capsys.readouterr().err == ""


def test_moved_boxes_and_seeds(phantoms: list[Case]) -> None:
    found = report.evaluate(phantoms, ["polar"], shift=(8, 12), seeds=(0, 3), draws=20, progress=False)
    assert [(row.method, row.n, row.seeds) for row in found.summaries[:3]] == [
        (name, 6, 2) for name in ("box", "ellipse", "polar")
    ]
    alone = report.evaluate(phantoms, [], shift=(8, 12), seeds=(3,), draws=20, progress=False)
    assert [row.dice for row in alone.scores[:6]] == [row.dice for row in found.scores[6:12]]
    assert (found.about["shift"], found.about["seeds"]) == ([8, 12], [0, 3])
    tight = report.evaluate(phantoms, [Candidate("box", "w", "{seed}")], seeds=(0, 3), draws=20, progress=False)
    assert [row.seeds for row in tight.summaries[:3]] == [1, 1, 2], "only weights differ"


@pytest.fixture
def calls() -> list[str]:
    """Ids that the method 'counted' was asked for; it finds the ellipse."""
    asked: list[str] = []

    @METHODS.register("counted")
    def make(weights: Path | None, device: str) -> Method:
        def counted(cases: list[Case]) -> list[np.ndarray]:
            asked.extend(case.id for case in cases)
            return [ellipse(case.box, case.image.shape) for case in cases]

        return counted

    return asked


def test_a_killed_run_goes_on(phantoms: list[Case], calls: list[str], tmp_path: Path) -> None:
    @METHODS.register("killed")
    def killed(weights: Path | None, device: str) -> Method:
        def run(cases: list[Case]) -> list[np.ndarray]:
            raise KeyboardInterrupt

        return run

    lines: list[str] = []
    options = {"folder": tmp_path, "draws": 20, "progress": False, "tell": lines.append}
    with pytest.raises(KeyboardInterrupt):
        report.evaluate(phantoms, ["counted", "killed"], **options)
    assert len(calls) == 6
    files = sorted((tmp_path / "evaluations").glob("counted-*"))
    assert [file.suffix for file in files] == [".csv", ".json"]
    assert json.loads(files[1].read_text())["versions"]["numpy"] == np.__version__
    found = report.evaluate(phantoms, ["counted", "polar"], **options)
    assert len(calls) == 6, "what is done is not done again"
    assert "counted, seed 0: Dice" in lines[-2]
    assert lines[-2].endswith("already done")
    assert repr(found.scores) == repr(report.evaluate(phantoms, ["counted", "polar"], **options).scores)
    report.evaluate(phantoms[:5], ["counted"], **options)
    assert len(calls) == 11, "other cases"
    report.evaluate(phantoms, ["counted"], again=True, **options)
    assert len(calls) == 17


def test_what_is_not_there_is_listed(phantoms: list[Case], tmp_path: Path) -> None:
    rows = ["polar", "nobody", Candidate("flip", "ours", tmp_path / "nowhere")]
    found = report.evaluate(phantoms, rows, strict=False, draws=20, progress=False)
    assert list(found.missing) == ["nobody", "ours"]
    assert {row.method for row in found.summaries} == {"box", "ellipse", "polar"}
    assert "nobody: not run: unknown method 'nobody'" in found.markdown()
    with pytest.raises(ConfigError, match="two rows are named 'polar'"):
        report.evaluate(phantoms, ["polar", Candidate("box", "polar")], progress=False)


def test_side_by_side(phantoms: list[Case], calls: list[str], tmp_path: Path) -> None:
    """Processes get what is registered here, and give the same rows in the same order."""
    methods = ["counted", "polar", "nobody"]
    one = report.evaluate(phantoms, methods, strict=False, draws=20, progress=False)
    two = report.evaluate(phantoms, methods, strict=False, jobs=2, folder=tmp_path, draws=20, progress=False)
    without = [[dataclasses.replace(row, ms=0) for row in found.scores] for found in (one, two)]
    assert without[0] == without[1]
    assert list(two.missing) == ["nobody"]
    assert len(list((tmp_path / "evaluations").glob("*.csv"))) == 4


def test_found_boxes_have_rows_of_their_own(phantoms: list[Case], tmp_path: Path) -> None:
    pytest.importorskip("monai", reason="the network that looks is one of MONAI's")
    from tests.maps.test_network import tiny_students

    tiny_students(tmp_path)
    found = report.evaluate(phantoms, ["ellipse", "polar"], margin=10, weights=tmp_path, draws=20, progress=False)
    names = [row.method for row in found.summaries if row.group == "all"]
    assert names == ["box", "ellipse", "found ellipse", "found polar"]
