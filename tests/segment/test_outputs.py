"""Pictures of a segmentation, whole or not at all."""

from __future__ import annotations

import dataclasses
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from flipagents.metrics import dice
from flipagents.segment.outputs import output_paths, write_outputs
from flipagents.segment.walk import record
from flipagents.store.files import OutputError, file_names, write_texts
from flipenv.pictures.render import overlay
from flipenv.scorer import ContrastScorer
from flipenv.types import Case


@contextmanager
def small_disk(limit: int = 200) -> Iterator[None]:
    """No file may grow beyond `limit` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_mask_and_overlay(phantoms: list[Case], tmp_path: Path) -> None:
    case = phantoms[1]
    paths = output_paths(tmp_path / "out", "scan", curve=False, gif=False)
    write_outputs(paths, case, case.mask)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["scan_mask.png", "scan_overlay.png"]
    mask = np.asarray(Image.open(paths[0]))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, np.where(case.mask, 255, 0))
    np.testing.assert_array_equal(np.asarray(Image.open(paths[1])), overlay(case.image, case.mask, case.box))
    assert [path.name for path in output_paths(tmp_path, "x", pictures=False, curve=True, gif=False)] == ["x_mask.png"]


@pytest.mark.parametrize("scorer", [None, ContrastScorer()])
def test_curve_and_film(phantoms: list[Case], tmp_path: Path, scorer: ContrastScorer | None) -> None:
    pytest.importorskip("torch", reason="the agents need torch")
    from flipagents.segment.segmenter import Segmenter
    from flipagents.store.recipe import Recipe
    from tests.segment.test_segmenter import tiny_pipeline

    case = phantoms[0]
    segmenter = Segmenter.from_pretrained(tiny_pipeline(tmp_path / "pipeline", votes=({}, {"order": "radial"})))
    recording = record(segmenter, case, scorer=scorer, film=True)
    scene = recording.scene
    assert scene.step == scene.steps == len(scene.areas) - 1
    assert scene.areas[0] == 0
    assert (np.diff(scene.areas) >= 0).all()
    assert scene.areas[-1] == pytest.approx(scene.erased.sum() / (scene.labels >= 0).sum())
    assert np.isfinite(scene.scores).all() == (scorer is not None)
    assert 2 < len(recording.frames) <= 82
    assert not record(segmenter, case).frames
    assert (scene.truth, scene.dices) == (None, [])
    (walked,) = Segmenter(segmenter.stages, Recipe(mirror=False)).map_many([case.image], [case.box])
    assert (walked > 0).sum() / case.mask.size == pytest.approx(
        scene.areas[-1] * case.box.height * case.box.width / case.mask.size, abs=0.02
    )

    paths = output_paths(tmp_path, "scan", curve=True, gif=True)
    write_outputs(paths, case, case.mask, recording)
    assert [path.suffix for path in paths if path.exists()] == [".png", ".png", ".png", ".gif"]
    assert cv2.imread(str(paths[2])).shape == recording.frames[-1].shape
    assert Image.open(paths[3]).n_frames > 2  # type: ignore[attr-defined]


def test_dice_of_each_step(phantoms: list[Case], tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the agents need torch")
    from flipagents.segment.segmenter import Segmenter
    from tests.segment.test_segmenter import tiny_pipeline

    case = phantoms[0]
    segmenter = Segmenter.from_pretrained(tiny_pipeline(tmp_path / "pipeline"))
    unseen = dataclasses.replace(case, mask=None)
    scene = record(segmenter, unseen, truth=case.mask).scene
    assert len(scene.dices) == len(scene.areas)
    assert scene.dices[0] == 0
    assert scene.dices[-1] == dice(scene.erased, scene.truth)
    steps = np.diff(scene.areas) > 0
    assert ((np.diff(scene.dices) != 0) <= steps).all(), "only an erasure changes it"
    again = record(segmenter, unseen)
    np.testing.assert_array_equal(again.scene.erased, scene.erased)
    assert again.mask.shape == case.image.shape
    assert dice(again.mask, case.mask) == pytest.approx(scene.dices[-1], abs=0.05)


def test_a_full_disk_leaves_nothing_half_written(phantoms: list[Case], tmp_path: Path) -> None:
    case = phantoms[0]
    paths = output_paths(tmp_path, "scan", curve=False, gif=False)
    with (
        small_disk(),
        pytest.raises(OutputError, match=r"cannot write .*scan_mask.png.*File too large.*free space on that disk"),
    ):
        write_outputs(paths, case, case.mask)
    assert not list(tmp_path.iterdir())
    write_outputs(paths, case, case.mask)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with small_disk(), pytest.raises(OutputError):
        write_outputs(paths, case, ~case.mask)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_texts_are_written_together(tmp_path: Path) -> None:
    write_texts({tmp_path / "a" / "1.txt": "ä\n", tmp_path / "2.txt": "zwei"})
    assert (tmp_path / "a" / "1.txt").read_bytes() == "ä\n".encode()
    with small_disk(), pytest.raises(OutputError):
        write_texts({tmp_path / "2.txt": "two", tmp_path / "3.txt": "x" * 1000})
    assert (tmp_path / "2.txt").read_text() == "zwei"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2.txt", "a"]


def test_a_place_that_cannot_be_written(phantoms: list[Case], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    paths = output_paths(tmp_path / "file", "scan", curve=False, gif=False)
    with pytest.raises(OutputError, match="choose another folder"):
        write_outputs(paths, phantoms[0], phantoms[0].mask)
    assert (tmp_path / "file").read_text() == "mine"


def test_file_names() -> None:
    assert file_names(["benign (1)", "a/b", "a_b", "A_B", "scan#2", "Größe"]) == [
        "benign (1)",
        "a_b",
        "a_b~2",
        "A_B~3",
        "scan#2",
        "Größe",
    ]
    for given in ("../../etc/passwd", "/abs/x", "..", "C:\\x", "", "a\nb"):
        (name,) = file_names([given])
        assert name
        assert not set(name) & set('/\\:\n"')
        assert not name.startswith(".")
