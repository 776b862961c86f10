"""The scripts of the tables on phantoms: their files, rows and what they say of what did not run."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import flipenv
from flipenv.config import COARSE, FINE


def some(out: Path, *words: str) -> list[str]:
    return ["--quick", "--out", str(out), *words]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def own_method(scripts: Path, folder: Path) -> Path:
    """The file that benchmarks/README.md shows."""
    (block,) = re.findall(r"```python\n(# mine\.py\n.*?)```", (scripts / "README.md").read_text(), re.DOTALL)
    assert block.count("\n") <= 20
    (folder / "mine.py").write_text(block)
    return folder / "mine.py"


def test_table1_with_a_method_of_ones_own(scripts: Path, tmp_path: Path) -> None:
    import table1
    from paper import TABLE_1

    from flipagents.compare.methods import METHODS

    mine = own_method(scripts, tmp_path)
    words = some(tmp_path / "out", "--methods", "box", "polar", "nobody", "--methods-from", str(mine))
    with METHODS.temporarily():
        report = table1.main(words)
    files = ["cases.csv", "dice.png", "evaluations", "paper.tex", "report.json", "table.md", "table.tex"]
    assert names(tmp_path / "out") == files
    assert set(report.missing) == {"nobody", "flip-paper"}
    own, ellipse = report.row("mine"), report.row("ellipse")
    assert own is not None
    assert ellipse is not None
    assert own.dice.mean > ellipse.dice.mean - 0.1, "it is a method that works"
    text = (tmp_path / "out" / "table.md").read_text()
    assert "| mine | " in text
    assert "| flip-paper | not run | " in text
    assert TABLE_1["Ours"][0] in text
    assert str(tmp_path) not in text
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "evaluations").iterdir()}
    assert "mine" not in METHODS, "as in a new process"
    again = table1.main(words)
    assert again.scores == report.scores
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "evaluations").iterdir()}
    assert after == before, "what is done is not done again"


def test_every_row_of_the_papers_table_1_has_one_of_ours() -> None:
    import table1
    from paper import TABLE_1

    assert set(table1.PRINTED.values()) == set(TABLE_1)
    assert set(table1.PRINTED) - {"flip-paper"} <= set(table1.METHODS)


def test_guided(tmp_path: Path) -> None:
    import guided

    reports = guided.main(some(tmp_path, "--methods", "polar", "guided"))
    assert list(reports) == ["tight", "128x128"]
    text = (tmp_path / "table.md").read_text()
    polar, own = (
        next(line for line in text.splitlines() if line.startswith(f"| {name} ")) for name in ("polar", "guided")
    )
    row, other = (reports["tight"].row(name) for name in ("guided", "polar"))
    assert row is not None
    assert other is not None
    assert f"{row.dice.mean:.4f}" in own
    assert f"{row.dice.mean - other.dice.mean:+.4f} [" in polar
    assert own.split("|")[-2].strip() == "", "not compared with itself"
    assert {case.image.shape for case in guided.small_copies(flipenv.open_source("phantom:2?height=80&width=112"))} == {
        (128, 128)
    }


def test_table3(tmp_path: Path) -> None:
    import table3

    reports = table3.main(some(tmp_path, "--methods", "polar", "--seeds", "0", "1", "--shifts", "0-10"))
    assert list(reports) == ["tight", "0-10"]
    moved = reports["0-10"].row("polar")
    assert moved is not None
    assert moved.seeds == 2
    assert set(reports["0-10"].missing) <= {"found polar"}, "the locator may not ship"
    assert {"paper.tex", "shift-0-10", "shifts.png", "table.md", "table.tex", "tight"} == set(names(tmp_path))
    text = (tmp_path / "table.md").read_text()
    assert "| polar | " in text
    assert "89.22 ± 4.12" in text


def test_rows_of_table2(tmp_path: Path) -> None:
    import table2
    from paper import TABLE_2

    for rewards in ("paper", "boxes", "ours"):
        options = table2.argparse.Namespace(rewards=rewards, quick=False, epochs=3, steps=70, device="cpu")
        rows = table2.rows_of(options)
        assert [row.label for row in rows[: len(TABLE_2)]] == [
            *("× × ×, F", "× × ×, C", "√ × ×, F", "√ × ×, C", "√ √ ×, F", "√ √ ×, C", "√ × √", "√ √ √")
        ]
        for row, (marl, idr, stages) in zip(rows, table2.PAPER_ROWS, strict=False):
            envs = list(row.stages.values())
            assert [env.n_agents for env in envs] == [1 + marl] * len(stages)
            assert [env.cell_area for env in envs] == [{"coarse": COARSE, "fine": FINE}[each] for each in stages]
            assert [env.coarse_channels for env in envs] == [False, True][: len(stages)]
            assert all((env.idr_weight > 0 and env.idr != "none") == idr for env in envs)
            assert (row.learner.epochs, row.learner.train_steps) == ((100, 70) if rewards == "boxes" else (3, None))
            assert {env.theta for env in envs} == {"auto" if rewards == "boxes" else 25.0}
    folders = {row.label: row.folder(tmp_path) for row in rows}
    assert folders["ours"] == folders["√ × √"] == folders["ours, student alone"]
    assert folders["ours without stage 1"] == folders["√ × ×, F"]
    assert len(set(folders.values())) == len(rows) - 3
    assert "prior" not in rows[9].stages["fine"].channels
    assert rows[10].stages["fine"].csr_weight == 0
    assert dict(table2.presets()["small"].env[1].to_dict()) == rows[8].stages["fine"].to_dict()


def test_table2_trains_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import table2

    words = some(tmp_path, "--rows", "2", "4")
    report = table2.main(words)
    assert {row.method for row in report.summaries} == {"box", "ellipse", "× × ×, C", "√ × ×, C"}
    text = (tmp_path / "table.md").read_text()
    assert "77.33 ± 10.22" in text
    assert "Two agents against one, coarse superpixels:" in text
    rows = list((tmp_path / "runs").rglob("row.json"))
    assert len(rows) == 2
    costs = [json.loads(path.read_text())["costs"]["coarse"] for path in rows]
    assert all(cost["episodes"] >= 6 and cost["steps"] > 0 for cost in costs)
    assert not list((tmp_path / "runs").rglob("checkpoint"))
    before = [path.stat().st_mtime_ns for path in rows]
    again = table2.main(words)
    assert again.scores == report.scores
    assert [path.stat().st_mtime_ns for path in rows] == before


def test_variants_of_rewards() -> None:
    import table_rewards

    variants = table_rewards.variants()
    assert len({each.name for each in variants}) == len(variants) == 45
    base = flipenv.EnvConfig(beta=None)
    first = variants[0].env(base)
    assert (first.csr, first.idr_weight, first.csr_weight, first.prior_weight) == ("sign", 0, 1, 0)
    literal = next(each for each in variants if each.idr == "cumulative" and each.theta == 25).env(base)
    assert (literal.idr, literal.theta, literal.idr_weight) == ("cumulative", 25, 1)
    ours = next(each for each in variants if each.csr and each.prior == "contour").env(base)
    assert (ours.csr, ours.csr_weight, ours.prior_weight, ours.idr_weight) == ("logit", 0.5, 1, 0)
    last = variants[-1]
    assert last.name == "greedy, CSR logit + IDR superpixel θ 25, n_agents=4"
    assert (last.env(base).n_agents, last.env(base).idr_weight) == (4, 1)


def test_the_maximiser_of_a_prior_erases_what_it_calls_nodule(phantoms: list[flipenv.Case]) -> None:
    import table_rewards

    from flipagents.maps.geometry import ellipse
    from flipagents.metrics import dice

    base = flipenv.EnvConfig(canvas={"height": 64, "width": 64}, beta=None, traversals=1, cell_area=16.0)  # type: ignore[arg-type]
    variant = table_rewards.Variant("", prior="ellipse")
    method = table_rewards.Greedy(None, "cpu", variant=variant, base=base)
    method.scorer = flipenv.ContrastScorer()
    masks = method(phantoms[:3])
    found = [dice(mask, ellipse(case.box, case.image.shape)) for case, mask in zip(phantoms, masks, strict=False)]
    assert np.mean(found) > 0.9


def test_clicks(tmp_path: Path) -> None:
    import clicks

    found = clicks.main(some(tmp_path))
    assert names(tmp_path) == ["cases.csv", "dice.png", "table.md"]
    assert list(found) == list(clicks.WAYS)
    assert {course.dice.shape for course in found.values()} == {(4, clicks.MOST + 1)}
    first = [course.dice[:, 0].tolist() for course in found.values()]
    assert all(each == first[0] for each in first), "all ways start from the same masks"
    assert found["mend"].dice[:, 3].mean() > found["superpixel"].dice[:, 3].mean()
    text = (tmp_path / "table.md").read_text()
    assert text.count("| mend, off | ") == 2
    assert f"{100 * found['disc'].dice[:, 5].mean():.2f} ± " in text
    assert str(tmp_path) not in text


def test_the_person_of_clicks() -> None:
    import clicks

    truth = np.zeros((20, 31), np.bool_)
    truth[2:9, 3:14] = True
    truth[12:15, 20:23] = True
    mask = np.zeros_like(truth)
    row, column = clicks.middle(mask, truth) or (0, 0)
    assert row == 5, "the larger part, in the middle of its shorter side"
    assert 6 <= column <= 10
    assert clicks.middle(truth, truth) is None
    person, places = clicks.off_middle([0, 1]), set()
    for _ in range(40):
        place = person(mask, truth)
        assert place is not None
        places.add(place)
        assert 3 <= place[0] <= 7
        assert 4 <= place[1] <= 12
    assert len(places) > 10


def test_what_a_click_does_in_each_way(phantoms: list[flipenv.Case]) -> None:
    import clicks

    from flipagents.maps.geometry import ellipse

    case = phantoms[1]
    start = ellipse(case.box, case.image.shape)
    row, column = case.box.top + 1, case.box.left + 1
    for name, way in clicks.WAYS.items():
        mask = way.tool(case, start)(row, column, True)
        assert mask[row, column], name
        assert not start[row, column]
    radius = clicks.DISC * (case.box.height * case.box.width) ** 0.5
    painted = clicks.disc(case, np.zeros_like(start))(row, column, True).sum()
    assert painted == pytest.approx(np.pi * radius**2, rel=0.35)


def test_clicks_to_the_goal() -> None:
    import clicks

    dice = np.array([[0.9, 0.96, 0.94], [0.96, 0.9, 0.9], [0.1, 0.2, 0.3]])
    assert clicks.Course(dice, 0.0).to_goal().tolist() == [1, 0, np.inf]


def test_figure5(tmp_path: Path) -> None:
    import figure5

    panels = figure5.main(some(tmp_path, "--cases", "phantom-0001"))
    assert [each.case.id for each in panels] == ["phantom-0001"]
    assert {"figure5.png", "curves.json"} <= set(names(tmp_path))
    assert [mask.shape for mask in panels[0].masks] == [panels[0].case.image.shape] * 2
    (saved,) = json.loads((tmp_path / "curves.json").read_text())["cases"]
    for stage, scene in zip(saved["stages"], panels[0].scenes, strict=True):
        assert len(stage["erased"]) == len(stage["dice"]) == len(stage["score"]) == len(scene.areas)


def test_typical_cases() -> None:
    import figure5

    from flipagents.compare.report import Report
    from tests.compare.test_summaries import A, rows

    found = figure5.typical(Report(rows("flip", A) + rows("box", A[::-1]), [], None, {}, {}))
    assert found == {"best": "case 3", "median": "case 1", "worst": "case 6"}


def test_tune_baselines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tune_baselines

    words = ["--source", "phantom:2?height=96&width=128", "--methods", "otsu", "--out", str(tmp_path / "table.md")]
    monkeypatch.setattr(sys, "argv", ["tune_baselines", *words])
    tune_baselines.main()
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[0] == "phantom , n = 2, boxes tight"
    assert [line.split(" | ")[0] for line in lines[4:]] == [
        *("| box", "| ellipse"),
        *(f"| otsu: blur {value:g}" for value in tune_baselines.GRIDS["otsu"]["blur"]),
    ]


def test_follow(tmp_path: Path) -> None:
    import follow

    found = follow.main(["--quick", "--out", str(tmp_path)])
    assert names(tmp_path) == ["films.json", "follow.png", "table.md"]
    stay, fade = found["films"]
    assert stay["gone"] is None
    assert fade["gone"] is not None
    for row in (stay, fade):
        assert {len(row[name]) for name in follow.ROWS} == {8 if row is stay else fade["gone"]}
        assert row["follow"][row["start"]] == row["true"][row["start"]] == row["same"][row["start"]] > 0.9
    assert np.mean(stay["follow"]) > np.mean(stay["same"])
    assert {row["box"] for row in found["stills"]} >= {"10 px too large", "right"}
    assert "| true box | " in (tmp_path / "table.md").read_text()


def test_where_films_are_let_go() -> None:
    import follow

    row = {"start": 6, "gone": 14, "let_go": {"follow": [15], "alone": []}}
    assert follow._lateness(row, "follow") == 1
    assert follow._lateness(row, "alone") is None
    row["let_go"]["follow"] = [12, 2]
    assert follow._lateness(row, "follow") == -14, "on the way backwards it is wrong, wherever it happens"


def test_overlap_against_masks() -> None:
    import follow

    from flipagents.maps.geometry import filled_box

    one, two, apart = flipenv.Box(2, 3, 12, 20), flipenv.Box(6, 10, 18, 24), flipenv.Box(13, 21, 15, 30)
    a, b = (filled_box(box, (30, 40)) for box in (one, two))
    assert follow.overlap(one, two) == pytest.approx((a & b).sum() / (a | b).sum())
    assert follow.overlap(one, apart) == 0


def test_options(tmp_path: Path) -> None:
    from common import make_parser, read

    found = read(make_parser("text", "name"), ["--data", "busi:PATH", "--split", "val", "--seeds", "2", "5"])
    assert (found.data, found.seeds, found.draws) == ("busi:PATH?split=val", [2, 5], 10_000)
    assert read(make_parser("text", "name"), ["--data", "csv:a.csv?fold=1", "--split", "val"]).data.endswith(
        "?fold=1&split=val"
    )
    assert found.out.name == "name"
