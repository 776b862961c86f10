"""The command as people type it: files that appear, lines that say what is wrong, exit codes."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from flipagents import cli
from flipagents.cli import main
from flipagents.methods import Found, make_method, run_method
from flipenv.types import Case
from tests.agents.test_outputs import small_disk


@pytest.fixture
def scan(tmp_path: Path, phantoms: list[Case]) -> tuple[str, list[str]]:
    """An image file, and its box as the command line takes it."""
    cv2.imwrite(str(tmp_path / "scan.png"), phantoms[0].image)
    return str(tmp_path / "scan.png"), xyxy(phantoms[0])


@pytest.fixture
def pipeline(tmp_path: Path) -> str:
    pytest.importorskip("torch", reason="the agents need torch")
    pytest.importorskip("monai", reason="a pipeline's student is one of MONAI's networks")
    from tests.agents.test_segment import tiny_pipeline
    from tests.agents.test_student import tiny_students

    tiny_students(tiny_pipeline(tmp_path / "weights"))
    return str(tmp_path / "weights")


@pytest.fixture
def table(tmp_path: Path, phantoms: list[Case]) -> Path:
    """Four images in a CSV: the third cannot be read, the last one's box reaches outside."""
    lines = ["image,x0,y0,x1,y1"]
    for index, case in enumerate(phantoms[:4]):
        cv2.imwrite(str(tmp_path / f"{index}.png"), case.image)
        lines.append(",".join([f"{index}.png", *xyxy(case)]))
    (tmp_path / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    lines[-1] = "3.png,5,5,9999,20"
    (tmp_path / "cases.csv").write_text("\n".join(lines))
    return tmp_path / "cases.csv"


def xyxy(case: Case) -> list[str]:
    return [str(value) for value in (case.box.left, case.box.top, case.box.right, case.box.bottom)]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    return captured.err


def test_help_waits_for_nothing() -> None:
    times = []
    for _ in range(3):
        started = time.perf_counter()
        code = "import sys; from flipagents.cli import main\ntry: main(['--help'])\nfinally: print(*sys.modules)"
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        times.append(time.perf_counter() - started)
        assert "segment" in told
        assert not {"torch", "cv2", "numpy", "flipenv"} & set(told.split())
    assert min(times) < 0.7


@pytest.mark.parametrize("method", ["box", "ellipse", "polar"])
def test_one_image(scan: tuple[str, list[str]], phantoms: list[Case], tmp_path: Path, method: str) -> None:
    image, box = scan
    out = tmp_path / "out"
    assert main(["segment", image, "--box", *box, "-o", str(out), "--method", method]) == 0
    assert names(out) == ["scan_mask.png", "scan_overlay.png"]
    expected = run_method(make_method(method), phantoms[:1])[0]
    np.testing.assert_array_equal(np.asarray(Image.open(out / "scan_mask.png")), np.where(expected, 255, 0))


def test_agents(scan: tuple[str, list[str]], phantoms: list[Case], pipeline: str, tmp_path: Path) -> None:
    image, box = scan
    out = tmp_path / "out"
    assert main(["segment", image, "--box", *box, "-o", str(out), "--weights", pipeline, "--gif"]) == 0
    assert names(out) == ["scan.gif", "scan_curve.png", "scan_mask.png", "scan_overlay.png"]
    expected = run_method(make_method("flip", pipeline), phantoms[:1])[0]
    np.testing.assert_array_equal(np.asarray(Image.open(out / "scan_mask.png")), np.where(expected, 255, 0))
    assert main(["segment", image, "--box", *box, "-o", f"{out}2", "--weights", pipeline, "--only-masks"]) == 0
    assert names(tmp_path / "out2") == ["scan_mask.png"]


def test_a_box_that_may_be_off(
    scan: tuple[str, list[str]], phantoms: list[Case], pipeline: str, tmp_path: Path
) -> None:
    image, box = scan
    out = tmp_path / "out"
    words = ["segment", image, "--box", *box, "-o", str(out), "--weights", pipeline, "--margin", "9"]
    assert main(words) == 0
    assert names(out) == ["scan_curve.png", "scan_mask.png", "scan_overlay.png"]
    expected = run_method(Found(make_method("flip", pipeline), 9, pipeline), phantoms[:1])[0]
    np.testing.assert_array_equal(np.asarray(Image.open(out / "scan_mask.png")), np.where(expected, 255, 0))
    assert expected[: phantoms[0].box.top - 9].sum() == 0


@pytest.mark.parametrize(
    ("box", "fault"),
    [
        (["5", "5", "5", "9"], "has no width"),
        (["30", "5", "20", "9"], "is inverted"),
        (["5", "5", "9999", "9"], "reaches outside its image"),
        (["-5", "5", "30", "40"], "reaches outside its image"),
        (["1.5", "5", "30", "40"], "is not four whole numbers"),
        (["a", "5", "30", "40"], "could not convert"),
    ],
)
def test_bad_boxes(
    scan: tuple[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str], box: list[str], fault: str
) -> None:
    assert main(["segment", scan[0], "--box", *box, "-o", str(tmp_path / "out"), "--method", "box"]) == 2
    told = one_line(capsys)
    assert told.startswith(f"flip segment: --box {' '.join(box)} (X0 Y0 X1 Y1, columns first): ")
    assert fault in told
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_read(
    scan: tuple[str, list[str]], table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["-o", str(tmp_path / "out"), "--method", "box"]
    for words, fault in (
        ([str(tmp_path / "none.png"), "--box", "1", "2", "3", "4"], "none.png"),
        ([str(tmp_path / "2.png"), "--box", "1", "2", "3", "4"], "is damaged or cut short"),
        ([scan[0]], "is one image; give --box"),
        ([str(tmp_path / "none")], "none does not exist; expected a file, a folder, or KIND:PATH"),
        (["phantoms:3"], "does not exist"),
        ([str(table), "--box", "1", "2", "3", "4"], "--box belongs to one image"),
        ([str(tmp_path)], "expected subject folders"),
        ([scan[0], "--box", *scan[1], "--gif"], "--gif shows agents at work; method 'box' has none"),
        ([scan[0], "--box", *scan[1], "--method", "boxx"], "unknown method 'boxx': did you mean 'box'"),
    ):
        assert main(["segment", *words[:1], *out, *words[1:]]) == 2, words
        assert fault in one_line(capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [[], ["segment"], ["segment", "x.png", "--bo", "1"], ["train", "--data", "x"]])
def test_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert "usage: flip" in capsys.readouterr().err


def test_failures_do_not_stop_the_others(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["segment", str(table), "-o", str(out), "--method", "ellipse"]) == 1
    captured = capsys.readouterr()
    assert f"2 segmented into {out}, 2 failed:" in captured.out
    lines = captured.err.splitlines()
    assert lines[0].startswith("  2: ")
    assert "damaged or cut short" in lines[0]
    assert lines[1].startswith("  3: ")
    assert "reaches outside its image" in lines[1]
    assert names(out) == ["0_mask.png", "0_overlay.png", "1_mask.png", "1_overlay.png"]


def test_a_method_that_fails_on_one_case(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from flipagents.methods import METHODS, box_method
    from flipenv.errors import ImageError

    monkeypatch.setattr(METHODS, "_parts", dict(METHODS._parts))
    seen = []

    @box_method("picky")
    def picky(image: Any, box: Any) -> Any:
        seen.append(image.mean())
        if image.mean() == seen[0]:
            raise ImageError("not this one")
        return image < 50

    assert main(["segment", "phantom:3?height=80&width=112", "-o", str(tmp_path / "o"), "--method", "picky"]) == 1
    assert "phantom-0000: not this one" in capsys.readouterr().err
    assert len(names(tmp_path / "o")) == 4


def test_what_is_there_is_left_alone(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["segment", str(table), "-o", str(out), "--method", "box"]
    main(words)
    (out / "0_mask.png").write_bytes(b"mine")
    (out / "1_overlay.png").unlink()
    capsys.readouterr()
    assert main(words) == 1
    assert f"1 segmented into {out}, 1 there already" in capsys.readouterr().out
    assert (out / "0_mask.png").read_bytes() == b"mine"
    assert (out / "1_overlay.png").exists()
    main([*words, "--overwrite"])
    assert (out / "0_mask.png").read_bytes() != b"mine"


def test_coco_in(phantoms: list[Case], tmp_path: Path, pipeline: str) -> None:
    content: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": []}
    for index, case in enumerate(phantoms[:3]):
        cv2.imwrite(str(tmp_path / f"{index}.png"), case.image)
        content["images"].append({"id": index, "file_name": f"{index}.png"})
        bbox = [case.box.left, case.box.top, case.box.width, case.box.height]
        content["annotations"].append({"id": 10 + index, "image_id": index, "bbox": bbox})
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    out = tmp_path / "out"
    assert main(["segment", str(tmp_path / "boxes.json"), "-o", str(out), "--weights", pipeline]) == 0
    assert len(names(out)) == 9
    expected = run_method(make_method("flip", pipeline), phantoms[:3])
    for index, mask in enumerate(expected):
        written = np.asarray(Image.open(out / f"{index}-{10 + index}_mask.png"))
        np.testing.assert_array_equal(written > 0, mask)


def test_subject_folders_in(phantoms: list[Case], tmp_path: Path) -> None:
    (tmp_path / "cases" / "one").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "cases" / "one" / "data.png"), phantoms[0].image)
    np.save(tmp_path / "cases" / "one" / "nodule.npy", np.array(phantoms[0].box))
    assert main(["segment", str(tmp_path / "cases"), "-o", str(tmp_path / "out"), "--method", "box"]) == 0
    assert names(tmp_path / "out") == ["one_mask.png", "one_overlay.png"]


def test_a_full_disk(scan: tuple[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    with small_disk():
        code = main(["segment", scan[0], "--box", *scan[1], "-o", str(out), "--method", "box"])
    assert code == 2
    assert "free space on that disk" in one_line(capsys)
    assert names(out) == []


def test_evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str], pipeline: str) -> None:
    out = tmp_path / "numbers"
    words = ["evaluate", "--data", "phantom:3?height=80&width=112", "--weights", pipeline, "-o", str(out), "--quiet"]
    assert main(words) == 0
    told = capsys.readouterr().out
    for name in ("box", "ellipse", "polar", "flip", "flip+student"):
        assert f"\n| {name} | " in told
    assert names(out) == ["cases.csv", "evaluations", "report.json", "table.md", "table.tex"]
    assert (out / "table.md").read_text() in told
    assert main([*words[:5], "--split", "val"]) == 2
    assert "option 'split'" in one_line(capsys)


def test_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str], pipeline: str) -> None:
    assert main(["demo", "--count", "2", "-o", str(tmp_path / "demo"), "--weights", pipeline]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].split() == ["Dice", "box", "ellipse", "flip"]
    assert len(told[1].split()) == 4
    assert len(names(tmp_path / "demo")) == 7


