"""The BUSI folder, made up in the published layout; the real one where FLIP_BUSI names it."""

import os
import pickle
import shutil
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from flipenv.errors import ImageError, MaskError, SourceError
from flipenv.sources import BusiSource, largest_component, open_source, tight_box

HEIGHT, WIDTH = 40, 60


def save(array, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def picture(seed):
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)


def blank():
    return np.zeros((HEIGHT, WIDTH), np.uint8)


@pytest.fixture
def busi(tmp_path):
    """benign 1, 2, 10, malignant 1, normal 3; 'benign (2)' has two masks, the second one larger."""
    data = tmp_path / "busi" / "Dataset_BUSI_with_GT"
    for seed, name in enumerate(["benign (1)", "benign (2)", "benign (10)", "malignant (1)", "normal (3)"]):
        kind = name.split()[0]
        save(picture(seed), data / kind / f"{name}.png")
        if kind != "normal":
            mask = blank()
            mask[5:9, 7:20] = 255
            save(mask, data / kind / f"{name}_mask.png")
    second = blank()
    second[20:31, 30:55] = 255
    second[15, 2] = 255
    save(second, data / "benign" / "benign (2)_mask_1.png")
    (data / "benign" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "busi" / "splits.csv").write_text(
        "image,split,group\nbenign/benign (1).png,train,0\nbenign/benign (2).png,test,1\n"
        "benign/benign (10).png,train,2\nmalignant/malignant (1).png,test,3\nnormal/normal (3).png,train,4\n"
    )
    return tmp_path / "busi"


def test_cases_in_natural_order_with_class_and_split(busi):
    source = open_source(f"busi:{busi}")
    assert source.ids == ("benign (1)", "benign (2)", "benign (10)", "malignant (1)")
    case = source.load(0)
    assert case.meta == {"class": "benign", "split": "train"}
    assert case.box == (5, 7, 9, 20)
    np.testing.assert_array_equal(case.image, picture(0))
    assert case.mask.sum() == 4 * 13
    assert open_source(f"busi:{busi / 'Dataset_BUSI_with_GT'}").ids == source.ids


def test_the_lesion_is_the_largest_component_of_all_masks(busi):
    case = BusiSource(busi).load(1)
    assert case.box == (20, 30, 31, 55)
    assert case.mask.sum() == 11 * 25


def test_split_and_normals(busi):
    train = open_source(f"busi:{busi}?split=train")
    assert train.ids == ("benign (1)", "benign (10)")
    assert [path.name for path in train.normals()] == ["normal (3).png"]
    np.testing.assert_array_equal(train.load_normal(0), picture(4))
    assert BusiSource(busi, split="test").normals() == []
    with pytest.raises(SourceError, match=r"splits\.csv: unknown split 'tran': did you mean 'train'\?"):
        BusiSource(busi, split="tran")


def test_a_split_needs_its_table_and_all_its_images(busi):
    (busi / "Dataset_BUSI_with_GT" / "benign" / "benign (10).png").unlink()
    assert len(BusiSource(busi)) == 3
    with pytest.raises(SourceError, match=r"splits\.csv line 4: 'benign/benign \(10\)\.png' is not in"):
        BusiSource(busi, split="train")
    (busi / "splits.csv").unlink()
    assert BusiSource(busi).load(0).meta == {"class": "benign"}
    with pytest.raises(SourceError, match=r"split=train needs splits\.csv"):
        BusiSource(busi, split="train")


def test_missing_mask(busi):
    (busi / "Dataset_BUSI_with_GT" / "benign" / "benign (1)_mask.png").unlink()
    with pytest.raises(SourceError, match=r"benign \(1\)\.png: mask file benign \(1\)_mask\.png.*boxes=FILE"):
        BusiSource(busi)


