"""The command as people type it: files that appear, lines that say what is wrong, exit codes."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from flipagents.cli import main
from flipagents.cli import parser as cli
from flipagents.compare.methods import make_method, run_method
from flipagents.compare.ours import Found
from flipenv.types import Case
from tests.segment.test_outputs import small_disk


@pytest.fixture
def scan(tmp_path: Path, phantoms: list[Case]) -> tuple[str, list[str]]:
    """An image file, and its box as the command line takes it."""
    cv2.imwrite(str(tmp_path / "scan.png"), phantoms[0].image)
    return str(tmp_path / "scan.png"), xyxy(phantoms[0])


@pytest.fixture
def pipeline(tmp_path: Path) -> str:
    pytest.importorskip("torch", reason="the agents need torch")
    pytest.importorskip("monai", reason="a pipeline's student is one of MONAI's networks")
    from tests.maps.test_network import tiny_students
    from tests.segment.test_segmenter import tiny_pipeline

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
    """Files of a folder, without the table that every run of `flip segment` writes."""
    return sorted(path.name for path in folder.iterdir() if path.name != "quality.csv") if folder.exists() else []


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
        (["5", "5", "5", "9"], "box (5, 5, 5, 9) has no width (X0 == X1)"),
        (["30", "5", "20", "9"], "box (30, 5, 20, 9) is inverted (X1 < X0); expected (X0, Y0, X1, Y1)"),
        (["10%", "50%", "90%", "40%"], "is inverted (Y1 < Y0)"),
        (["10%", "10%", "90%", "100.7%"], "reaches outside its image"),
        (["nan", "5", "30", "40"], "'nan' is not a whole number of pixels"),
        (["5", "5", "9999", "9"], "reaches outside its image"),
        (["-5", "5", "30", "40"], "reaches outside its image"),
        (["1.5", "5", "30", "40"], "'1.5' is not a whole number of pixels"),
        (["a", "5", "30", "40"], "'a' is not a whole number of pixels"),
    ],
)
def test_bad_boxes(
    scan: tuple[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str], box: list[str], fault: str
) -> None:
    assert main(["segment", scan[0], "--box", *box, "-o", str(tmp_path / "out"), "--method", "box"]) == 2
    told = one_line(capsys)
    assert told.startswith(f"flip segment: --box {' '.join(box)}: ")
    assert fault in told
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_read(
    scan: tuple[str, list[str]], table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["-o", str(tmp_path / "out"), "--method", "box"]
    (tmp_path / "nothing").mkdir()
    for words, fault in (
        ([str(tmp_path / "none.png"), "--box", "1", "2", "3", "4"], "none.png"),
        ([str(tmp_path / "2.png"), "--box", "1", "2", "3", "4"], "is damaged or truncated"),
        ([scan[0]], "is one image; give --box"),
        ([str(tmp_path / "none")], "none does not exist; expected a file, a folder, or KIND:PATH"),
        (["phantoms:3"], "does not exist"),
        ([str(table), "--box", "1", "2", "3", "4"], "--box belongs to one image"),
        (
            [str(tmp_path)],
            "is a folder of images without boxes; give a CSV of boxes (flip segment --boxes FILE.csv)",
        ),
        ([str(tmp_path / "nothing")], "expected subject folders"),
        ([scan[0], "--box", *scan[1], "--gif"], "--gif shows the agents' walk; method 'box' has no agents"),
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


def test_the_default_is_the_prior_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The agents are one option away, or where their walk is asked for, or where a pipeline has no such prior."""
    pytest.importorskip("onnxruntime", reason="the shipped weights run")
    from flipagents.compare.methods import default_method
    from flipagents.store.checkpoint import SHIPPED

    words = ["segment", "phantom:1?height=80&width=112", "--json", "-o"]
    found = []
    for number, more in enumerate(([], ["--method", "flip"], ["--gif"])):
        assert main([*words, str(tmp_path / str(number)), *more]) == 0
        found.append(json.loads(capsys.readouterr().out)["method"])
    assert found == ["contour", "flip", "flip"]
    assert not list((tmp_path / "0").glob("*_curve.png"))
    assert len(list((tmp_path / "1").glob("*_curve.png"))) == 1
    assert (default_method(SHIPPED), default_method(tmp_path)) == ("contour", "flip")


