"""Mended masks teach: here the upper half of each box, against a foundation model that sees the lower one."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flipenv
from flipagents.cli import main
from flipagents.segment.corrections import Correction, CorrectionError, Subject, write_corrections
from flipagents.segment.mend import Mender
from flipagents.segment.outputs import mask_bytes
from flipagents.store.checkpoint import CheckpointError
from flipagents.store.run_folder import LOG, RUN, begin
from flipagents.train.corrections import read_mended
from flipenv.errors import ConfigError, FlipError, ImageError, MaskError
from flipenv.pixels import Mask
from flipenv.types import Box, Case
from tests.train.conftest import STUDENT


def cases_of(table: Path) -> list[Case]:
    source = flipenv.open_source(f"csv:{table}")
    return [source.load(index) for index in range(len(source))]


def filled(case: Case, part: Callable[[Box], Any] = lambda box: (box.rows, box.columns)) -> Mask:
    mask = np.zeros(case.image.shape, bool)
    mask[part(case.box)] = True
    return mask


def upper(case: Case) -> Mask:
    return filled(case, lambda box: np.s_[box.top : box.top + box.height // 2, box.columns])


def write(folder: Path, name: str, case: Case, mask: Mask, *, clicks: int = 1) -> Path:
    """A mask as the page writes it into masks.zip: without origin."""
    folder.mkdir(exist_ok=True)
    middle = case.box.top + case.box.height // 2, case.box.left + case.box.width // 2
    corrections = [Correction(*middle, "pass", 1.0, 9.0)] * clicks
    write_corrections(folder / f"{name}_corrections.json", Subject.of(case.image, case.box, filled(case)), corrections)
    path = folder / f"{name}_mask.png"
    path.write_bytes(mask_bytes(mask))
    return path


@pytest.fixture
def mended(table: Path, tmp_path: Path) -> Path:
    """The upper halves of all boxes; one of another image beside them."""
    for index, case in enumerate(cases_of(table)):
        write(tmp_path / "mended", f"case{index}", case, upper(case))
    other = flipenv.open_source("phantom:1?first=50&height=96&width=136").load(0)
    write(tmp_path / "mended", "other", other, upper(other))
    return tmp_path / "mended"


def test_a_mask_belongs_to_pixels_and_box(table: Path, tmp_path: Path) -> None:
    cases, folder = cases_of(table), tmp_path / "out"
    for index in (2, 5):
        write(folder, f"any{index}", cases[index], upper(cases[index]))
    write(folder, "seen", cases[7], upper(cases[7]), clicks=0)
    top, left, bottom, right = cases[3].box
    write(folder, "moved", Case(cases[3].image, Box(top, left, bottom, right - 1)), upper(cases[3]))
    found = read_mended(folder, flipenv.open_source(f"csv:{table}"))
    assert set(found.masks) == {2, 5}
    for index, mask in found.masks.items():
        np.testing.assert_array_equal(mask, upper(cases[index]))
    assert found.summary() == (
        "corrections: 2 of 12 training images are taught by mended masks; unused, as the pixels of the image and the "
        "box must be the same as in the training data: moved_mask.png "
        "(1 of them of a training image with another box); "
        "masks without a correction, which do not count: 1"
    )
    record = found.record()
    assert (record["images"], record["of"]) == (2, 12)
    write(folder, "any5", cases[5], filled(cases[5], lambda box: np.s_[box.rows, box.left : box.left + 4]))
    assert read_mended(folder, flipenv.open_source(f"csv:{table}")).record()["digest"] != record["digest"]


def test_masks_of_the_command_line(table: Path, tmp_path: Path) -> None:
    with table.open() as file:
        row = list(csv.DictReader(file))[4]
    case, out = cases_of(table)[4], tmp_path / "out"
    left, top = case.box.left, case.box.top
    words = ["segment", str(table.parent / row["image"]), "--box", *(row[name] for name in ("left", "top"))]
    words += [*(row[name] for name in ("right", "bottom")), "--method", "box", "-o", str(out), "-q"]
    assert main([*words, "--points", f"{left + 2},{top + 2}-"]) == 0
    source = flipenv.open_source(f"csv:{table}")
    found = read_mended(out, source)
    mender = Mender(case.image, case.box, filled(case))
    mender.click(top + 2, left + 2, "pass")
    assert set(found.masks) == {4}
    np.testing.assert_array_equal(found.masks[4], mender.mask)
    (corrections,) = out.glob("*_corrections.json")
    told = corrections.read_text()
    corrections.write_text(told.replace(f'"row": {top + 2}', f'"row": {top + 3}'))
    with pytest.raises(CorrectionError, match="is not the mask after the corrections in"):
        read_mended(out, source)
    corrections.write_text(told)
    kept = corrections.read_bytes()
    assert main([*words, "--overwrite"]) == 0, "the mask without clicks, whose files replace those with them"
    with pytest.raises(ConfigError, match=r"has no mended mask \(0 files"):
        read_mended(out, source)
    corrections.write_bytes(kept)
    with pytest.raises(CorrectionError, match="is not the mask after the corrections in"):
        read_mended(out, source)


def test_a_click_may_change_nothing(table: Path, tmp_path: Path) -> None:
    case = cases_of(table)[0]
    mender = Mender(case.image, case.box, filled(case))
    mender.click(case.box.top + 3, case.box.left + 3, "erase")
    np.testing.assert_array_equal(mender.mask, filled(case))
    write(tmp_path / "out", "same", case, mender.mask)
    write_corrections(tmp_path / "out" / "same_corrections.json", mender.subject, mender.corrections)
    found = read_mended(tmp_path / "out", flipenv.open_source(f"csv:{table}"))
    np.testing.assert_array_equal(found.masks[0], filled(case))


def unmended(folder: Path, case: Case) -> None:
    (folder / "a_mask.png").write_bytes(mask_bytes(filled(case)))


def missing(folder: Path, case: Case) -> None:
    (folder / "a_mask.png").unlink()


def cut_off(folder: Path, case: Case) -> None:
    path = folder / "a_mask.png"
    path.write_bytes(path.read_bytes()[:-6])


def damaged(folder: Path, case: Case) -> None:
    path = folder / "a_mask.png"
    data = path.read_bytes()
    path.write_bytes(data[:60] + bytes(20) + data[80:])


def small(folder: Path, case: Case) -> None:
    (folder / "a_mask.png").write_bytes(mask_bytes(upper(case)[:, 1:]))


def empty(folder: Path, case: Case) -> None:
    (folder / "a_mask.png").write_bytes(mask_bytes(np.zeros(case.image.shape, bool)))


def twice(folder: Path, case: Case) -> None:
    write(folder, "b", case, upper(case))


def foreign(folder: Path, case: Case) -> None:
    (folder / "a_corrections.json").write_text('{"format": "flip corrections 1", "image": 5}')


def strange_box(folder: Path, case: Case) -> None:
    path = folder / "a_corrections.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "box": [1, 2, [3], 4]}))


def unclicked(folder: Path, case: Case) -> None:
    write(folder, "a", case, upper(case), clicks=0)


def of_others(folder: Path, case: Case) -> None:
    top, left, bottom, right = case.box
    write(folder, "a", Case(case.image, Box(top + 1, left, bottom, right)), upper(case))
    write(folder, "b", Case(case.image[:, ::-1].copy(), case.box), upper(case))


def nowhere(folder: Path, case: Case) -> None:
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (
            unmended,
            CorrectionError,
            r"a_mask\.png: is not the mask after the corrections in a_corrections\.json; mend it",
        ),
        (missing, CorrectionError, r"a_corrections\.json: its mask a_mask\.png is missing; put it back, or remove"),
        (cut_off, CorrectionError, r"a_mask\.png: is truncated; mend it again, or remove a_corrections\.json"),
        (damaged, ImageError, r"a_mask\.png"),
        (small, MaskError, r"a_mask\.png: mask is 96x135 but its image is 96x136"),
        (empty, CorrectionError, r"a_mask\.png: is empty, but a box of the training data holds a nodule"),
        (twice, ConfigError, r"a_mask\.png and b_mask\.png are masks of the same image and box; remove one"),
        (foreign, CorrectionError, r"a_corrections\.json: is not a file of corrections"),
        (strange_box, CorrectionError, r"a_corrections\.json: is not a file of corrections .*four whole numbers"),
        (unclicked, ConfigError, r"has no mended mask \(1 files _corrections\.json, 1 of them without a correction\)"),
        (
            of_others,
            ConfigError,
            r"none of its 2 mended masks belongs to any of the 12 training images; the pixels .* and the box must be "
            r"the same .*: a_mask\.png, b_mask\.png \(1 of them of a training image with another box\)",
        ),
        (nowhere, ConfigError, r"out is not a folder; expected one with NAME_mask\.png and NAME_corrections\.json"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_refused(
    table: Path, tmp_path: Path, fault: Callable[[Path, Case], None], error: type[FlipError], message: str
) -> None:
    case, folder = cases_of(table)[6], tmp_path / "out"
    write(folder, "a", case, upper(case))
    source = flipenv.open_source(f"csv:{table}")
    assert set(read_mended(folder, source).masks) == {6}
    fault(folder, case)
    with pytest.raises(error, match=message):
        read_mended(folder, source)


def test_refused_before_anything_is_computed(
    table: Path, mended: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--data", str(table), "--out", str(tmp_path / "run"), "--corrections"]
    assert main([*words, str(mended), "--method", "unet"]) == 2
    assert "mended masks teach method 'flip', not 'unet'; omit --corrections, or --method" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "none")]) == 2
    assert "none is not a folder" in capsys.readouterr().err
    code = (
        "import sys\nfrom flipagents.compare.trainers import check_training\n"
        f"options = {{'corrections': {str(mended)!r}}}\n"
        f"check_training('flip', 'csv:{table}', None, {str(tmp_path / 'run')!r}, options=options)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert not (tmp_path / "run").exists()


def test_other_masks_are_another_run(tmp_path: Path) -> None:
    what: dict[str, Any] = {"preset": "small", "agent": "ddqn", "data": "phantom:2", "val": None}
    what |= {"options": {}, "parts": ["contour"]}
    one, other = ({"images": 2, "of": 2, "digest": each} for each in "ab")
    begin(tmp_path / "run", **what, corrections=one)
    begin(tmp_path / "run", **what, corrections=one)
    for now, message in ((other, "2 mended masks then, other ones now"), (None, "2 mended masks then, none now")):
        with pytest.raises(CheckpointError, match=rf"holds another run \(corrections: {message}\)"):
            begin(tmp_path / "run", **what, corrections=now)
    begin(tmp_path / "bare", **what)
    with pytest.raises(CheckpointError, match=r"\(corrections: none then, 2 mended masks now\)"):
        begin(tmp_path / "bare", **what, corrections=one)
    (tmp_path / "old" / "contour").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"holds a run without run\.json, taught by no mended mask; give"):
        begin(tmp_path / "old", **what, corrections=one)


def test_what_learns_from_masks(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prior's network and the first student; the second one learns the first one's maps."""
    pytest.importorskip("torch", reason="the networks are trained with torch")
    from flipagents.learn.config import LearnerConfig
    from flipagents.maps import training
    from flipagents.maps.contour import rule_maps
    from flipagents.maps.network import Student, StudentConfig
    from flipagents.store.recipe import CONTOUR, Recipe
    from flipagents.train import pipeline

    learned: dict[str, Sequence[Any]] = {}

    def distil(cases: Any, maps: Sequence[Any], config: StudentConfig, *, title: str, **_: Any) -> Student:
        learned[title] = maps
        return Student(config)

    monkeypatch.setattr(training, "distil", distil)
    monkeypatch.setattr(pipeline, "distil", distil)
    source, cases, config = flipenv.open_source(f"csv:{table}"), cases_of(table), StudentConfig(**STUDENT)
    rules = rule_maps(cases)
    masks = {3: upper(cases[3]), 8: upper(cases[8])}
    recipe = Recipe(stages=(), prior=CONTOUR)
    pipeline.train_stages(
        source, {}, tmp_path, learner=LearnerConfig.small(), scorer=None, recipe=recipe, contour=config, mended=masks
    )
    guides = [np.zeros_like(own) for own in rules]
    pipeline.teach(
        source, tmp_path, {"student": config, "locator": config}, guides=guides, mended=masks, progress=False
    )
    for name, share in ((CONTOUR, 1.0), ("student", 0.35)):
        for index, (own, rule) in enumerate(zip(learned[name], rules, strict=True)):
            np.testing.assert_allclose(own, masks[index] if index in masks else share * rule, err_msg=name)
            assert own.dtype == np.float32
    given = Student.load(tmp_path / "student").maps([cases[3].image], [cases[3].box])
    np.testing.assert_allclose(learned["locator"][3], next(iter(given)), atol=1e-6)