def test_boxes_instead_of_masks(busi):
    for mask in (busi / "Dataset_BUSI_with_GT").glob("*/*_mask*.png"):
        if mask.name != "malignant (1)_mask.png":
            mask.unlink()
    table = busi / "boxes.csv"
    table.write_text(
        "image,x0,y0,x1,y1\nbenign/benign (1).png,7,5,21,10\nbenign (2),1,2,30,40\nbenign (10).png,0,0,60,40\n"
        "malignant (1),3,4,30,20\n"
    )
    source = open_source(f"busi:{busi}?boxes={table}")
    assert source.load(0).box == (5, 7, 10, 21)
    assert source.load(0).mask is None
    assert source.load(3).box == (4, 3, 20, 30)
    assert source.load(3).mask.sum() == 4 * 13
    before = source.fingerprint(0)
    table.write_text(table.read_text().replace("7,5,21,10", "7,5,22,10"))
    assert BusiSource(busi, boxes=table).fingerprint(0) != before
    table.write_text("image,x0,y0,x1,y1\nbenign (1),7,5,21,10\n")
    with pytest.raises(SourceError, match=r"boxes\.csv: no box for 'benign/benign \(2\)\.png'"):
        BusiSource(busi, boxes=table)
    table.write_text("image,x0,y0,x1,y1\nbenign (1),7,5,21,10\nbenign (1).png,7,5,21,11\n")
    with pytest.raises(SourceError, match=r"boxes\.csv line 3: second box for 'benign \(1\)'"):
        BusiSource(busi, boxes=table)


def test_fingerprints_follow_the_bytes_and_not_the_folder(busi, tmp_path):
    before = [BusiSource(busi).fingerprint(index) for index in range(4)]
    assert len(set(before)) == 4
    shutil.copytree(busi, tmp_path / "elsewhere")
    source = BusiSource(tmp_path / "elsewhere")
    assert [source.fingerprint(index) for index in range(4)] == before
    mask = blank()
    mask[5:9, 7:21] = 255
    save(mask, tmp_path / "elsewhere" / "Dataset_BUSI_with_GT" / "benign" / "benign (1)_mask.png")
    assert source.fingerprint(0) != before[0]
    save(picture(9), tmp_path / "elsewhere" / "Dataset_BUSI_with_GT" / "malignant" / "malignant (1).png")
    assert source.fingerprint(3) != before[3]
    assert [source.fingerprint(index) for index in (1, 2)] == before[1:3]


def test_pickled_and_loaded_elsewhere(busi, tmp_path, monkeypatch):
    monkeypatch.chdir(busi)
    source = pickle.dumps(BusiSource("."))
    monkeypatch.chdir(tmp_path)
    assert pickle.loads(source).load(3).box == (5, 7, 9, 20)


def test_bad_masks_name_their_file(busi):
    source = BusiSource(busi)
    folder = busi / "Dataset_BUSI_with_GT" / "benign"
    save(blank(), folder / "benign (1)_mask.png")
    with pytest.raises(MaskError, match=r"benign \(1\)_mask\.png: mask is empty"):
        source.load(0)
    save(blank().T.copy(), folder / "benign (1)_mask.png")
    with pytest.raises(MaskError, match=r"benign \(1\)_mask\.png: mask is 60x40 but its image is 40x60"):
        source.load(0)
    path = folder / "benign (10).png"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ImageError, match=r"benign \(10\)\.png: is damaged or truncated"):
        source.load(2)


def test_folders_that_are_not_busi(tmp_path):
    with pytest.raises(SourceError, match="nowhere: does not exist"):
        BusiSource(tmp_path / "nowhere")
    with pytest.raises(SourceError, match=r"no BUSI images found; expected Dataset_BUSI_with_GT/"):
        BusiSource(tmp_path)


def test_largest_component_and_tight_box():
    mask = blank()
    mask[3, 4] = mask[4, 5] = mask[5, 4] = 1
    mask[30, 50:52] = 1
    lesion = largest_component(mask)
    assert lesion.sum() == 3
    assert tight_box(lesion) == (3, 4, 6, 6)
    with pytest.raises(MaskError, match="empty"):
        tight_box(blank())


@pytest.mark.skipif(
    "FLIP_BUSI" not in os.environ, reason="the BUSI data set is not at hand: FLIP_BUSI does not name it"
)
def test_the_real_folder():
    root = os.environ["FLIP_BUSI"]
    splits = {name: open_source(f"busi:{root}?split={name}") for name in ("train", "val", "test")}
    assert {name: len(split) for name, split in splits.items()} == {"train": 394, "val": 59, "test": 96}
    with_normals = {name: len(split) + len(split.normals()) for name, split in splits.items()}
    assert with_normals == {"train": 477, "val": 70, "test": 115}
    source = open_source(f"busi:{root}")
    assert len({source.fingerprint(index) for index in range(len(source))}) == len(source) == 549
    cases = [source.load(index) for index in range(len(source))]
    assert Counter(case.meta["class"] for case in cases) == {"benign": 368, "malignant": 181}
    for case in cases:
        inside = case.mask[case.box.rows, case.box.columns]
        assert inside.sum() == case.mask.sum()
        assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))
