"""Masks in other tools' formats, read back by those tools."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from flipagents.cli import main
from flipagents.formats.coco import Labelled, coco_json
from flipagents.formats.nifti import nifti_bytes, read_voxels
from flipagents.formats.scans import scan_of
from flipenv.errors import ImageError
from flipenv.sources import CocoSource, open_source, read_image
from flipenv.types import Case


def test_coco_is_read_back(phantoms: list[Case], tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    labelled = []
    for index, case in enumerate(phantoms[:3]):
        cv2.imwrite(str(tmp_path / f"{index}.png"), case.image)
        labelled.append(Labelled(f"{index}.png", case.box, case.mask))
    second = phantoms[0].box._replace(top=phantoms[0].box.top + 3)
    labelled.append(Labelled("0.png", second, np.zeros_like(phantoms[0].mask)))
    (tmp_path / "coco.json").write_text(coco_json(labelled))
    source = CocoSource(tmp_path / "coco.json", category="nodule")
    assert source.ids == ("0-1", "1-2", "2-3", "0-4")
    for index, case in enumerate(phantoms[:3]):
        found = source.load(index)
        np.testing.assert_array_equal(found.mask, case.mask)
        assert found.box == case.box
    assert source.load(3).box == second
    assert not source.load(3).mask.any()
    content = json.loads((tmp_path / "coco.json").read_text())
    assert len(content["images"]) == 3
    assert content["annotations"][0]["area"] == phantoms[0].mask.sum()


@pytest.mark.parametrize("shape", [(50, 30), (50, 30, 1), (50, 30, 1, 1)])
def test_nifti_lies_where_its_image_lies(shape: tuple[int, ...], tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    affine = np.array([[-0.2, 0.05, 0, 7], [0.03, 0.35, 0, -4], [0, 0, 1.5, 2], [0, 0, 0, 1]])
    image = nibabel.Nifti1Image(np.arange(1500, dtype=np.float32).reshape(shape), affine)
    image.header.set_xyzt_units("mm")
    image.header["cal_max"] = 900
    image.set_sform(affine, code=1)
    nibabel.save(image, tmp_path / "scan.nii")
    mask = np.zeros((30, 50), np.bool_)
    mask[3:9, 20:45] = True
    data = nifti_bytes(mask, read_voxels(tmp_path / "scan.nii"))
    assert data == nifti_bytes(mask, read_voxels(tmp_path / "scan.nii"))
    (tmp_path / "mask.nii.gz").write_bytes(data)
    found = nibabel.load(tmp_path / "mask.nii.gz")
    assert found.shape == shape
    assert found.get_data_dtype() == np.uint8
    np.testing.assert_allclose(found.affine, affine, atol=1e-6)
    np.testing.assert_allclose(found.header.get_zooms()[:2], image.header.get_zooms()[:2])
    assert found.header.get_xyzt_units() == image.header.get_xyzt_units()
    assert found.header["sform_code"] == 1
    assert found.header["cal_max"] == 0
    np.testing.assert_array_equal(np.asarray(found.dataobj).reshape(50, 30).T, mask)


def test_nifti_of_an_image_that_lies_nowhere(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    assert read_voxels(tmp_path / "scan.png") is None
    mask = np.eye(4, 7, dtype=np.bool_)
    (tmp_path / "mask.nii.gz").write_bytes(nifti_bytes(mask))
    found = nibabel.load(tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(np.asarray(found.dataobj).T, mask)
    np.testing.assert_array_equal(found.affine, np.eye(4))
    (tmp_path / "bad.nii").write_bytes(b"no")
    with pytest.raises(ImageError, match=r"bad\.nii: cannot be read as NIfTI"):
        read_voxels(tmp_path / "bad.nii")


def test_scores_and_attributes(phantoms: list[Case]) -> None:
    pytest.importorskip("pycocotools")
    case = phantoms[0]
    told = {"quality_low": 0.7, "reasons": ["box-off"]}
    rated = [Labelled("a.png", case.box, case.mask, score=0.8, attributes=told), Labelled("b.png", case.box, case.mask)]
    first, second = json.loads(coco_json(rated))["annotations"]
    assert (first["score"], first["attributes"]) == (0.8, told)
    assert not {"score", "attributes"} & set(second)


def test_the_command_exports(phantoms: list[Case], tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    pytest.importorskip("pycocotools")
    case, out = phantoms[1], tmp_path / "out"
    affine = np.diag([0.1, 0.2, 1, 1])
    nibabel.save(nibabel.Nifti1Image(case.image.T, affine), tmp_path / "scan.nii.gz")
    box = [str(value) for value in (case.box.left, case.box.top, case.box.right, case.box.bottom)]
    words = ["segment", str(tmp_path / "scan.nii.gz"), "--box", *box, "-o", str(out), "--method", "ellipse"]
    assert main([*words, "--export", "coco", "nifti"]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "coco.json",
        "quality.csv",
        "scan_mask.nii.gz",
        "scan_mask.png",
        "scan_overlay.png",
    ]
    expected = cv2.imread(str(out / "scan_mask.png"), cv2.IMREAD_GRAYSCALE) > 0
    found = nibabel.load(out / "scan_mask.nii.gz")
    np.testing.assert_allclose(found.affine, affine)
    np.testing.assert_array_equal(np.asarray(found.dataobj).T > 0, expected)
    nibabel.save(nibabel.load(tmp_path / "scan.nii.gz"), out / "scan.nii.gz")
    np.testing.assert_array_equal(CocoSource(out / "coco.json").load(0).mask, expected)


def test_coco_holds_what_earlier_runs_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pycocotools")
    words = ["segment", "phantom:3?height=80&width=112", "-o", str(tmp_path), "--method", "box"]
    assert main(words) == 0
    assert not (tmp_path / "coco.json").exists()
    assert main([*words, "--export", "coco"]) == 0
    assert "3 already done" in capsys.readouterr().out
    content = json.loads((tmp_path / "coco.json").read_text())
    assert [each["file_name"] for each in content["images"]] == [f"phantom-000{index}.png" for index in range(3)]
    assert scan_of(open_source("phantom:1"), 0) is None


@pytest.mark.parametrize(
    ("export", "module", "extra"),
    [("coco", "pycocotools.mask", "coco"), ("nifti", "nibabel", "medical"), ("dicom-seg", "highdicom", "seg")],
)
def test_what_an_export_needs_is_said_first(
    export: str,
    module: str,
    extra: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    words = ["segment", "phantom:1?height=80&width=112", "-o", str(tmp_path / "out"), "--method", "box"]
    assert main([*words, "--export", export]) == 2
    told = capsys.readouterr().err
    assert f"--export {export} needs the package" in told
    assert f"flip-learning[{extra}]" in told
    assert not (tmp_path / "out").exists()


def test_shares_leave_the_one_coco_file_to_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pycocotools")
    words = ["segment", "phantom:3?height=80&width=112", "-o", str(tmp_path), "--method", "box", "--only-masks"]
    assert main([*words, "--export", "coco", "--shard", "1/2"]) == 2
    assert "once without --shard" in capsys.readouterr().err
    for share in ("1/2", "2/2"):
        assert main([*words, "--shard", share]) == 0
    assert main([*words, "--export", "coco"]) == 0
    assert "0 segmented" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "coco.json").read_text())["annotations"]) == 3


def segment(*words: object) -> int:
    return main(["segment", *map(str, words), "--method", "ellipse", "--only-masks", "--quiet"])


@pytest.fixture
def same_names(tmp_path: Path) -> Path:
    """A table of two images of one name and different sizes, in two folders."""
    rng = np.random.default_rng(0)
    for name, shape in (("left", (60, 90)), ("right", (70, 50))):
        (tmp_path / "scans" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "scans" / name / "scan.png"), rng.integers(0, 255, shape, np.uint8))
    (tmp_path / "scans" / "t.csv").write_text(
        "image,x0,y0,x1,y1\nleft/scan.png,10,20,40,50\nright/scan.png,5,6,25,46\n"
    )
    return tmp_path


def test_images_of_one_name_are_two_images_and_are_found_again(same_names: Path) -> None:
    pytest.importorskip("pycocotools")
    out = same_names / "results" / "first"
    assert segment(same_names / "scans" / "t.csv", "-o", out, "--export", "coco") == 0
    content = json.loads((out / "coco.json").read_text())
    names = [f"../../scans/{name}/scan.png" for name in ("left", "right")]
    assert [each["file_name"] for each in content["images"]] == names
    assert [(each["height"], each["width"]) for each in content["images"]] == [(60, 90), (70, 50)]
    again = CocoSource(out / "coco.json")
    masks = [again.load(index).mask for index in range(2)]
    assert segment(out / "coco.json", "-o", same_names / "again") == 0
    written = [read_image(path) > 0 for path in sorted((same_names / "again").glob("*.png"))]
    for before, after in zip(masks, written, strict=True):
        np.testing.assert_array_equal(before, after)


def test_ids_and_categories_join_with_the_input(same_names: Path) -> None:
    pytest.importorskip("pycocotools")
    boxes: dict[str, Any] = {
        "images": [{"id": 70 + n, "file_name": f"{name}/scan.png"} for n, name in enumerate(("left", "right"))],
        "annotations": [
            {"id": 9, "image_id": 71, "category_id": 5, "bbox": [5, 6, 20, 40]},
            {"id": 4, "image_id": 70, "category_id": 3, "bbox": [10, 20, 30, 30]},
            {"id": 6, "image_id": 70, "category_id": 5, "bbox": [1, 2, 10, 12]},
            {"id": 8, "image_id": 70, "category_id": 5, "bbox": [1, 2, 50, 50], "iscrowd": 1},
        ],
        "categories": [{"id": 3, "name": "cyst"}, {"id": 5, "name": "tumour", "supercategory": "lesion"}],
    }
    (same_names / "scans" / "boxes.json").write_text(json.dumps(boxes))
    assert segment(same_names / "scans" / "boxes.json", "-o", same_names / "out", "--export", "coco") == 0
    content = json.loads((same_names / "out" / "coco.json").read_text())
    assert content["categories"] == boxes["categories"]
    found = {each["id"]: each for each in content["annotations"]}
    assert set(found) == {9, 4, 6}
    for each in boxes["annotations"][:3]:
        assert {name: found[each["id"]][name] for name in each} == each
    assert {each["id"]: each["file_name"] for each in content["images"]} == {
        71: "../scans/right/scan.png",
        70: "../scans/left/scan.png",
    }
