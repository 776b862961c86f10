"""What a run's folder tells of it, without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flipagents.store import run_folder
from flipagents.store.checkpoint import CheckpointError
from flipagents.store.files import OutputError
from flipagents.store.run_folder import LOG, RUN, begin, check, log, merged, unfinished
from flipenv.errors import FlipError, SourceError
from flipenv.progress import log_line

PHANTOMS = "phantom:3?height=80&width=112"
WHAT: dict[str, Any] = {"preset": "small", "agent": "ddqn", "data": PHANTOMS, "val": None}
OPTIONS = {
    "learner.lanes": 4,
    "learner.epochs": 2,
    "env.jitter": (0.0, 2.0),
    "env.cell_area": {"stage1": 9, "stage2": 4},
}
PARTS = ["classifier", "contour", "stage1", "stage2", "student"]


def started(folder: Path, **changes: Any) -> Path:
    begin(folder, **{"options": OPTIONS, "parts": PARTS, **WHAT, **changes})
    return folder


def test_what_is_written_at_once(tmp_path: Path) -> None:
    folder = started(tmp_path / "a" / "run")
    assert [path.name for path in folder.iterdir()] == [RUN]
    told = json.loads((folder / RUN).read_text())
    assert (told["preset"], told["agent"], told["data"]["text"], told["val"]) == ("small", "ddqn", PHANTOMS, None)
    assert told["options"] == {**OPTIONS, "env.jitter": [0.0, 2.0]}
    assert told["about"]["versions"]["numpy"]
    before = (folder / RUN).stat().st_mtime_ns
    started(folder)
    assert (folder / RUN).stat().st_mtime_ns == before, "the same run"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"agent": "vdn"}, r"\(agent: 'ddqn' then, 'vdn' now\)"),
        ({"preset": "paper", "options": {"learner.lanes": 9}}, r"\(preset: 'small' then, 'paper' now\)"),
        ({"options": {**OPTIONS, "learner.lanes": 9}}, r"\(learner.lanes: 4 then, 9 now\)"),
        ({"options": {**OPTIONS, "env.jitter": (0, 3)}}, r"\(env.jitter: \[0.0, 2.0\] then, \[0, 3\] now\)"),
        ({"options": {**OPTIONS, "env.cell_area": 4}}, r"\(env.cell_area: .*'stage2': 4} then, 4 now\)"),
        ({"data": "phantom:4?height=80&width=112"}, r"\(data: 'phantom:3\?.*' then, 'phantom:4\?.*' now\)"),
        ({"val": "phantom:1"}, r"\(val: None then, 'phantom:1' now\)"),
    ],
)
def test_another_run_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    folder = started(tmp_path / "run")
    before = (folder / RUN).read_bytes()
    with pytest.raises(CheckpointError, match=f"run holds another run {message}; give the same options, or another"):
        started(folder, **changes)
    assert (folder / RUN).read_bytes() == before


def test_many_differences_are_counted(tmp_path: Path) -> None:
    folder = started(tmp_path, options={f"env.o{index}": 0 for index in range(6)})
    with pytest.raises(CheckpointError, match=r"env.o2: 0 then, 1 now; and 3 more\)"):
        started(folder, options={f"env.o{index}": 1 for index in range(6)})


def test_a_run_may_be_longer(tmp_path: Path) -> None:
    folder = started(tmp_path)
    started(folder, options={**OPTIONS, "learner.epochs": 5})
    assert json.loads((folder / RUN).read_text())["options"]["learner.epochs"] == 5
    with pytest.raises(CheckpointError, match="student.epochs: 1 then, 2 now"):
        started(started(tmp_path / "b", options={"student.epochs": 1}), options={"student.epochs": 2})


def test_some_options_are_enough_to_see_that_it_is_another(tmp_path: Path) -> None:
    folder = started(tmp_path)
    check(folder, **WHAT, options={})
    check(folder, **WHAT, options={"learner.lanes": 4, "nobody.knows": 1})
    with pytest.raises(CheckpointError, match="learner.lanes: 4 then, 5 now"):
        check(folder, **WHAT, options={"learner.lanes": 5})
    check(tmp_path / "nowhere", **WHAT, options={"learner.lanes": 5})


def table(folder: Path, left: int) -> Path:
    import numpy as np
    from PIL import Image

    folder.mkdir()
    Image.fromarray(np.full((40, 60), 90, np.uint8)).save(folder / "a.png")
    (folder / "t.csv").write_text(f"image,x0,y0,x1,y1\na.png,{left},5,30,25\n")
    return folder / "t.csv"


def test_data_are_known_by_what_they_hold(tmp_path: Path) -> None:
    """They may lie elsewhere; a box that was changed makes others of them, under the same name too."""
    first = table(tmp_path / "one", 10)
    folder = started(tmp_path / "run", data=f"csv:{first}")
    assert str(tmp_path) not in (folder / RUN).read_text(), "weights are shared, local directories are private"
    started(folder, data=f"csv:{table(tmp_path / 'two', 10)}")
    with pytest.raises(CheckpointError, match=r"\(data: the cases of 'csv:PATH/t.csv' have changed\)"):
        started(folder, data=f"csv:{table(tmp_path / 'three', 11)}")
    with pytest.raises(SourceError, match="none.csv"):
        started(folder, data=f"csv:{tmp_path}/none.csv")


def test_a_folder_that_cannot_be_written_into(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name, why in (("file", "File exists"), ("file/run", "Not a directory")):
        with pytest.raises(OutputError, match=rf"cannot write into .*{name} \({why}\); choose another folder"):
            started(tmp_path / name)


def test_parts_of_which_nobody_wrote_down_the_options(tmp_path: Path) -> None:
    (tmp_path / "stage1").mkdir()
    started(tmp_path)
    assert not (tmp_path / RUN).exists()


def test_a_damaged_file(tmp_path: Path) -> None:
    for text in ("{", "[]", "{}"):
        (tmp_path / RUN).write_text(text)
        with pytest.raises(CheckpointError, match="run.json cannot be read"):
            started(tmp_path)


def test_options_of_several_parts() -> None:
    parts = {"one": {"a": 1, "b": {"c": 2, "d": 3}}, "two": {"a": 1, "b": {"c": 2, "d": 4}}}
    assert merged(parts, "env") == {"env.a": 1, "env.b.c": 2, "env.b.d": {"one": 3, "two": 4}}


def made(folder: Path, about: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    told = {"format": 1, "kind": "any", "digest": "", "about": about}
    (folder / "about.json").write_text(json.dumps(told))


def test_how_far_a_run_is(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert unfinished(folder) is None, "there is none"
    started(folder)
    end = "; run the same `flip train` command to finish it"
    assert unfinished(folder) == f"{folder} is an unfinished training run: nothing done yet{end}"

    def state() -> str:
        told = unfinished(str(folder))
        assert told is not None
        return told.partition("run: ")[2].removesuffix(end)

    (folder / "classifier").mkdir()
    assert state() == "classifier begun"
    made(folder / "classifier" / "last", {"rows": [{}, {}], "config": {"epochs": 7}})
    assert state() == "classifier at epoch 2 of 7"
    made(folder / "classifier" / "classifier", {})
    made(folder / "contour", {})
    assert state() == "classifier, contour done"
    stage = {"pool": "10 episodes 0a1b", "config": {"epochs": 3}}
    made(folder / "stage1" / "checkpoint", {**stage, "episodes": 30})
    made(folder / "stage1" / "agent", {})
    made(folder / "stage2" / "checkpoint", {**stage, "episodes": 14})
    assert state() == "classifier, contour, stage1 done, stage2 at epoch 2 of 3"
    made(folder / "stage2" / "agent", {})
    (folder / "pipeline.json").write_text("{}")
    assert state() == "classifier, contour, stage1, stage2 done"
    made(folder / "student", {})
    assert unfinished(folder) is None


def test_an_unfinished_run_as_weights(tmp_path: Path) -> None:
    from flipagents.compare.methods import make_method
    from flipagents.segment.runtimes import pipeline_folder
    from flipagents.store.recipe import Recipe

    folder = started(tmp_path / "run")
    with pytest.raises(CheckpointError, match="run is an unfinished training run: nothing done yet"):
        pipeline_folder(folder)
    with pytest.raises(FlipError, match="run is an unfinished training run: nothing done yet"):
        make_method("flip+student", folder)
    with pytest.raises(CheckpointError, match="is not a pipeline"):
        Recipe.read(tmp_path)


def test_the_log_is_the_first_process_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with log(tmp_path):
        log_line("second", quiet=True)
    monkeypatch.setenv("RANK", "0")
    with log(tmp_path):
        log_line("first", quiet=True)
    assert (tmp_path / LOG).read_text().splitlines()[0].endswith(" first")
    assert len((tmp_path / LOG).read_text().splitlines()) == 1


def test_without_torch() -> None:
    code = (
        "import sys\nfrom flipagents.compare import ablation, trainers\nfrom flipagents.store import run_folder\n"
        "trainers.check_options(agent='vdn', learner={'lanes': 3})\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert run_folder.RUN == RUN