def test_demo_without_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="the agents need torch")
    monkeypatch.setattr("flipagents.segment.SHIPPED", tmp_path / "none")
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 2
    assert "flip train" in one_line(capsys)
    assert not (tmp_path / "demo").exists()


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Calls of train_pipeline, which is not run."""
    pytest.importorskip("torch", reason="the agents need torch")
    import flipagents.pipeline

    calls: list[Any] = []

    def train_pipeline(train: Any, val: Any, folder: Path, **options: Any) -> Path:
        calls.append((train, val, folder, options))
        return folder

    monkeypatch.setattr(flipagents.pipeline, "train_pipeline", train_pipeline)
    return calls


def test_train_on_busi(tmp_path: Path, trained: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flipagents.devices._need_torch", lambda name: None)  # as where there is a GPU
    (tmp_path / "busi" / "Dataset_BUSI_with_GT").mkdir(parents=True)
    settings = ["learner.epochs=5", "env.jitter=[0, 10]", "env.beta=null", "classifier.network=small", "env.csr=sign"]
    settings.append("student.epochs=9")
    words = ["train", "--data", str(tmp_path / "busi"), "--out", str(tmp_path / "run"), "--preset", "paper", "--quiet"]
    words += ["--agent", "vdn"]
    assert main([*words, "--set", *settings[:2], "--set", *settings[2:], "--device", "cuda"]) == 0
    train, val, folder, options = trained[0]
    path = tmp_path / "busi"
    assert (train, val) == (f"busi:{path}?split=train", f"busi:{path}?split=val")
    assert folder == tmp_path / "run"
    assert options == {
        "preset": "paper",
        "agent": "vdn",
        "device": "cuda",
        "progress": False,
        "env_options": {"jitter": [0, 10], "beta": None, "csr": "sign"},
        "learner_options": {"epochs": 5},
        "classifier_options": {"network": "small"},
        "student_options": {"epochs": 9},
    }


def test_train_on_other_sources(trained: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--out", str(tmp_path / "run"), "--data"]
    assert main([*words, "phantom:4", "--val", "phantom:2?first=90"]) == 0
    assert main([*words, "phantom:4"]) == 0
    assert [call[:2] for call in trained] == [("phantom:4", "phantom:2?first=90"), ("phantom:4", None)]
    capsys.readouterr()
    for setting, fault in (("epochs=5", "expected part.field=value"), ("learn.epochs=5", "did you mean 'learner'")):
        assert main([*words, "phantom:4", "--set", setting]) == 2
        assert fault in one_line(capsys)


def test_training_onto_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="the agents need torch")
    import flipagents.pipeline

    def full(*_: Any, **__: Any) -> Path:
        raise OSError(28, "cannot write checkpoint run (No space left on device); free space on that disk")

    monkeypatch.setattr(flipagents.pipeline, "train_pipeline", full)
    assert main(["train", "--data", "phantom:2", "--out", str(tmp_path / "run")]) == 2
    assert "flip train: " in (told := one_line(capsys))
    assert "free space on that disk" in told


def test_python_m_flipagents() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flipagents", "segment", "none.png", "-o", "out"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    assert done.returncode == 2
    assert done.stderr.startswith("flip segment: none.png does not exist")


def documented(language: str) -> list[str]:
    text = (Path(__file__).parents[2] / "docs" / "agents.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.parametrize(
    ("words", "host", "warned"), [([], "127.0.0.1", False), (["--host", "0.0.0.0"], "0.0.0.0", True)]
)
def test_the_page_is_for_this_machine(
    words: list[str], host: str, warned: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("flipagents.app.serve", lambda *values, **options: asked.append((values, options)))
    assert main(["app", *words, "--weights", "mine"]) == 0
    assert asked == [((host, 7860), {"weights": Path("mine"), "device": "cpu"})]
    assert ("no password" in capsys.readouterr().err) == warned


def test_the_page_without_gradio(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["app"]) == 2
    assert "pip install flip-learning[app]" in capsys.readouterr().err


def test_documented_commands_exist() -> None:
    lines = [line for block in documented("console") for line in block.splitlines()]
    assert len(lines) > 8
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "flip"
        cli._parser().parse_args(words)


def test_documented_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipeline: str, phantoms: list[Case]
) -> None:
    from flipagents.agents import AGENTS
    from flipagents.methods import METHODS

    monkeypatch.chdir(tmp_path)
    for registry in (AGENTS, METHODS):
        monkeypatch.setattr(registry, "_parts", dict(registry._parts))
    known: dict[str, Any] = {"folder": pipeline, "image": phantoms[0].image, "box": phantoms[0].box}
    for block in documented("python"):
        exec(block, known)
    assert [mask.shape for mask in known["masks"]] == [(80, 112)] * 2
    assert known["mask"].shape == phantoms[0].image.shape
    assert names(tmp_path / "numbers") == ["cases.csv", "report.json", "table.md", "table.tex"]


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def missing(*arguments: object, **options: object) -> None:
        raise ModuleNotFoundError("No module named 'scipy'", name="scipy")

    monkeypatch.setattr("flipagents.report.evaluate", missing)
    assert main(["evaluate", "--data", "phantom:2", "--methods", "ellipse"]) == 2
    assert "scipy is not installed; pip install 'flip-learning[agents]'" in capsys.readouterr().err
