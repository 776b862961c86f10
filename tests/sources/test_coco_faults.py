"""COCO files that are wrong: what is refused as a whole, and what fails alone."""

import pytest

from flipenv.errors import BoxError, MaskError, SourceError
from flipenv.sources import CocoSource, Unlabelled
from tests.sources.test_coco import HEIGHT, WIDTH, write


@pytest.mark.parametrize(
    ("segmentation", "found"),
    [
        ([[1, 2, 3, 4]], "at least three x, y pairs"),
        ([[1, 2, 3, 4, 5, 6, 7]], "at least three x, y pairs"),
        ([["a", 2, 3, 4, 5, 6]], "at least three x, y pairs"),
        ([1, 2, 3, 4, 5, 6], "expected a list of polygons"),
        ("mask.png", "expected a list of polygons"),
        ({"size": [WIDTH, HEIGHT], "counts": [2400]}, r"size \[60, 40\] but the image is \[40, 60\]"),
        ({"size": [HEIGHT, WIDTH], "counts": [1, 2]}, "2400 in all"),
        ({"size": [HEIGHT, WIDTH]}, "expected a list of polygons"),
    ],
)
def test_masks_that_are_no_masks(tmp_path, segmentation, found):
    source = CocoSource(write(tmp_path, {"segmentation": segmentation}))
    with pytest.raises(MaskError, match=rf"instances\.json annotation 11: .*{found}"):
        source.load(0)


@pytest.mark.parametrize("segmentation", [[[1, 2, 3, 4]], "mask.png", {"size": [1, 1], "counts": [1]}, [1, 2]])
def test_a_bad_mask_matters_only_where_it_is_needed(tmp_path, segmentation):
    source = CocoSource(write(tmp_path, {"segmentation": segmentation}, {"segmentation": [[8, 6, 49, 6, 49, 20]]}))
    with pytest.raises(MaskError, match="annotation 11"):
        source.load(0)
    unlabelled = Unlabelled(source)
    assert unlabelled.ids == source.ids
    assert (unlabelled.load(0).box, unlabelled.load(0).mask) == ((5, 7, 25, 50), None)
    assert source.load(1).mask is not None
    assert unlabelled.load(1).mask is None
    assert unlabelled.fingerprint(1) != source.fingerprint(1)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (
            {"images": [{"id": 4, "file_name": "a.png"}, {"id": 4, "file_name": "b.png"}]},
            r"ids of images .* 4 \(2 times",
        ),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, r"ids of categories are not unique: 1 \(2"),
        ({"annotations": [{"id": 3, "image_id": 4, "bbox": [1, 2, 3, 4]}] * 3}, r"ids of annotations .* 3 \(3 times\)"),
        ({"images": [{"id": [4], "file_name": "a.png"}]}, r"images\[0\] has id \[4\]; expected a number or a string"),
        ({"images": [{"id": None, "file_name": "a.png"}]}, r"images\[0\] has id None"),
        ({"categories": [{"id": {}, "name": "a"}]}, r"categories\[0\] has id \{\}"),
        ({"annotations": [{"id": float("nan"), "image_id": 4}]}, r"annotations\[0\] has id nan"),
    ],
)
def test_ids_that_tell_nothing_apart(tmp_path, changes, found):
    with pytest.raises(SourceError, match=rf"instances\.json: {found}"):
        CocoSource(write(tmp_path, {}, **changes))


