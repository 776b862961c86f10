"""Films: one frame of a file with several, from the command line, from tables, to COCO and back."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from flipagents.cli import main
from flipagents.compare.methods import make_method, run_method
from flipenv.errors import SourceError
from flipenv.sources import CocoSource, TableSource
from flipenv.types import Case


@pytest.fixture
def film(tmp_path: Path, phantoms: list[Case]) -> Path:
    """A TIFF of two frames, the second turned upside down."""
    first, second = (Image.fromarray(image) for image in (phantoms[0].image, phantoms[0].image[::-1]))
    first.save(tmp_path / "film.tif", save_all=True, append_images=[second])
    return tmp_path / "film.tif"


def turned(case: Case) -> Case:
    """The case as it is in the second frame."""
    height = case.image.shape[0]
    return Case(case.image[::-1], (height - case.box.bottom, case.box.left, height - case.box.top, case.box.right))


def xyxy(case: Case) -> list[str]:
    return [str(case.box[side]) for side in (1, 0, 3, 2)]


def test_one_frame(film: Path, phantoms: list[Case], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case, out = turned(phantoms[0]), tmp_path / "out"
    words = ["segment", str(film), "--box", *xyxy(case), "-o", str(out), "--method", "polar"]
    for more, told in (([], "has 2 frames"), (["--frame", "2"], "has no frame 2"), (["--frame", "-1"], "no frame -1")):
        assert main([*words, *more]) == 2
        assert told in capsys.readouterr().err
    assert main([*words, "--frame", "1"]) == 0
    found = cv2.imread(str(out / "film-frame1_mask.png"), cv2.IMREAD_GRAYSCALE) > 0
    np.testing.assert_array_equal(found, run_method(make_method("polar"), [case])[0])


def test_a_table_and_coco(film: Path, phantoms: list[Case], tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    cases, table, out = [phantoms[0], turned(phantoms[0])], tmp_path / "cases.csv", tmp_path / "out"
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "x0", "y0", "x1", "y1", "frame"])
        rows.writerows([film.name, *xyxy(case), frame] for frame, case in enumerate(cases))
    source = TableSource(table)
    assert source.ids == ("film-frame0", "film-frame1")
    assert source.fingerprint(0) != source.fingerprint(1)
    assert main(["segment", str(table), "-o", str(out), "--method", "polar", "--export", "coco"]) == 0
    expected = run_method(make_method("polar"), cases)
    (out / film.name).write_bytes(film.read_bytes())
    again = CocoSource(out / "coco.json")
    assert again.ids == ("film-frame0-1", "film-frame1-2")
    for index, case in enumerate(cases):
        np.testing.assert_array_equal(again.load(index).image, case.image)
        np.testing.assert_array_equal(again.load(index).mask, expected[index])
    content = json.loads((out / "coco.json").read_text())
    content["images"][0]["frame"] = "first"
    (out / "coco.json").write_text(json.dumps(content))
    with pytest.raises(SourceError, match="frame 'first' of its image is not a frame number"):
        CocoSource(out / "coco.json").load(0)


def test_a_table_that_names_no_frame(film: Path, phantoms: list[Case], tmp_path: Path) -> None:
    line = ",".join([film.name, *xyxy(phantoms[0])])
    (tmp_path / "cases.csv").write_text(f"image,x0,y0,x1,y1,frame\n{line},1.5\n")
    with pytest.raises(SourceError, match=r"frame='1\.5' is not a whole number; expected the number of a frame"):
        TableSource(tmp_path / "cases.csv").load(0)


def test_frames_are_for_one_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", "phantom:1", "--frame", "1", "-o", str(tmp_path)]) == 2
    assert "--frame 1 belongs to one image" in capsys.readouterr().err
