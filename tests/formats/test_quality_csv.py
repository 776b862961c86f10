"""The table of qualities: what is written is read, and what cannot be meant is refused by file and line."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from flipagents.formats.quality_csv import COLUMNS, NAME, Quality, read_quality, write_quality
from flipagents.store.files import OutputError
from flipenv.errors import ConfigError, SourceError
from flipenv.types import Box

SURE = Quality("a_mask.png", "a", Box(top=5, left=20, bottom=60, right=90), "contour", 1234, 0.91, 0.8, 0.97, True)
MARKED = Quality("b, c_mask.png", 'b, "c"', Box(1, 2, 3, 4), "flip", 0, 0.25, reasons=("no-nodule", "outline-unsure"))
UNKNOWN = Quality("ü_mask.png", "ü", Box(0, 0, 9, 7), "unet:runs/mine", 12)
HEAD = ",".join(COLUMNS)
LINE = "a_mask.png,a,20,5,90,60,contour,1234,0.91,0.8,0.97,true,"


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "out" / NAME
    write_quality(path, [SURE, MARKED, UNKNOWN])
    assert read_quality(path) == [SURE, MARKED, UNKNOWN]
    assert [row.is_marked for row in read_quality(path)] == [False, True, False]
    assert path.read_text("utf-8").splitlines()[:2] == [HEAD, LINE]
    write_quality(path, [])
    assert read_quality(path) == []


def test_written_by_a_spreadsheet(tmp_path: Path) -> None:
    """Columns in another order, one more, blanks, a byte order mark, TRUE."""
    path = tmp_path / NAME
    cells = dict(zip(COLUMNS, LINE.replace("true", "TRUE").split(","), strict=True))
    cells |= {"note": "x"}
    names = sorted(cells)
    path.write_text(",".join(names) + "\r\n" + " , ".join(cells[name] for name in names) + "\r\n\r\n", "utf-8-sig")
    assert read_quality(path) == [SURE]


def test_dice_values_are_rounded(tmp_path: Path) -> None:
    path = tmp_path / NAME
    write_quality(path, [dataclasses.replace(SURE, quality=0.123456, low=0.00001, high=0.99999)])
    (row,) = read_quality(path)
    assert (row.quality, row.low, row.high) == (0.1235, 0.0, 1.0)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"quality": "1.2"}, "quality=1.2; expected a Dice between 0 and 1"),
        ({"quality": "good"}, "quality='good' is not a number"),
        ({"low": "nan"}, "low='nan' is not a number"),
        ({"high": ""}, "expected all three, quality alone, or none"),
        ({"quality": ""}, "expected all three, quality alone, or none"),
        ({"low": "0.98"}, "low=0.98 is above high=0.97"),
        ({"calibrated": "maybe"}, "calibrated='maybe'; expected true or false"),
        ({"area_px": "many"}, "area_px='many' is not a whole number"),
        ({"area_px": "-3"}, "area_px=-3"),
        ({"x1": "20"}, "is empty"),
        ({"mask": "../a_mask.png"}, "expected the name of a file in the folder of the table"),
        ({"mask": "x\\a_mask.png"}, "expected the name of a file in the folder of the table"),
        ({"mask": ""}, "expected the name of a file in the folder of the table"),
        ({"reasons": "no-nodule;Ugly <b>"}, "reason 'Ugly <b>'"),
        ({"mask": "z_mask.png"}, "a second row for z_mask.png"),
    ],
)
def test_faults_name_file_and_line(tmp_path: Path, changes: dict[str, str], fault: str) -> None:
    path = tmp_path / NAME
    good = dict(zip(COLUMNS, LINE.split(","), strict=True))
    lines = [HEAD, ",".join({**good, "mask": "z_mask.png"}.values()), ",".join({**good, **changes}.values())]
    path.write_text("\n".join(lines))
    with pytest.raises(SourceError) as raised:
        read_quality(path)
    assert str(raised.value).startswith(f"{path} line 3: ")
    assert fault in str(raised.value)


def test_a_table_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / NAME
    with pytest.raises(SourceError, match="no_such"):
        read_quality(tmp_path / "no_such.csv")
    path.write_text("image,x0,y0,x1,y1\na.png,1,2,3,4\n")
    with pytest.raises(SourceError, match="line 1: has no column 'mask'"):
        read_quality(path)


@pytest.mark.parametrize(
    "changes", [{"quality": math.nan}, {"low": -0.1}, {"high": None}, {"reasons": ("a;b",)}, {"mask": "a/b.png"}]
)
def test_nothing_is_written_that_cannot_be_read(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        dataclasses.replace(SURE, **changes)


def test_a_table_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_quality(tmp_path / "file" / NAME, [SURE])
    with pytest.raises(ConfigError, match=r"two rows for a_mask\.png"):
        write_quality(tmp_path / NAME, [SURE, SURE])
    assert not (tmp_path / NAME).exists()
