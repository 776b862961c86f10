"""From what a user gives to a source: text, cases, sources; phantoms among them."""

import ast
import copy
import errno
import inspect
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flipenv import Box, Case
from flipenv.errors import ConfigError, ImageError, SourceError
from flipenv.sources import SOURCES, PhantomSource, Source, Unlabelled, find, open_source, read_image
from flipenv.sources.phantoms import GENERATOR

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60)).astype(np.uint8)


def case(name="a", **changes):
    return Case(**{"image": IMAGE, "box": Box(5, 7, 25, 50), "id": name, **changes})


def test_phantoms():
    assert len(open_source("phantom")) == 64
    source = open_source("phantom:3?first=7&height=64&width=96")
    assert isinstance(source, Source)
    assert source.ids == ("phantom-0007", "phantom-0008", "phantom-0009")
    phantom = pickle.loads(pickle.dumps(source)).load(1)
    assert phantom.id == "phantom-0008"
    assert phantom.image.shape == phantom.mask.shape == (64, 96)
    assert source.load_normal(1).shape == (64, 96)
    again = open_source("phantom:?first=8&height=64&width=96")
    np.testing.assert_array_equal(again.load(0).image, phantom.image)
    assert again.fingerprint(0) == source.fingerprint(1)
    other = PhantomSource(1, height=64, width=97, first=8)
    assert len({again.fingerprint(0), again.fingerprint(1), other.fingerprint(0)}) == 3
    with pytest.raises(ImageError):
        PhantomSource(1, height=8).load(0)


def test_fingerprints_of_phantoms_are_the_same_in_another_process():
    script = "from flipenv.sources import open_source; print(open_source('phantom').fingerprint(5))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == open_source("phantom").fingerprint(5)


def test_fingerprints_of_phantoms_cover_every_module_that_draws():
    drawing = set()
    for module in GENERATOR:
        imports = [node for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.ImportFrom)]
        drawing |= {node.module for node in imports if node.module and node.module.startswith("flipenv")}
    assert drawing - {"flipenv.errors", "flipenv.pixels", "flipenv.types"} <= {module.__name__ for module in GENERATOR}


@pytest.mark.parametrize(
    ("text", "error", "found"),
    [
        (
            "phantm:3",
            ConfigError,
            r"unknown source 'phantm': did you mean 'phantom'\? known are busi, coco, csv, folders",
        ),
        ("some/path", ConfigError, "write 'kind:ARGUMENT'"),
        ("phantom:many", SourceError, "count='many' is not a whole number"),
        ("phantom:0", ConfigError, "count=0; expected a whole number, 1 or more"),
        (
            "phantom:3?hight=9",
            SourceError,
            r"unknown option 'hight': did you mean 'height'\? known are first, height, width",
        ),
        ("phantom:3?height=", SourceError, "option 'height' has no value"),
        ("phantom:3?height=9&height=8", SourceError, "option 'height' is given twice"),
        ("busi", SourceError, r"source 'busi' needs a path, for example 'busi:PATH\?split=train'"),
        ("busi:x?splits=train", SourceError, "did you mean 'split'"),
        ("folders:x?split=train", SourceError, "unknown option 'split': folders takes none"),
        ("coco:x.json?split=train", SourceError, "unknown option 'split'"),
    ],
)
def test_text_that_names_no_source(text, error, found):
    with pytest.raises(error, match=found):
        open_source(text)


def test_a_question_mark_may_belong_to_a_file_name(tmp_path):
    with pytest.raises(SourceError, match=r"who\?: does not exist"):
        open_source(f"folders:{tmp_path}/who?")


def test_a_registered_source_is_opened_by_name():
    with SOURCES.temporarily():
        SOURCES.register("mine")(lambda text: open_source([case(text)]))
        assert open_source("mine:here").ids == ("here",)


def test_cases_in_memory():
    single = case()
    assert open_source(single).load(0) is single
    source = open_source(case(name) for name in "abc")
    assert source.ids == ("a", "b", "c")
    assert open_source(source) is source
    assert pickle.loads(pickle.dumps(source)).load(2).id == "c"
    assert find(source, "b") == 1


