"""Cases listed in a CSV file."""

import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from flipenv.errors import BoxError, SourceError
from flipenv.sources import TableSource, open_source

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data" / "scans").mkdir(parents=True)
    for name, array in {"scans/a": IMAGE, "scans/b": 255 - IMAGE, "mask": (IMAGE > 99) * np.uint8(255)}.items():
        Image.fromarray(array).save(tmp_path / "data" / f"{name}.png")
    return tmp_path / "data"


def write(folder, *lines):
    path = folder / "cases.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_both_box_conventions_are_the_same_box(folder):
    rows = TableSource(write(folder, "image,top,left,bottom,right", "scans/a.png,5,7,25,50.0"))
    columns = TableSource(write(folder, "image,x0,y0,x1,y1", "scans/a.png,7,5,50,25"))
    assert rows.load(0).box == columns.load(0).box == (5, 7, 25, 50)
    assert rows.fingerprint(0) == columns.fingerprint(0)


def test_all_columns(folder):
    path = write(
        folder,
        "\ufeffimage, top,left,bottom,right,mask,coarse,background,id,split,spacing",
        "scans/a.png,5,7,25,50,mask.png,mask.png,scans/b.png,first,train,0.1",
        "",
        '"scans/b.png",0,0,40,60,,,,second,test,',
    )
    source = open_source(f"csv:{path}")
    assert source.ids == ("first", "second")
    case = source.load(0)
    np.testing.assert_array_equal(case.image, IMAGE)
    np.testing.assert_array_equal(case.mask, IMAGE > 99)
    np.testing.assert_array_equal(case.coarse, IMAGE > 99)
    np.testing.assert_array_equal(case.background, 255 - IMAGE)
    assert case.meta == {"split": "train", "spacing": "0.1"}
    assert source.load(1).mask is None
    assert open_source(f"csv:{path}?split=test").ids == ("second",)
    with pytest.raises(SourceError, match=r"cases\.csv: unknown split 'tset': did you mean 'test'"):
        open_source(f"csv:{path}?split=tset")
    with pytest.raises(SourceError, match=r"has no column 'spilt'; unknown column 'spilt': did you mean 'split'"):
        open_source(f"csv:{path}?spilt=test")


def test_ids_come_from_the_image(folder):
    line = "scans/a.png,5,7,25,50"
    assert TableSource(write(folder, "image,top,left,bottom,right", line, line, "scans/b.png,1,1,9,9")).ids == (
        "scans/a",
        "scans/a#2",
        "scans/b",
    )


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("scans/a.png,5,seven,25,50", r"line 3: left='seven' is not a whole number"),
        ("scans/a.png,5,7.5,25,50", r"line 3: left='7\.5' is not a whole number"),
        ("scans/a.png,5,,25,50", r"line 3: left='' is not a whole number"),
        ("scans/a.png,5,inf,25,50", r"line 3: left='inf' is not a whole number"),
        ("scans/a.png,25,7,5,50", r"line 3: box top=25,left=7,bottom=5,right=50 holds no pixel"),
        ("scans/a.png,5,7,25", r"line 3: has 4 cells; expected 5: image, top, left, bottom, right"),
        ("scans/a.png,5,7,25,50,1", "line 3: has 6 cells; expected 5"),
        ("scans/c.png,5,7,25,50", r"line 3: image 'scans/c\.png' is not a file in"),
        (",5,7,25,50", "line 3: the cell of 'image' is empty"),
        ('"scans/a.png,5,7,25,50', "is not a readable CSV"),
    ],
)
def test_bad_lines_are_named(folder, line, found):
    path = write(folder, "image,top,left,bottom,right", "scans/b.png,1,1,9,9", line)
    with pytest.raises(SourceError, match=rf"cases\.csv:? ?{found}"):
        TableSource(path)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("img,top,left,bottom,right", "has no column 'image'; unknown column 'image'"),
        ("image,top,left,bottom,rigth", "expected box columns top,left,bottom,right or x0,y0,x1,y1"),
        ("image;top;left;bottom;right", "separated by semicolons"),
        ("image,top,top,bottom,right", "a column appears twice"),
        ("", "has no header line"),
    ],
)
def test_bad_headers(folder, header, found):
    with pytest.raises(SourceError, match=rf"cases\.csv.*{found}"):
        TableSource(write(folder, header, "scans/a.png,5,7,25,50"))


def test_other_bad_tables(folder):
    with pytest.raises(SourceError, match="found both"):
        TableSource(write(folder, "image,top,left,bottom,right,x0,y0,x1,y1", "scans/a.png,5,7,25,50,7,5,50,25"))
    with pytest.raises(SourceError, match="header but no rows"):
        TableSource(write(folder, "image,top,left,bottom,right"))
    with pytest.raises(SourceError, match=r"ids are not unique: 'x' \(2 times\)"):
        TableSource(write(folder, "image,x0,y0,x1,y1,id", *["scans/a.png,7,5,50,25,x"] * 2))
    (folder / "cases.csv").write_bytes(b"image\xff\xfe")
    with pytest.raises(SourceError, match=r"cases\.csv: is not UTF-8 text"):
        TableSource(folder / "cases.csv")
    with pytest.raises(SourceError, match="is a folder; expected a CSV file"):
        TableSource(folder)


def test_a_box_outside_its_image(folder):
    source = TableSource(write(folder, "image,top,left,bottom,right", "scans/a.png,5,7,50,25"))
    with pytest.raises(BoxError, match=r"cases\.csv line 2: box \(5, 7, 50, 25\) reaches outside its image"):
        source.load(0)


def test_fingerprint_and_pickle(folder, tmp_path):
    path = write(folder, "image,x0,y0,x1,y1,mask", "scans/a.png,7,5,50,25,mask.png")
    source = pickle.loads(pickle.dumps(TableSource(path)))
    before = source.fingerprint(0)
    assert source.load(0).box == (5, 7, 25, 50)
    shutil.copytree(folder, tmp_path / "moved")
    assert TableSource(tmp_path / "moved" / "cases.csv").fingerprint(0) == before
    Image.fromarray(IMAGE).save(folder / "mask.png")
    assert source.fingerprint(0) != before
    path = write(tmp_path / "moved", "image,x0,y0,x1,y1,mask", "scans/a.png,7,5,50,26,mask.png")
    assert TableSource(path).fingerprint(0) != before
