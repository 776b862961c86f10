"""Cases listed in a CSV file."""

import errno
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flipenv.errors import BoxError, ImageError, SourceError
from flipenv.sources import TableSource, Unlabelled, open_source

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
        ("scans/a.png,25,7,5,50", r"line 3: box top=25,left=7,bottom=5,right=50 is empty"),
        ("scans/a.png,5,7,5,50", r"line 3: box top=5,left=7,bottom=5,right=50 is empty"),
        ("scans/c.png,5,7,25,50", r"line 3: image 'scans/c\.png' is not a file in"),
        ("scans,5,7,25,50", r"line 3: image 'scans' is not a file in"),
        (f"{'c' * 300}.png,5,7,25,50", r"c\.png: cannot be read \(File name too long\); shorten it"),
        ("c\0.png,5,7,25,50", r"line 3: image 'c\\x00\.png' is not a file in"),
        (",5,7,25,50", "line 3: column 'image' is empty"),
    ],
)
def test_a_bad_line_fails_alone_and_is_named(folder, line, found):
    good = "scans/b.png,1,1,9,9"
    source = TableSource(write(folder, "image,top,left,bottom,right", good, line, line, good))
    assert len(set(source.ids)) == len(source) == 4
    for index in (1, 2):
        with pytest.raises(SourceError, match=rf"(cases\.csv:? ?)?{found if index == 1 else ''}"):
            source.load(index)
        with pytest.raises(SourceError):
            source.fingerprint(index)
        with pytest.raises(SourceError):
            Unlabelled(source).load(index)
    for index in (0, 3):
        assert source.load(index).box == (1, 1, 9, 9)
        assert pickle.loads(pickle.dumps(source)).fingerprint(index) == source.fingerprint(index)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("scans/a.png,5,7,25", r"line 3: has 4 cells; expected 5: image, top, left, bottom, right"),
        ("scans/a.png,5,7,25,50,1", "line 3: has 6 cells; expected 5"),
        ('"scans/a.png,5,7,25,50', "cannot be read as CSV"),
    ],
)
def test_lines_that_are_no_rows_are_named(folder, line, found):
    path = write(folder, "image,top,left,bottom,right", "scans/b.png,1,1,9,9", line)
    with pytest.raises(SourceError, match=rf"cases\.csv:? ?{found}"):
        TableSource(path)


def test_a_frame_that_is_no_number_fails_alone(folder):
    path = write(folder, "image,frame,top,left,bottom,right", "scans/a.png,x,1,1,9,9", "scans/b.png,,1,1,9,9")
    source = TableSource(path)
    with pytest.raises(SourceError, match=r"line 2: frame='x' is not a whole number; expected the number of a frame"):
        source.load(0)
    assert source.load(1).id == "scans/b"


@pytest.mark.parametrize("content", [None, b"no picture", b""])
def test_a_bad_mask_matters_only_where_it_is_needed(folder, content):
    path = write(folder, "image,x0,y0,x1,y1,mask", "scans/a.png,7,5,50,25,bad.png", "scans/a.png,7,5,50,25,mask.png")
    if content is not None:
        (folder / "bad.png").write_bytes(content)
    source = TableSource(path)
    with pytest.raises((SourceError, ImageError), match=r"bad\.png"):
        source.load(0)
    case = Unlabelled(source).load(0)
    assert (case.box, case.mask, case.id) == ((5, 7, 25, 50), None, "scans/a")
    unlabelled = Unlabelled(source)
    assert unlabelled.ids == source.ids
    assert unlabelled.fingerprint(0) != unlabelled.fingerprint(1)  # the ids differ
    assert source.load(1).mask is not None
    assert unlabelled.load(1).mask is None
    assert unlabelled.fingerprint(1) != source.fingerprint(1)
    before = unlabelled.fingerprint(1)
    Image.fromarray(IMAGE).save(folder / "mask.png")
    assert unlabelled.fingerprint(1) == before


def test_a_closed_folder_fails_alone(folder, monkeypatch):
    there = Path.is_file

    def is_file(path):
        if path.parent.name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied")
        return there(path)

    monkeypatch.setattr(Path, "is_file", is_file)
    source = TableSource(write(folder, "image,x0,y0,x1,y1", "closed/a.png,7,5,50,25", "scans/a.png,7,5,50,25"))
    with pytest.raises(
        SourceError, match=r"closed/a\.png: cannot be read \(Permission denied\); check its permissions"
    ):
        source.load(0)
    assert source.load(1).id == "scans/a"


@pytest.mark.parametrize(
    ("high", "found"), [(77, "grey level 77"), (78, "grey levels 77 and 78"), (76, "grey levels 76 and 77"), (79, None)]
)
def test_a_box_that_shows_one_grey_level_is_refused(folder, high, found):
    flat = IMAGE.copy()
    flat[5:25, 7:50] = 77
    flat[9, 9] = high
    Image.fromarray(flat).save(folder / "flat.png")
    rows = ("flat.png,5,7,25,50", "flat.png,5,7,25,51")
    source = TableSource(write(folder, "image,top,left,bottom,right", *rows))
    assert source.load(1).box == (5, 7, 25, 51)
    if found is None:
        assert source.load(0).box == (5, 7, 25, 50)
    else:
        with pytest.raises(ImageError, match=rf"line 2: all pixels inside the box \(5, 7, 25, 50\) are {found}: "):
            source.load(0)


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
