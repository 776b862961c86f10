"""The whole training on phantoms whose masks nobody can read, resumed, and read back by the segmenter."""

from __future__ import annotations

import dataclasses
import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flipenv
from flipenv.config import EnvConfig
from flipenv.episode import shift_box
from flipenv.errors import ConfigError, FlipError

pytest.importorskip("torch", reason="the pipeline trains with torch")
from flipagents.classify.classifier import ClassifierConfig
from flipagents.classify.sites import PatchConfig
from flipagents.compare.methods import make_method, run_method
from flipagents.compare.ours import Found
from flipagents.compare.trainers import PRESETS
from flipagents.learn.config import LearnerConfig
from flipagents.maps.network import StudentConfig
from flipagents.metrics import dice
from flipagents.segment.segmenter import Segmenter
from flipagents.store import run_folder
from flipagents.store.checkpoint import CheckpointError, plain
from flipagents.store.run_folder import LOG, RUN
from flipagents.train.agentless import AGENTLESS
from flipagents.train.pipeline import train_pipeline
from flipagents.train.presets import presets
from tests.train.conftest import ENV, LEARNER, OPTIONS, STUDENT


def train(table: Path, folder: Path, agent: str = "ddqn", **options: Any) -> Path:
    return train_pipeline(f"csv:{table}", None, folder, **{**OPTIONS, "agent": agent, **options})


def test_trains_without_masks_and_segments(table: Path, run: Path) -> None:
    folder = run
    segmenter = Segmenter.from_pretrained(folder, runtime="torch")
    source = flipenv.open_source("phantom:12?first=100&height=96&width=136")  # others than it was trained on
    cases = [source.load(index) for index in range(len(source))]
    masks = segmenter.predict_many([case.image for case in cases], [case.box for case in cases])
    boxes = [np.zeros(case.image.shape, bool) for case in cases]
    for case, mask in zip(cases, boxes, strict=True):
        mask[case.box.rows, case.box.columns] = True
    ours, box = (np.mean([dice(m, case.mask) for m, case in zip(each, cases, strict=True)]) for each in (masks, boxes))
    assert ours > box + 0.03
    shifted = [dataclasses.replace(case, box=shift_box(case.box, 5, -6, case.image.shape)) for case in cases]
    for method in (make_method("flip+student", folder), Found(make_method("polar"), 10, folder)):
        for case, mask in zip(shifted, run_method(method, shifted), strict=True):
            assert mask.shape == case.image.shape
    if find_spec("onnxscript"):
        copy = Segmenter.from_pretrained(folder, runtime="onnx")
        copied = copy.predict_many([case.image for case in cases], [case.box for case in cases])
        assert sum((one != other).sum() for one, other in zip(masks, copied, strict=True)) <= 1
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("tensors.safetensors")}
    exported = {path: path.stat().st_mtime_ns for path in folder.rglob("network.onnx")}
    assert {path.parent.name for path in before} >= {"agent", "classifier", "contour", "student", "locator"}
    again = Segmenter.from_pretrained(train(table, folder), runtime="torch")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("network.onnx")} == exported
    seen = again.predict_many([case.image for case in cases], [case.box for case in cases])
    assert all(np.array_equal(one, other) for one, other in zip(masks, seen, strict=True))
    kept = {path: path.stat().st_mtime_ns for path in folder.rglob("*/*/tensors.safetensors")}
    assert all(kept[path] == before[path] for path in kept if path.parent.name == "classifier")
    students = [folder / name / "tensors.safetensors" for name in ("contour", "student", "locator")]
    assert all(path.stat().st_mtime_ns == before[path] for path in students), "what is done is not done again"
    check_log(folder / LOG)
    check_refusals(table, folder)
    check_unfinished(folder)
    (folder / RUN).unlink()
    with pytest.raises(CheckpointError, match="contour was trained with other options"):
        train(table, folder, student_options={**STUDENT, "epochs": 3})
    assert not (folder / RUN).exists(), "it does not say what earlier parts were made with"


def check_log(log: Path) -> None:
    """Each part says where it began and how it ended, with its epochs and its loss; the second run did nothing anew."""
    lines = [line.split(" ", 2)[2] for line in log.read_text().splitlines()]
    assert all(line.strip() for line in lines)
    first = [line for line in lines if "done in" in line]
    assert [line.partition(":")[0] for line in first] == [
        "classifier", "contour", "stage1", "stage2", "student", "locator"
    ]  # fmt: skip
    assert "epoch 1/1, loss 0." in first[0]
    assert "epoch 3/3, step " in first[2]
    assert ", loss 0." in first[2]
    assert lines.count("stage1: already done") == lines.count("stage2: already done") == 1


def check_refusals(table: Path, folder: Path) -> None:
    """Another run in the same folder is refused by the names of what differs, and the folder stays as it is."""
    before = (folder / RUN).read_bytes()
    for options, message in (
        ({"student_options": {**STUDENT, "epochs": 3}}, r"student\.epochs: 8 then, 3 now"),
        ({"learner_options": {**LEARNER, "lanes": 4}}, r"learner\.lanes: 8 then, 4 now"),
        ({"env_options": {**ENV, "window": 16}}, r"env\.window: 32 then, 16 now"),
        ({"agent": "vdn"}, "agent: 'ddqn' then, 'vdn' now"),
        ({"preset": "paper"}, "preset: 'small' then, 'paper' now"),
    ):
        with pytest.raises(CheckpointError, match=rf"holds another run \({message}"):
            train(table, folder, **options)
    with pytest.raises(CheckpointError, match=r"data: 'csv:.*cases.csv' then, 'phantom:2' now"):
        train_pipeline("phantom:2", None, folder, **OPTIONS)
    assert (folder / RUN).read_bytes() == before
    moved = folder.parent / "moved"
    shutil.copytree(table.parent, moved)
    assert train(moved / table.name, folder) == folder, "the same data may lie elsewhere"
    longer = {**LEARNER, "epochs": 4}
    assert train(table, folder, learner_options=longer) == folder, "its length may differ"