def test_what_is_no_collection_of_cases():
    with pytest.raises(SourceError, match="source is a int; expected a Source, a Case"):
        open_source(5)
    with pytest.raises(SourceError, match="item 1 of the cases is a ndarray; expected flipenv Case"):
        open_source([case(), IMAGE])
    with pytest.raises(SourceError, match=r"cases in memory: ids are not unique: 'a' \(2 times\)"):
        open_source([case(), case("b"), case()])
    with pytest.raises(SourceError, match="cases in memory: no cases found"):
        open_source([])


def test_fingerprints_of_cases_follow_their_content():
    mask = IMAGE > 99
    changed = IMAGE.copy()
    changed[3, 4] ^= 1
    variants = [
        case(),
        case("b"),
        case(image=changed),
        case(box=(5, 7, 25, 51)),
        case(mask=mask),
        case(coarse=mask),
        case(background=IMAGE),
        case(meta={"class": "benign"}),
    ]
    digests = [open_source(variant).fingerprint(0) for variant in variants]
    assert len(set(digests)) == len(variants)
    assert open_source(copy.deepcopy(variants[4])).fingerprint(0) == digests[4]
    assert open_source(case(image=np.asfortranarray(IMAGE))).fingerprint(0) == digests[0]


def test_find_names_the_nearest_ids():
    source = open_source("phantom:64")
    assert find(source, "phantom-0063") == 63
    with pytest.raises(SourceError, match=r"unknown case 'phantom-063': did you mean 'phantom-.*\(64 in all\)"):
        find(source, "phantom-063")


def test_cases_without_their_masks(tmp_path):
    """Every source gives the same images and boxes, and no mask, in a worker process too."""
    mask = np.zeros((40, 60), np.uint8)
    mask[6:20, 8:49] = 255
    image = np.random.default_rng(0).integers(0, 256, (40, 60)).astype(np.uint8)
    for name in ("subjects/a", "busi/Dataset_BUSI_with_GT/benign"):
        (tmp_path / name).mkdir(parents=True)
    Image.fromarray(image).save(tmp_path / "subjects/a/data.png")
    Image.fromarray(mask).save(tmp_path / "subjects/a/mask.png")
    np.save(tmp_path / "subjects/a/nodule.npy", [5, 7, 25, 50])
    Image.fromarray(image).save(tmp_path / "busi/Dataset_BUSI_with_GT/benign/benign (1).png")
    Image.fromarray(mask).save(tmp_path / "busi/Dataset_BUSI_with_GT/benign/benign (1)_mask.png")
    labelled = Case(image, (5, 7, 25, 50), mask=mask > 0)
    sources = [
        f"folders:{tmp_path / 'subjects'}",
        f"busi:{tmp_path / 'busi'}",
        "phantom:1?height=80&width=96",
        labelled,
    ]
    for source in map(open_source, sources):
        unlabelled = pickle.loads(pickle.dumps(Unlabelled(source)))
        assert isinstance(unlabelled, Source)
        case, bare = source.load(0), unlabelled.load(0)
        assert (len(unlabelled), unlabelled.ids) == (1, source.ids)
        assert (case.mask is None, bare.mask) == (False, None)
        assert (bare.box, bare.id, bare.meta) == (case.box, case.id, case.meta)
        np.testing.assert_array_equal(bare.image, case.image)
        assert len(unlabelled.fingerprint(0)) == 32


def test_a_source_of_others_without_its_masks():
    class Theirs:
        ids = ("one",)

        def __len__(self):
            return 1

        def load(self, index):
            return open_source("phantom:1?height=80&width=96").load(index)

        def fingerprint(self, index):
            return "theirs"

    assert Unlabelled(Theirs()).load(0).mask is None
    assert Unlabelled(Theirs()).fingerprint(0) == "theirs"


def test_folders_that_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()

    def closed(path):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", closed)
    with pytest.raises(SourceError, match=r"cannot be read \(Permission denied\); check its permissions"):
        open_source(f"folders:{tmp_path}")
    for name in ("x" * 300, "a\0b", "~nobody-of-this-name/x"):
        for kind in ("folders", "csv", "coco", "busi"):
            with pytest.raises(SourceError):
                open_source(f"{kind}:{name}")
    for name in ("x" * 300, "a\0b", "\ud800"):
        with pytest.raises(SourceError):
            read_image(name)
