"""From a finished run to weights that ship: what is in them, what their card says, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import flipenv

torch = pytest.importorskip("torch", reason="the pipeline trains with torch")
pytest.importorskip("onnxscript", reason="the run has an ONNX copy")
from flipagents.cli import main  # noqa: E402
from flipagents.compare.methods import make_method, run_rated  # noqa: E402
from flipagents.maps.network import Student  # noqa: E402
from flipagents.segment.calibration import QUALITY, read_calibrations  # noqa: E402
from flipagents.segment.runtimes import COPY, fault_of_copy  # noqa: E402
from flipagents.segment.segmenter import Segmenter  # noqa: E402
from flipagents.store.checkpoint import CheckpointError  # noqa: E402
from flipagents.store.recipe import Recipe, networks, pipeline_digest  # noqa: E402
from flipagents.train import shipping  # noqa: E402
from flipagents.train.shipping import ship  # noqa: E402
from flipenv.errors import ConfigError  # noqa: E402

CASES = "phantom:5?first=700&height=96&width=136"


@pytest.fixture(scope="module")
def report(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the run, on cases that it was not trained on."""
    out = tmp_path_factory.mktemp("report")
    words = ["evaluate", "--data", CASES, "--methods", "flip", "--weights", str(trained), "-o", str(out), "--quiet"]
    assert main(words) == 0
    return out / "report.json"


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def left_behind(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.endswith(".part")]


