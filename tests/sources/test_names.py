"""What images are called: the file name without its image suffix, and nothing else is cut."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flipenv.sources import CocoSource, TableSource
from flipenv.sources.files import image_name


@pytest.mark.parametrize("suffix", ["nii.gz", "nii", "dcm", "dicom", "png", "jpg", "jpeg", "tif", "tiff", "bmp"])
@pytest.mark.parametrize("name", ["1.2.840.55555.1.7", "P003.2021.left", "scan", "a/b.c/scan v1.2", "a.png", ".hidden"])
def test_only_the_image_suffix_goes(name: str, suffix: str) -> None:
    assert image_name(f"{name}.{suffix}") == image_name(f"{name}.{suffix.upper()}") == name


@pytest.mark.parametrize(
    "name", ["1.2.840.55555.1.7", "scan", "notes.txt", ".png", "a/.nii.gz", "a\\.dcm", "scan.gz", ""]
)
def test_what_has_no_image_suffix_stays_whole(name: str) -> None:
    assert image_name(name) == name


NAMES = [
    "1.2.840.55555.1.7",
    "1.2.840.55555.1.8",
    "P003.2021.left.nii.gz",
    "P003.2021.right.nii.gz",
    "7.1.dcm",
    "7.2.dcm",
]
IDS = ("1.2.840.55555.1.7", "1.2.840.55555.1.8", "P003.2021.left", "P003.2021.right", "7.1", "7.2")


def test_ids_of_a_table(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).touch()
    table = tmp_path / "t.csv"
    table.write_text("image,x0,y0,x1,y1\n" + "".join(f"./{name},1,2,9,8\n" for name in NAMES))
    assert TableSource(table).ids == IDS


def test_ids_of_a_coco_file(tmp_path: Path) -> None:
    for name in NAMES:
        Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / name, "PNG")
    content = {
        "images": [{"id": number, "file_name": name} for number, name in enumerate(NAMES)],
        "annotations": [{"id": 5, "image_id": 0, "bbox": [1, 2, 3, 4]}, {"id": 6, "image_id": 3, "bbox": [1, 2, 3, 4]}],
    }
    (tmp_path / "c.json").write_text(json.dumps(content))
    assert CocoSource(tmp_path / "c.json").ids == ("1.2.840.55555.1.7-5", "P003.2021.right-6")