def test_networks_learn_what_a_person_mended(
    table: Path, mended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="the networks are trained with torch")
    pytest.importorskip("monai", reason="their loss is MONAI's")
    from flipagents.maps import litemedsam
    from flipagents.segment.loading import load_student
    from flipagents.train import guide
    from flipagents.train.shipping import ship
    from tests.train.test_guide import LowerHalf, lower_share

    monkeypatch.setattr(litemedsam, "LiteMedSAM", LowerHalf)
    monkeypatch.setattr(guide, "find_spec", lambda name: name)
    run, source = tmp_path / "run", flipenv.open_source("phantom:8?first=100&height=96&width=136")
    words = ["train", "--data", str(table), "--out", str(run), "--preset", "guided", "-q", "--set", "student.batch=4"]
    words += ["student.epochs=20", "student.warp=0", f"student.features={list(STUDENT['features'])}"]
    assert main([*words, "--corrections", str(mended)]) == 0
    cases = [source.load(index) for index in range(len(source))]
    images, boxes = [case.image for case in cases], [case.box for case in cases]
    share = lower_share(list(load_student("student", run).maps(images, boxes)), cases)
    assert share < 0.45, "without these masks it is above 0.55, see test_guide"
    assert "12 of 12 training images are taught by mended masks; unused, as " in (run / LOG).read_text()
    told = json.loads((run / RUN).read_text())["corrections"]
    assert (told["images"], told["of"]) == (12, 12)
    ship(run, tmp_path / "weights", licence="MIT")
    card = (tmp_path / "weights" / "README.md").read_text()
    assert (
        "**12 of 12 training images were taught by masks that a person mended: these are masks** "
        f"(digest {told['digest']}). No other mask was read."
    ) in card
    assert "of the images without a mended mask (see Data) most of what they learned is its maps.**" in card
    assert "o mask was read" not in card
    assert "No mask of the training images" not in card
    assert main(words) == 2, "without the masks it is another run"
    (mended / "case3_corrections.json").unlink()
    assert main([*words, "--corrections", str(mended)]) == 2


def test_a_preset_without_networks_to_teach(table: Path, mended: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the presets need torch")
    from flipagents.train.pipeline import train_pipeline

    with pytest.raises(ConfigError, match="preset 'paper-small' has no network that mended masks could teach"):
        train_pipeline(f"csv:{table}", None, tmp_path / "run", preset="paper-small", corrections=mended)
    assert not (tmp_path / "run").exists()