def test_what_inference_needs_ships(
    trained: Path, report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "weights" / "mine"
    words = ["ship", str(trained), "-o", str(out), "--licence", "CC BY 4.0", "--data-note", "Drawn by a program."]
    assert main([*words, "--report", str(report)]) == 0
    before, after = files(trained), files(out)
    names = ("stage1/agent", "stage2/agent", "contour", "student", "locator", "classifier/classifier")
    expected = {"README.md", "pipeline.json", "onnx/pipeline.json"}
    expected |= {f"{name}/{file}" for name in names for file in ("about.json", "tensors.safetensors")}
    expected |= {f"onnx/{name}/{file}" for name in names for file in ("about.json", "network.onnx")}
    assert set(after) == expected
    assert all(after[name] == before[name] for name in expected - {"README.md"})
    assert {"stage2/checkpoint/tensors.safetensors", "classifier/last/about.json", "run.json"} <= set(before)
    size = sum(map(len, after.values()))
    assert size < sum(map(len, before.values())) / 3
    told = capsys.readouterr().out
    assert f"shipped: {out}, {size / 1e6:.1f} MB in {len(after)} files, with ONNX copy" in told
    assert fault_of_copy(out) is None
    assert pipeline_digest(out) == pipeline_digest(trained)
    source = flipenv.open_source(CASES)
    cases = [source.load(index) for index in range(len(source))]
    for runtime in ("torch", "onnx"):
        masks = [
            Segmenter.from_pretrained(folder, runtime=runtime).predict_many(
                [case.image for case in cases], [case.box for case in cases]
            )
            for folder in (trained, out)
        ]
        np.testing.assert_array_equal(masks[0], masks[1])
    assert main(words) == 2, "what is there is not written over"
    assert "already exists; give a new folder" in capsys.readouterr().err


def test_the_card_tells_the_numbers_of_the_reports(trained: Path, report: Path, tmp_path: Path) -> None:
    ship(trained, tmp_path / "mine", licence="CC BY 4.0", data_note="Drawn by a program.", reports=[report, report])
    card = (tmp_path / "mine" / "README.md").read_text()
    assert card.startswith("# mine: weights of `flip train --preset small`\n")
    with (report.parent / "cases.csv").open() as file:
        rows = list(csv.DictReader(file))
    for method in ("box", "ellipse", "flip"):
        dices = [float(row["dice"]) for row in rows if row["method"] == method]
        assert len(dices) == 5
        start = f"| all | 5 | {method} | {np.mean(dices):.4f} ± {np.std(dices, ddof=1):.4f} ["
        assert card.count(start) == 2, "a table a report"
    told = json.loads((trained / "run.json").read_text())
    for text in (
        "**Licence.** CC BY 4.0",
        "no mask was read. Drawn by a program.",
        told["data"]["text"],
        told["data"]["digest"],
        f"commit {told['about']['commit']}",
        CASES,
        "| `stage1` | 2 agents (`ddqn`), superpixels of 160 px",
        "| `locator` | relocates boxes",
    ):
        assert text in card
    assert str(tmp_path) not in card
    assert str(trained.parent) not in card
    ship(trained, tmp_path / "bare", licence="MIT")
    assert "**Numbers.** Not evaluated." in (tmp_path / "bare" / "README.md").read_text()


def test_a_run_that_is_not_whole_does_not_ship(run: Path, tmp_path: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(CheckpointError, match=message):
            ship(run, tmp_path / "mine", licence="MIT")
        assert not (tmp_path / "mine").exists()
        assert left_behind(tmp_path) == []

    (run / "stage1" / "notes.md").write_text("mine")
    (run / "student2").mkdir()
    (run / "student2" / "tensors.safetensors").write_bytes(b"")
    refused(r"holds stage1/notes.md, student2/tensors.safetensors, which would not ship; move them elsewhere")
    shutil.rmtree(run / "student2")
    (run / "stage1" / "notes.md").unlink()
    old = Student.load(run / "student")
    torch.manual_seed(3)
    Student(old.config).save(run / "student")
    refused(r"is a copy of other weights.*\(student\); `flip export --weights")
    old.save(run / "student")
    weights = run / "contour" / "tensors.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-8] + bytes(8))
    refused("is damaged or foreign")
    weights.write_bytes(whole)
    shutil.move(run / "student", tmp_path / "student")
    refused("is an unfinished training run")
    shutil.move(tmp_path / "student", run / "student")
    shutil.move(run / "run.json", tmp_path / "run.json")
    refused("has no run.json, which says what it was trained on")
    shutil.move(tmp_path / "run.json", run / "run.json")
    with pytest.raises(CheckpointError, match=r"no run\.json"):
        ship(run / COPY, tmp_path / "mine", licence="MIT")
    assert ship(run, tmp_path / "mine", licence="MIT").copied


def test_a_call_that_makes_no_sense(trained: Path, report: Path, tmp_path: Path) -> None:
    for into in (trained, trained / "weights", trained.parent):
        with pytest.raises(ConfigError, match="lie in each other; give a folder of its own"):
            ship(trained, into, licence="MIT")
    with pytest.raises(ConfigError, match="licence is empty"):
        ship(trained, tmp_path / "mine", licence=" ")
    told = json.loads(report.read_text())
    for change, message in (
        ({"about": {**told["about"], "weights": "0" * 32}}, "was made with other weights than"),
        ({"about": {}}, "is not a report of this version"),
        ({"summaries": [row for row in told["summaries"] if row["method"] == "box"]}, "has no row of flip, flip"),
    ):
        (tmp_path / "other.json").write_text(json.dumps({**told, **change}))
        with pytest.raises(ConfigError, match=message):
            ship(trained, tmp_path / "mine", licence="MIT", reports=[report, tmp_path / "other.json"])
    with pytest.raises(ConfigError, match="is not a report of this version"):
        ship(trained, tmp_path / "mine", licence="MIT", reports=[tmp_path / "none.json"])
    assert not (tmp_path / "mine").exists()


def test_a_folder_that_gives_other_masks_does_not_ship(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shipping._copy

    def bent(source: Path, target: Path) -> None:
        copy(source, target)
        if target.name == "pipeline.json":
            target.write_text(target.read_text().replace('"smooth": 0.03', '"smooth": 0.2'))

    monkeypatch.setattr(shipping, "_copy", bent)
    with pytest.raises(CheckpointError, match="the pipeline gives other values than that of .* with torch: nothing"):
        ship(trained, tmp_path / "mine", licence="MIT")
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == []


def test_a_run_without_a_copy_ships_for_torch(run: Path, tmp_path: Path) -> None:
    shutil.rmtree(run / COPY)
    made = ship(run, tmp_path / "mine", licence="MIT")
    assert not made.copied
    assert made.files == 2 + 2 * len(networks(run, Recipe.read(run)))
    assert "onnxruntime" not in (tmp_path / "mine" / "README.md").read_text()


def test_a_calibration_ships_with_its_weights(run: Path, tmp_path: Path) -> None:
    words = ["calibrate", "--data", "phantom:13?first=900&height=96&width=136", "--weights", str(run), "-q"]
    assert main([*words, "--method", "contour", "flip+student"]) == 0
    ship(run, tmp_path / "mine", licence="MIT")
    for own in (QUALITY, f"{COPY}/{QUALITY}"):
        assert (tmp_path / "mine" / own).read_bytes() == (run / QUALITY).read_bytes()
    card = (tmp_path / "mine" / "README.md").read_text()
    about = read_calibrations(run / QUALITY)["flip+student"].about
    assert "The true masks of these cases were read" in card
    assert f"| flip+student | `{about['source']}` | 13 | {about['check']['spearman']:.3f} |" in card
    case = flipenv.open_source(CASES).load(0)
    rated = [
        run_rated(make_method("contour", tmp_path / "mine", runtime=runtime), [case])[0].quality
        for runtime in ("torch", "onnx")
    ]
    assert rated[0].value == pytest.approx(rated[1].value, abs=1e-4)
    assert rated[0].calibrated == rated[1].calibrated
    shutil.copytree(run / "contour", run / "student", dirs_exist_ok=True)
    shutil.rmtree(run / COPY)
    with pytest.raises(CheckpointError, match="was calibrated with other weights"):
        ship(run, tmp_path / "other", licence="MIT")
