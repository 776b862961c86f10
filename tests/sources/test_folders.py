"""Subject folders in the form of the paper's authors."""

import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from flipenv.errors import BoxError, ImageError, MaskError, SourceError
from flipenv.sources import FolderSource, open_source

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60)).astype(np.uint8)


def add(root, name, corners=(5, 7, 25, 50), **pictures):
    folder = root / name
    folder.mkdir(parents=True)
    np.save(folder / "nodule.npy", np.array(corners))
    for stem, array in {"data": IMAGE, **pictures}.items():
        Image.fromarray(array).save(folder / f"{stem}.png")
    return folder


def test_a_folder_is_a_case(tmp_path):
    mask = np.zeros_like(IMAGE)
    mask[6:20, 8:49] = 255
    add(tmp_path, "case 10", data_crop=255 - IMAGE, mask=mask)
    add(tmp_path, "case 2", corners=(0, 0, 40, 60))
    (tmp_path / "notes").mkdir()
    source = open_source(f"folders:{tmp_path}")
    assert source.ids == ("case 2", "case 10")
    case = source.load(1)
    assert case.box == (5, 7, 25, 50)
    np.testing.assert_array_equal(case.image, IMAGE)
    np.testing.assert_array_equal(case.background, 255 - IMAGE)
    np.testing.assert_array_equal(case.mask, mask > 0)
    assert source.load(0).mask is None
    assert source.load(0).background is None
    assert FolderSource(tmp_path / "case 2").ids == ("case 2",)


def test_missing_parts(tmp_path):
    with pytest.raises(SourceError, match=r"no folder with data\.png"):
        FolderSource(tmp_path)
    (add(tmp_path, "a") / "nodule.npy").unlink()
    (add(tmp_path, "b") / "data.png").unlink()
    add(tmp_path, "c")
    source = FolderSource(tmp_path)
    assert source.ids == ("a", "b", "c")
    with pytest.raises(SourceError, match=r"a: has no nodule\.npy"):
        source.load(0)
    with pytest.raises(SourceError, match=r"b: has no data\.png"):
        source.load(1)
    assert source.load(2).box == (5, 7, 25, 50)
    with pytest.raises(SourceError, match=r"data\.png: is a file; expected a folder"):
        FolderSource(tmp_path / "a" / "data.png")


@pytest.mark.parametrize(
    ("corners", "found"),
    [
        (np.array([1, 2, 3]), r"shape \(3,\)"),
        (np.array([1.5, 2, 3, 4]), "four whole numbers"),
        (np.array([np.nan, 2, 3, 4]), "four whole numbers"),
        (np.array(["a"] * 4), "of <U1"),
        (np.array([None] * 4), "not a plain NumPy array"),
    ],
)
def test_boxes_that_are_no_boxes(tmp_path, corners, found):
    np.save(add(tmp_path, "a") / "nodule.npy", corners, allow_pickle=True)
    source = FolderSource(tmp_path)
    with pytest.raises(SourceError, match=rf"nodule\.npy: .*{found}"):
        source.load(0)


def test_a_box_file_that_is_no_array(tmp_path):
    (add(tmp_path, "a") / "nodule.npy").write_bytes(b"")
    source = FolderSource(tmp_path)
    with pytest.raises(SourceError, match=r"nodule\.npy: is not a plain NumPy array"):
        source.load(0)


def test_parts_that_do_not_fit_name_their_folder(tmp_path):
    add(tmp_path, "1", corners=(5, 7, 41, 50))
    add(tmp_path, "2", data_crop=IMAGE[:-1])
    add(tmp_path, "3", mask=IMAGE.T.copy())
    add(tmp_path, "4", data=IMAGE.astype(np.uint16))
    source = FolderSource(tmp_path)
    with pytest.raises(BoxError, match=r"1: box \(5, 7, 41, 50\) reaches outside its image"):
        source.load(0)
    with pytest.raises(MaskError, match=r"2: background has shape \(39, 60\)"):
        source.load(1)
    with pytest.raises(MaskError, match=r"mask\.png: mask is 60x40"):
        source.load(2)
    with pytest.raises(ImageError, match=r"4.data\.png: found 16-bit"):
        source.load(3)


def test_fingerprint_and_pickle(tmp_path):
    folder = add(tmp_path / "a", "case", data_crop=IMAGE)
    source = pickle.loads(pickle.dumps(FolderSource(tmp_path / "a")))
    before = source.fingerprint(0)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert FolderSource(tmp_path / "b").fingerprint(0) == before
    np.save(folder / "nodule.npy", np.array([5, 7, 25, 51]))
    assert FolderSource(tmp_path / "a").fingerprint(0) != before
    (tmp_path / "b" / "case" / "data_crop.png").rename(tmp_path / "b" / "case" / "mask.png")
    assert FolderSource(tmp_path / "b").fingerprint(0) != before
    (folder / "data.png").unlink()
    with pytest.raises(SourceError, match=r"data\.png: no such file"):
        source.fingerprint(0)