def test_failures_do_not_stop_the_others(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["segment", str(table), "-o", str(out), "--method", "ellipse"]) == 1
    captured = capsys.readouterr()
    assert f"2 segmented by ellipse into {out}, 2 failed:" in captured.out
    lines = captured.err.splitlines()
    assert lines[0].startswith("  2: ")
    assert "damaged or truncated" in lines[0]
    assert lines[1].startswith("  3: ")
    assert "reaches outside its image" in lines[1]
    assert names(out) == ["0_mask.png", "0_overlay.png", "1_mask.png", "1_overlay.png"]


def test_a_method_that_fails_on_one_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from flipagents.compare.methods import METHODS, box_method
    from flipenv.errors import ImageError

    seen = []

    def picky(image: Any, box: Any) -> Any:
        seen.append(image.mean())
        if image.mean() == seen[0]:
            raise ImageError("not this one")
        return image < 50

    with METHODS.temporarily():
        box_method("picky")(picky)
        assert main(["segment", "phantom:3?height=80&width=112", "-o", str(tmp_path / "o"), "--method", "picky"]) == 1
    assert "phantom-0000: not this one" in capsys.readouterr().err
    assert len(names(tmp_path / "o")) == 4


def test_what_is_there_is_left_alone(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["segment", str(table), "-o", str(out), "--method", "box"]
    main(words)
    (out / "1_overlay.png").unlink()
    capsys.readouterr()
    before = (out / "0_mask.png").stat()
    assert main(words) == 1
    assert f"1 segmented by box into {out}, 1 already done" in capsys.readouterr().out
    assert (out / "1_overlay.png").exists()
    assert (out / "0_mask.png").stat().st_mtime_ns == before.st_mtime_ns
    main([*words, "--overwrite"])
    assert (out / "0_mask.png").stat().st_mtime_ns > before.st_mtime_ns


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
    figures = [f"{kind}-{name}.png" for kind in ("reliability", "risk-coverage") for name in ("flip", "flip+student")]
    expected = ["cases.csv", "evaluations", "report.json", "table.md", "table.tex"]
    assert names(out) == sorted([*expected, *(figures if find_spec("matplotlib") else [])])
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
    monkeypatch.setattr("flipagents.store.checkpoint.SHIPPED", tmp_path / "none")
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 2
    assert "flip train" in one_line(capsys)
    assert not (tmp_path / "demo").exists()


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Calls of train_pipeline, which is not run."""
    pytest.importorskip("torch", reason="the agents need torch")
    import flipagents.train.pipeline

    calls: list[Any] = []

    def train_pipeline(train: Any, val: Any, folder: Path, **options: Any) -> Path:
        calls.append((train, val, folder, options))
        return folder

    monkeypatch.setattr(flipagents.train.pipeline, "train_pipeline", train_pipeline)
    return calls


def test_train_on_busi(tmp_path: Path, trained: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flipagents.machine.devices._need_torch", lambda name: None)  # as where there is a GPU
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
    import flipagents.train.pipeline

    def full(*_: Any, **__: Any) -> Path:
        raise OSError(28, "cannot write checkpoint run (No space left on device); free space on that disk")

    monkeypatch.setattr(flipagents.train.pipeline, "train_pipeline", full)
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
    monkeypatch.setattr("flipagents.serve.page.serve", lambda *values, **options: asked.append((values, options)))
    assert main(["app", *words, "--weights", "mine"]) == 0
    assert asked == [((host, 7860), {"weights": Path("mine"), "device": "cpu", "runtime": "auto", "mend": None})]
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
        cli.make_parser().parse_args(words)


def test_documented_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipeline: str, phantoms: list[Case]
) -> None:
    from flipagents.compare.methods import METHODS
    from flipagents.learn.agents import AGENTS

    monkeypatch.chdir(tmp_path)
    known: dict[str, Any] = {"folder": pipeline, "image": phantoms[0].image, "box": phantoms[0].box}
    with AGENTS.temporarily(), METHODS.temporarily():
        for block in documented("python"):
            exec(block, known)
    assert [mask.shape for mask in known["masks"]] == [(80, 112)] * 2
    assert known["mask"].shape == phantoms[0].image.shape
    assert names(tmp_path / "numbers") == ["cases.csv", "report.json", "table.md", "table.tex"]


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def missing(*arguments: object, **options: object) -> None:
        raise ModuleNotFoundError("No module named 'scipy'", name="scipy")

    monkeypatch.setattr("flipagents.compare.report.evaluate", missing)
    assert main(["evaluate", "--data", "phantom:2", "--methods", "ellipse"]) == 2
    assert "scipy is not installed; pip install 'flip-learning[agents]'" in capsys.readouterr().err


def test_a_folder_of_images_with_a_table_of_boxes(
    tmp_path: Path, phantoms: list[Case], capsys: pytest.CaptureFixture[str]
) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    (images / "left").mkdir(parents=True)
    cv2.imwrite(str(images / "one.png"), phantoms[0].image)
    cv2.imwrite(str(images / "left" / "one.png"), phantoms[1].image)
    lines = ["image,x0,y0,x1,y1", "one.png,5,6,40,50", "left/one.png,7,8,30,40", "none.png,1,2,3,4"]
    (tmp_path / "boxes.csv").write_text("\n".join(lines))
    words = ["segment", str(images), "--boxes", str(tmp_path / "boxes.csv"), "-o", str(out), "--method", "box"]
    assert main([*words, "--only-masks"]) == 1
    assert "'none.png' is not a file" in capsys.readouterr().err
    assert names(out) == ["left_one_mask.png", "one_mask.png"]
    assert np.asarray(Image.open(out / "left_one_mask.png")).astype(bool).sum() == 23 * 32
    assert main([*words, "--box", "1", "2", "3", "4"]) == 2
    assert "--boxes" in one_line(capsys)
    assert main(["segment", str(images), "-o", str(out)]) == 2
    assert "is a folder of images without boxes; give a CSV of boxes (flip segment --boxes FILE.csv)" in one_line(
        capsys
    )


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["10%", "20%", "60%", "80%"], lambda height, width: (0.1 * width, 0.2 * height, 0.6 * width, 0.8 * height)),
        (["3", "20%", "60%", "30"], lambda height, width: (3, 0.2 * height, 0.6 * width, 30)),
    ],
)
def test_boxes_in_percent(
    scan: tuple[str, list[str]], phantoms: list[Case], tmp_path: Path, typed: list[str], expected: Any
) -> None:
    words = ["segment", scan[0], "--box", *typed, "-o", str(tmp_path / "out"), "--method", "box", "--only-masks"]
    assert main(words) == 0
    rows, columns = np.nonzero(np.asarray(Image.open(tmp_path / "out" / "scan_mask.png")))
    found = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    np.testing.assert_allclose(found, expected(*phantoms[0].image.shape), atol=0.5)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["segmnt"], "invalid choice: 'segmnt'; did you mean segment?"),
        (["segment", "x", "-o", "y", "--metod", "box"], "unrecognized arguments: --metod box; did you mean --method?"),
        (["segment", "x", "-o", "y", "--margin", "-5"], "'-5' is not a whole number from 0 to 1000"),
        (["segment", "x", "-o", "y", "--margin", "100000"], "'100000' is not a whole number from 0 to 1000"),
        (["segment", "x", "-o", "y", "--workers", "0"], "'0' is not a whole number from 1"),
        (["segment", "x", "-o", "y", "--runtime", "onx"], "invalid choice: 'onx'; did you mean onnx?"),
        (["demo", "--count", "0"], "'0' is not a whole number from 1"),
        (["app", "--port", "80000"], "'80000' is not a whole number from 0 to 65535"),
        (["serve", "--port", "http"], "'http' is not a whole number from 0 to 65535"),
    ],
)
def test_what_is_misspelt_or_out_of_range(words: list[str], fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert fault in capsys.readouterr().err


def said_at_once(words: list[str], *, without: str = "torch") -> tuple[int, str]:
    """Exit code and stderr of a command in a process that may not import a module; a traceback is a failure."""
    code = f"import sys; sys.modules[{without!r}] = None; from flipagents.cli import main; sys.exit(main({words!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr


def test_what_can_be_known_before_computing_is_said_before(scan: tuple[str, list[str]], tmp_path: Path) -> None:
    import socket

    (tmp_path / "file").write_text("mine")
    segment = ["segment", scan[0], "--box", *scan[1], "-o"]
    taken = socket.create_server(("127.0.0.1", 0))
    port = str(taken.getsockname()[1])
    for words, fault in (
        ([*segment, str(tmp_path / "file")], "(File exists); choose another folder"),
        ([*segment, str(tmp_path / "file" / "below")], "(Not a directory); choose another folder"),
        (
            [*segment, str(tmp_path / "out"), "--export", "dicom-seg"],
            "is not DICOM" if find_spec("highdicom") else "needs the package 'highdicom'",
        ),
        ([*segment, str(tmp_path / "out"), "--device", "cudua"], "unknown device 'cudua': did you mean 'cuda'?"),
        ([*segment, str(tmp_path / "out"), "--method", "flop"], "unknown method 'flop': did you mean 'flip'?"),
        (["segment", str(tmp_path), "--box", "1", "2", "3", "4", "-o", "x"], "--box belongs to one image"),
        (["evaluate", "--data", "phantom:2", "-o", str(tmp_path / "file")], "(File exists); choose another folder"),
        (["app", "--port", port], f"port {port} is taken"),
        (["serve", "--port", port], f"port {port} is taken"),
    ):
        code, told = said_at_once(words)
        assert (code, told.count("\n")) == (2, 1), told
        assert fault in told
    taken.close()
    assert not (tmp_path / "out").exists()


def test_a_warning_is_one_line_and_told_once(phantoms: list[Case], tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[274] = 6
    Image.fromarray(phantoms[0].image).save(tmp_path / "phone.jpg", exif=turned)
    words = ["segment", str(tmp_path / "phone.jpg"), "--box", "5", "6", "40", "50", "--method", "box"]
    code, told = said_at_once([*words, "-o", str(tmp_path / "out")])
    (line,) = told.splitlines()
    assert code == 0
    assert line.startswith("flip segment: warning: ")
    assert "(orientation 6)" in line


def test_quiet(scan: tuple[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", scan[0], "--box", *scan[1], "-o", str(tmp_path / "out"), "--method", "box", "-q"]) == 0
    assert capsys.readouterr() == ("", "")


def test_version_info_and_completion(capsys: pytest.CaptureFixture[str]) -> None:
    import flipagents

    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert (stopped.value.code, capsys.readouterr().out) == (0, f"flip {flipagents.__version__}\n")
    assert main(["info"]) == 0
    told = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert told["flip"].startswith(flipagents.__version__)
    assert told["numpy"] == np.__version__
    assert {"python", "torch", "onnxruntime", "device", "weights", "cache"} <= set(told)
    assert main(["info", "none.png"]) == 2
    assert "does not record its origin" in one_line(capsys)
    for shell, known in (("bash", "--only-masks"), ("zsh", "--only-masks"), ("tcsh", "segment")):
        assert main(["completion", shell]) == 0
        assert known in capsys.readouterr().out


def test_a_process_that_is_stopped_says_so(
    scan: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("flipagents.scale.worker.Worker.run", stopped)
    assert main(["segment", scan[0], "--box", *scan[1], "-o", str(tmp_path / "out"), "--method", "box"]) == 130
    assert "run the same command to resume" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["info"], ["completion", "zsh"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_is_no_fault(words: list[str], unbuffered: str) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "flipagents", *words]
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, env=env, check=False)
    os.close(write)
    assert done.returncode in (0, 1)  # argparse says nothing of what it could not print
    assert done.stderr == ""


def test_stdout_that_is_full_or_cannot_show_a_name(scan: tuple[str, list[str]], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flipagents"]
    with open("/dev/full", "w") as full:
        done = subprocess.run([*command, "--version"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "No space left on device" in done.stderr
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    words = ["segment", scan[0], "--box", *scan[1], "--method", "box", "-o", str(tmp_path / "ü")]
    done = subprocess.run([*command, *words], capture_output=True, text=True, env=env, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_mp4(scan: tuple[str, list[str]], pipeline: str, tmp_path: Path) -> None:
    words = ["segment", scan[0], "--box", *scan[1], "-o", str(tmp_path / "out"), "--weights", pipeline, "--only-masks"]
    assert main([*words, "--mp4"]) == 0
    assert names(tmp_path / "out") == ["scan.mp4", "scan_mask.png"]
    video = cv2.VideoCapture(str(tmp_path / "out" / "scan.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) > 2
