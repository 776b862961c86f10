"""`flip train` and `flip evaluate` as a user meets them: bad cases, logs, and what is said at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flipagents.cli import main
from flipagents.machine import devices
from flipagents.store.run_folder import begin
from flipenv.types import Case


@pytest.fixture
def table(phantoms: list[Case], tmp_path: Path) -> Path:
    """Four images with masks; the picture of '1' is truncated, '2' has no mask, and '3' has a mask of another size."""
    folder = tmp_path / "data"
    folder.mkdir()
    lines = ["id,image,top,left,bottom,right,mask"]
    for index, case in enumerate(phantoms[:5]):
        Image.fromarray(case.image).save(folder / f"{index}.png")
        mask = case.mask if index != 3 else case.mask[:-1]
        Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(folder / f"{index}_mask.png")
        name = "" if index == 2 else f"{index}_mask.png"
        lines.append(",".join(map(str, [index, f"{index}.png", *case.box, name])))
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:200])
    (folder / "cases.csv").write_text("\n".join(lines) + "\n")
    return folder / "cases.csv"


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_bad_cases_do_not_end_an_evaluation(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["evaluate", "--data", str(table), "--methods", "polar", "--quiet", "-o", str(out)]
    for _ in range(2):
        assert main(words) == 1
        told = capsys.readouterr()
        lines = told.err.splitlines()
        assert [line[:5] for line in lines] == ["  1: ", "  2: ", "  3: "]
        assert "damaged or truncated" in lines[0]
        assert "has no mask" in lines[1]
        assert "mask" in lines[2]
        assert "all (2 cases)" in told.out
    report = json.loads((out / "report.json").read_text())
    assert [each["case"] for each in report["failed"]] == ["1", "2", "3"]
    assert {row["n"] for row in report["summaries"]} == {2}
    assert str(tmp_path) not in (out / "table.md").read_text()


def test_no_good_case_is_a_fault_of_the_call(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = table.read_text().splitlines()
    table.write_text("\n".join([rows[0], *rows[2:5]]) + "\n")
    assert main(["evaluate", "--data", str(table), "--methods", "polar", "--quiet"]) == 2
    (line,) = lines_of(capsys)
    assert line.startswith("flip evaluate: none of 3 cases can be evaluated; the first, '1': ")


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--methods", "pola"], "unknown method 'pola': did you mean 'polar'"),
        (["--device", "cudua"], "unknown device 'cudua': did you mean 'cuda'"),
        (["--shift", "20", "10"], "shift=(20.0, 10.0); expected two distances in px, the smaller first"),
    ],
)
def test_a_wrong_call_is_said_before_anything_is_read(
    words: list[str], fault: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flipagents.compare.evaluation.Cases.load", lambda self, index: pytest.fail("a case was read"))
    assert main(["evaluate", "--data", "phantom:2", *words]) == 2
    (line,) = lines_of(capsys)
    assert fault in line


def test_a_log_of_an_evaluation(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--data", "phantom:2?height=80&width=112", "--methods", "polar"]) == 0
    lines = capsys.readouterr().err.split("\n")[:-1]
    assert lines[0] == "evaluating: 0/6, starting"
    assert any(line.startswith("polar, seed 0: Dice 0.") for line in lines)
    assert all(lines)


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_an_output_that_cannot_be_written(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    for name, why in (("file", "File exists"), ("file/out", "Not a directory")):
        assert main([command, "--data", "phantom:2", "-o", str(tmp_path / name)]) == 2
        (line,) = lines_of(capsys)
        assert line == f"flip {command}: cannot write into {tmp_path / name} ({why}); choose another folder"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_without_permission(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o555)
    try:
        assert main(["train", "--data", "phantom:2", "-o", str(tmp_path / "run")]) == 2
    finally:
        tmp_path.chmod(0o755)
    assert "run (Permission denied); choose another folder" in lines_of(capsys)[0]


SAID_AT_ONCE = """
import sys
from flipagents.cli import main
assert main(sys.argv[1:]) == 2
assert "torch" not in sys.modules, "torch was imported"
"""


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--set", "learner.epoch=3"], "unknown LearnerConfig option 'epoch': did you mean 'epochs'"),
        (["--set", "learn.epochs=3"], "unknown part 'learn': did you mean 'learner'"),
        (["--preset", "smal"], "unknown preset 'smal': did you mean 'small'"),
        (["--agent", "ddpn"], "unknown agent 'ddpn': did you mean 'ddqn'"),
        (["--method", "unnet"], "unknown trainer 'unnet': did you mean 'unet'"),
        (["--device", "cudua"], "unknown device 'cudua': did you mean 'cuda'"),
        (["--preset", "paper"], "holds another run (preset: 'small' then, 'paper' now)"),
        (["--agent", "vdn"], "holds another run (agent: 'ddqn' then, 'vdn' now)"),
        (["--set", "learner.lanes=9"], "holds another run (learner.lanes: 4 then, 9 now)"),
        (["--data", "phantom:3"], "holds another run (data: 'phantom:2' then, 'phantom:3' now)"),
    ],
)
def test_a_wrong_training_is_said_before_torch_is_imported(words: list[str], fault: str, tmp_path: Path) -> None:
    begin(tmp_path, preset="small", agent="ddqn", options={"learner.lanes": 4}, parts=[], data="phantom:2", val=None)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    call = [sys.executable, "-c", SAID_AT_ONCE, "train", "--data", "phantom:2", "-o", str(tmp_path), *words]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("flip train: ")
    assert fault in line
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_device_that_is_not_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class NoGpu:
        class cuda:
            is_available = staticmethod(lambda: False)

        class version:
            cuda = "13.0"
            hip = None

    monkeypatch.setattr(devices, "_torch", lambda: NoGpu)
    monkeypatch.setattr(devices, "find_spec", lambda name: NoGpu)
    for command in ("train", "evaluate"):
        assert main([command, "--data", "phantom:2", "-o", str(tmp_path / "o"), "--device", "cuda"]) == 2
        assert lines_of(capsys) == [f"flip {command}: no CUDA device here: use --device cpu"]
    assert not (tmp_path / "o").exists()


def test_training_into_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a baseline, which is quick; `test_pipeline` reads the log of the whole pipeline."""
    pytest.importorskip("monai", reason="the network is one of MONAI's")
    words = ["train", "--data", "phantom:4?height=80&width=96", "--method", "unet", "-o", str(tmp_path / "run")]
    words += ["--set", "epochs=2", "features=[4,4,8,8,8,4]"]
    assert main(words) == 0
    lines = capsys.readouterr().err.split("\n")[:-1]
    assert lines[0] == "unet: epoch 0/2, starting"
    assert lines[-1].startswith("unet: epoch 2/2, loss 0.")
    assert all(lines)
    logged = (tmp_path / "run" / "train.log").read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in logged] == lines
    assert main([*words, "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert len((tmp_path / "run" / "train.log").read_text().splitlines()) == 2 * len(logged)