def test_crowds_are_no_cases(tmp_path):
    path = write(tmp_path, {"iscrowd": 1}, {"iscrowd": 0}, {"iscrowd": 1, "segmentation": {"size": [1], "counts": []}})
    assert CocoSource(path).ids == ("scan a-12",)
    with pytest.raises(SourceError, match=r"no cases found: all 2 annotations are crowds \(iscrowd 1\)"):
        CocoSource(write(tmp_path, {"iscrowd": 1}, {"iscrowd": 1}))
    path = write(tmp_path, {"iscrowd": 1, "category_id": 2}, {"iscrowd": 0})
    with pytest.raises(SourceError, match="all 1 annotations are crowds"):
        CocoSource(path, category="cyst")


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ({"height": WIDTH, "width": HEIGHT}, "image of 60x40 .* but the file has 40x60"),
        ({"height": HEIGHT // 2, "width": WIDTH // 2}, "image of 20x30 .* but the file has 40x60"),
        ({"height": HEIGHT * 2, "width": WIDTH * 2}, "image of 80x120 .* but the file has 40x60"),
        ({"height": HEIGHT + 1, "width": None}, "image of 41x60 .* but the file has 40x60"),
        ({"width": 30}, "image of 40x30 .* but the file has 40x60"),
        ({"height": HEIGHT, "width": WIDTH}, None),
        ({"height": float(HEIGHT), "width": None}, None),
        ({}, None),
    ],
)
def test_a_box_on_an_image_of_another_size_is_refused(tmp_path, told, found):
    source = CocoSource(write(tmp_path, {}, images=[{"id": 4, "file_name": "scan a.png", **told}]))
    if found is None:
        assert source.load(0).image.shape == (HEIGHT, WIDTH)
    else:
        for each in (source, Unlabelled(source)):
            with pytest.raises(BoxError, match=rf"annotation 11: the box was drawn on an {found}.*resized"):
                each.load(0)


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ({}, "file_name None of its image is not a file name"),
        ({"file_name": 7}, "file_name 7 of its image"),
        ({"file_name": "images"}, "image 'images' is neither in"),
        ({"file_name": "a\0.png"}, r"image 'a\\x00\.png' is neither in"),
        ({"file_name": "x" * 300}, r"cannot be read \(File name too long\); shorten it"),
        ({"file_name": "scan a.png", "frame": -1}, "frame -1 of its image"),
        ({"file_name": "scan a.png", "height": "40"}, "height '40' of its image is not a whole number"),
        ({"file_name": "scan a.png", "width": float("inf")}, "width inf of its image is not a whole number"),
    ],
)
def test_a_bad_image_fails_alone(tmp_path, record, found):
    images = [{"id": 4, "file_name": "scan a.png"}, {"id": 5, **record}]
    source = CocoSource(write(tmp_path, {"image_id": 5}, {}, images=images))
    with pytest.raises(SourceError, match=rf"instances\.json annotation 11: .*{found}"):
        source.load(0)
    assert source.load(1).box == (5, 7, 25, 50)
    assert len(set(source.ids)) == 2


def test_files_that_are_not_coco(tmp_path):
    path = tmp_path / "instances.json"
    path.write_text('{"images": [')
    with pytest.raises(SourceError, match=r"instances\.json: cannot be read as JSON"):
        CocoSource(path)
    path.write_text("[1]")
    with pytest.raises(SourceError, match=r"instances\.json: found list; expected a COCO instances file"):
        CocoSource(path)
    with pytest.raises(SourceError, match=r"none\.json: does not exist"):
        CocoSource(tmp_path / "none.json")
    with pytest.raises(SourceError, match="no cases found"):
        CocoSource(write(tmp_path))


@pytest.mark.parametrize(
    ("annotation", "found"),
    [
        ({"image_id": 9}, "image_id 9 is not among the images"),
        ({"bbox": [1, 2, 3]}, r"bbox is \[1, 2, 3\]; expected four numbers"),
        ({"bbox": None}, "bbox is None"),
        ({"bbox": [1, 2, 3, "x"]}, ".*expected four numbers"),
        ({"bbox": [1, 2, 3, float("nan")]}, ".*expected four numbers"),
        ({"image_id": [4]}, r"image_id \[4\] is not among the images"),
        ({"bbox": {"x": 1}}, ".*expected four numbers"),
        ({"bbox": 7}, "bbox is 7"),
    ],
)
def test_annotations_that_do_not_fit(tmp_path, annotation, found):
    source = CocoSource(write(tmp_path, annotation, {}))
    with pytest.raises(SourceError, match=rf"instances\.json annotation 11: {found}"):
        source.load(0)
    assert source.load(1).id == "scan a-12"


def test_missing_keys_and_images(tmp_path):
    with pytest.raises(SourceError, match=r"annotations\[0\] has no 'id'"):
        CocoSource(write(tmp_path, annotations=[{"image_id": 4, "bbox": [1, 2, 3, 4]}]))
    path = write(tmp_path, {})
    (tmp_path / "images" / "scan a.png").unlink()
    source = CocoSource(path)
    with pytest.raises(SourceError, match=r"annotation 11: image 'scan a\.png' is neither in"):
        source.load(0)
    with pytest.raises(SourceError, match=r"annotation 11: image 'scan a\.png' is neither in"):
        source.fingerprint(0)


def test_a_box_outside_its_image(tmp_path):
    source = CocoSource(write(tmp_path, {"bbox": [30, 5, 31, 20]}))
    with pytest.raises(BoxError, match=r"instances\.json annotation 11: box .* reaches outside its image"):
        source.load(0)


def test_a_box_without_extent_stays_without(tmp_path):
    for box in ([10.5, 10.5, 0, 11], [10.5, 10.5, -3.5, 11]):
        source = CocoSource(write(tmp_path, {"bbox": box}))
        with pytest.raises(BoxError, match=r"annotation 11: box .* (has no width|is inverted)"):
            source.load(0)