def check_unfinished(folder: Path) -> None:
    """A copy of a run that stopped in stage 2 is said to have."""
    stopped = folder.parent / "stopped"
    shutil.copytree(folder, stopped)
    for name in ("pipeline.json", "student/about.json", "locator/about.json"):
        (stopped / name).unlink()
    for name in ("student", "locator", "stage2/agent"):
        shutil.rmtree(stopped / name)
    message = "is an unfinished training run: classifier, contour, stage1 done, stage2 at epoch 4 of 4; run the same"
    for method in ("flip", "flip+student"):
        with pytest.raises(CheckpointError, match=message):
            make_method(method, stopped)
    (stopped / RUN).unlink()
    with pytest.raises(CheckpointError, match="classifier, stage1 done, stage2 at epoch 4 of 4"):
        Segmenter.from_pretrained(stopped)


@pytest.mark.parametrize("agent", ["sb3-dqn", "sb3-ppo"])
def test_an_agent_with_a_loop_of_its_own(table: Path, tmp_path: Path, agent: str) -> None:
    """It trains both stages, is resumed, and is loaded by the segmenter."""
    pytest.importorskip("stable_baselines3", reason="needs Stable-Baselines3: pip install flip-learning[sb3]")
    with pytest.warns(RuntimeWarning, match="gets no ONNX copy"):
        folder = train(table, tmp_path / "run", agent)
    segmenter = Segmenter.from_pretrained(folder)
    assert [stage.name for stage in segmenter.stages] == [agent, agent]
    case = flipenv.open_source("phantom:1?first=99&height=96&width=136").load(0)
    values = segmenter.map_many([case.image], [case.box])[0]
    assert len(np.unique(values.round(3))) > 5, "it is not equally sure everywhere"
    weights = folder / "stage1" / "agent" / "tensors.safetensors"
    before = weights.read_bytes()
    with pytest.warns(RuntimeWarning, match="gets no ONNX copy"):
        train(table, folder, agent)
    assert weights.read_bytes() == before
    with pytest.raises(CheckpointError, match=f"agent: '{agent}' then, 'vdn' now"):
        train(table, folder, "vdn")


def test_an_unknown_agent_is_named_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'ddqn'"):
        train_pipeline("phantom:2", None, tmp_path / "run", agent="ddpn")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("options", [{"student_options": {"epoch": 3}}, {"device": "cudua"}, {"device": "mps:1"}])
def test_what_does_not_exist_is_named_before_anything_is_trained(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="did you mean"):
        train_pipeline("phantom:2", None, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


VALUES = ("abc", "", [1], [], {}, {"a": 1}, None, 3, -1, 0, True, float("nan"), 1e30, [1, 2, 3, 4], ["x"] * 6, 10**30)
CONFIGS = {
    "env": EnvConfig,
    "learner": LearnerConfig,
    "classifier": ClassifierConfig,
    "patches": PatchConfig,
    "student": StudentConfig,
}


@pytest.mark.parametrize("part", CONFIGS)
def test_a_value_of_the_wrong_kind_is_refused_at_once(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever `--set` may hold: one of the project's own errors, or a run that could begin."""

    class BegunError(Exception):
        pass

    def begin(*_: Any, **options: Any) -> None:
        json.dumps(plain(options["options"]))
        raise BegunError

    monkeypatch.setattr(run_folder, "begin", begin)
    refused = 0
    for field in dataclasses.fields(CONFIGS[part]):
        for value in VALUES:
            own = {field.name: value}
            given = {"classifier_options": {"patches": own}} if part == "patches" else {f"{part}_options": own}
            try:
                train_pipeline("phantom:1", None, "nowhere", progress=False, **given)
            except BegunError:
                continue
            except FlipError:
                refused += 1
    assert refused > 10 * len(dataclasses.fields(CONFIGS[part])) // 2


@pytest.mark.parametrize("option", ["background", "superpixels", "order", "reward", "channels"])
def test_a_part_that_nobody_registered_is_named_at_once(option: str, tmp_path: Path) -> None:
    value = ["nobodys"] if option == "channels" else "nobodys"
    with pytest.raises(ConfigError, match="unknown .* 'nobodys'"):
        train_pipeline("phantom:1", None, tmp_path / "run", env_options={option: value})
    assert not (tmp_path / "run").exists()


def test_presets() -> None:
    assert set(presets()) == {"guided", "paper", "paper-small", "small"} == set(PRESETS), (
        "those that are known without torch"
    )
    assert {name for name, each in presets().items() if not each.env} == set(AGENTLESS)
    paper = presets()["paper"]
    assert paper.recipe.prior is None
    assert paper.students == ()
    assert paper.env[0].prior_weight == 0
    assert paper.env[1].n_channels == 12
    with pytest.raises(ConfigError, match="did you mean 'small'"):
        train_pipeline("phantom:2", None, "nowhere", preset="smal")
