"""Preparation: canvases, areas, masks there and back, backgrounds, the cache and the pool."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flipenv
from flipenv.background import BACKGROUNDS, KERNEL, RIM
from flipenv.cache import EpisodeCache
from flipenv.episode import map_on_image, mask_on_canvas, mask_on_image, prepare, shift_box
from flipenv.testing import same
from flipenv.types import Box, Case
from tests.conftest import BUSI, SMALL


def ramp(height: int, width: int) -> np.ndarray:
    """Each row and column has its own grey level."""
    return ((np.arange(height)[:, None] * 3 + np.arange(width)[None] * 2) % 256).astype(np.uint8)


@pytest.mark.parametrize(("kind", "height", "width"), [("roi", 96, 64), ("roi", 64, 128), ("whole", 80, 112)])
@pytest.mark.parametrize("margin", [0, 7])
def test_area_box_and_labels_agree(phantoms: list[Case], kind: str, height: int, width: int, margin: int) -> None:
    canvas = {"kind": kind, "height": height, "width": width}
    for case in phantoms:
        episode = prepare(case, flipenv.EnvConfig.of({"canvas": canvas, "margin": margin}))
        inside = np.zeros((height, width), bool)
        inside[episode.area.rows, episode.area.columns] = True
        assert np.array_equal(episode.labels >= 0, inside)
        assert np.array_equal(np.unique(episode.labels[inside]), np.arange(episode.n_superpixels))
        assert np.array_equal(episode.image[~inside], episode.background[~inside])
        assert not np.array_equal(episode.image[inside], episode.background[inside])
        assert episode.histograms[:, -1].sum() == inside.sum()
        assert set(episode.order.ravel().tolist()) == set(range(episode.n_superpixels))
        for index, (row, column) in enumerate(episode.centers):
            rows, columns = np.nonzero(episode.labels == index)
            assert abs(rows.mean() - row) <= 0.5
            assert abs(columns.mean() - column) <= 0.5


def test_roi_is_scale_free() -> None:
    """The same picture twice as large gives nearly the same canvas."""
    small = flipenv.open_source("phantom:1?height=120&width=168").load(0)
    large = Case(np.kron(small.image, np.ones((2, 2), np.uint8)), Box(*(2 * side for side in small.box)), "large")
    config = flipenv.EnvConfig()
    one, other = prepare(small, config), prepare(large, config)
    assert np.abs(one.area.top - other.area.top) <= 1
    assert np.abs(one.image.astype(int) - other.image).mean() < 6


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_masks_survive_the_way_to_the_canvas_and_back(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(20, 90)), data.draw(st.integers(20, 90))
    top, left = data.draw(st.integers(0, height - 12)), data.draw(st.integers(0, width - 12))
    bottom, right = data.draw(st.integers(top + 10, height)), data.draw(st.integers(left + 10, width))
    kind = data.draw(st.sampled_from(["roi", "whole"]))
    config = flipenv.EnvConfig(canvas=flipenv.CanvasSpec(kind, 96, 120))
    mask = np.zeros((height, width), bool)
    mask[top + 2 : bottom - 1, left + 1 : right - 3] = True
    episode = prepare(Case(ramp(height, width), Box(top, left, bottom, right)), config)
    back = mask_on_image(mask_on_canvas(mask, episode.geometry, config.canvas), episode.geometry)
    assert back.shape == mask.shape
    around = np.ones((5, 5), np.uint8)  # a pixel of the canvas is at most two of the image
    assert back[cv2.erode(mask.astype(np.uint8), around) > 0].all()
    assert not back[cv2.dilate(mask.astype(np.uint8), around) == 0].any()
    outside = np.ones_like(mask)
    outside[top:bottom, left:right] = False
    assert not back[outside].any()


def test_maps_lie_where_masks_lie() -> None:
    image = ramp(70, 110)
    for box in (Box(20, 31, 55, 92), Box(0, 60, 40, 110)):
        episode = prepare(Case(image, box), flipenv.EnvConfig(canvas=flipenv.CanvasSpec("roi", 96, 120)))
        erased = (episode.labels >= 0) & (episode.labels % 3 > 0)
        values = map_on_image(np.where(erased, 1, -1).astype(np.float32), episode.geometry)
        assert values.dtype == np.float32
        assert values.shape == image.shape
        assert values.min() == -1
        assert values.max() == 1
        # a pixel that lies half and half may round either way
        np.testing.assert_array_equal(values >= -1e-5, mask_on_image(erased, episode.geometry))
        outside = np.ones_like(image, bool)
        outside[box.rows, box.columns] = False
        assert (values[outside] == -1).all()


def test_eq1_takes_the_left_patch_and_smooths_its_rim() -> None:
    image, area = ramp(60, 90), Box(20, 40, 44, 70)
    painted = BACKGROUNDS["eq1"](image, area)
    core = (slice(area.top + RIM, area.bottom - RIM), slice(area.left + RIM, area.right - RIM))
    assert np.array_equal(painted[core], image[core[0], 10 + RIM : 40 - RIM])
    pasted = image.copy()
    pasted[20:44, 40:70] = image[20:44, 10:40]
    half = KERNEL // 2
    row, column = 22, 42
    mean = pasted[row - half : row + half + 1, column - half : column + half + 1].mean()
    assert abs(int(painted[row, column]) - mean) <= 1


def test_eq1_mixes_where_no_side_has_room() -> None:
    image, area = ramp(60, 60), Box(20, 12, 44, 46)  # 12 px left, 14 px right, 34 px to fill
    painted = BACKGROUNDS["eq1"](image, area)
    before = np.pad(image[20:44, :12], ((0, 0), (22, 0)), mode="symmetric")
    after = np.pad(image[20:44, 46:], ((0, 0), (0, 20)), mode="symmetric")
    alpha = np.clip(np.arange(34) / 13, 0, 1)
    expected = np.rint(alpha * before + (1 - alpha) * after)
    core = (slice(RIM, -RIM), slice(RIM, -RIM))
    assert np.array_equal(painted[20:44, 12:46][core], expected[core])


@pytest.mark.parametrize("name", list(BACKGROUNDS))
def test_backgrounds_never_fail(name: str) -> None:
    image = ramp(31, 47)
    for area in (
        Box(0, 0, 31, 47),  # the whole image
        Box(3, 0, 9, 47),  # as wide as the image
        Box(0, 5, 31, 9),  # as high as the image
        Box(0, 1, 31, 47),
        Box(30, 46, 31, 47),  # one pixel in the corner
        Box(2, 2, 29, 45),  # two pixels of room
    ):
        painted = BACKGROUNDS[name](image, area)
        assert painted.shape == image.shape
        assert painted.dtype == np.uint8


def test_a_given_background_is_copied_verbatim(phantoms: list[Case]) -> None:
    case = dataclasses.replace(phantoms[0], background=255 - phantoms[0].image)
    config = flipenv.EnvConfig(canvas=flipenv.CanvasSpec("whole", *case.image.shape))
    episode = prepare(case, config)
    inside = episode.labels >= 0
    assert np.array_equal(episode.background[inside], 255 - case.image[inside])
    assert np.array_equal(episode.background[~inside], case.image[~inside])


def test_agents_may_see_the_prior(phantoms: list[Case]) -> None:
    channels = ("erased", "prior", "box")
    case = phantoms[0]
    picture = np.arange(case.image.size, dtype=np.uint32).reshape(case.image.shape).astype(np.uint8) | 1
    same_size = flipenv.EnvConfig(canvas=flipenv.CanvasSpec("whole", *case.image.shape), channels=channels)
    episode = prepare(dataclasses.replace(case, prior=picture), same_size)
    assert np.array_equal(episode.channels[0], picture)
    assert episode.channels[1].max() == 255
    for index in range(episode.n_superpixels):
        assert episode.prior[index] == pytest.approx(picture[episode.labels == index].mean() / 255)
    beyond = prepare(dataclasses.replace(case, prior=picture), same_size.replace(canvas={"context": 3.0}))
    assert (beyond.channels[0][0] == 0).all()
    assert prepare(case, same_size.replace(channels=("box",))).prior[0] == 0.5


def test_shift_box_keeps_size_and_stays_inside() -> None:
    assert shift_box(Box(5, 6, 15, 30), 3.4, -2.6, (40, 50)) == Box(8, 3, 18, 27)
    assert shift_box(Box(5, 6, 15, 30), -99, 99, (40, 50)) == Box(0, 26, 10, 50)


def test_jitter_is_drawn_once_a_variant(phantoms: list[Case]) -> None:
    config = flipenv.EnvConfig.of(SMALL, jitter=(4, 9), variants=3)
    pool = flipenv.EpisodePool(phantoms, config, cache=False)
    again = flipenv.EpisodePool(phantoms, config, cache=False)
    shifts = [pool.shift(index) for index in range(len(pool))]
    assert len(pool) == 3 * len(phantoms)
    assert shifts == [again.shift(index) for index in range(len(pool))]
    assert len(set(shifts)) == len(shifts)
    lengths = np.hypot(*np.array(shifts).T)
    assert lengths.min() >= 4
    assert lengths.max() <= 9
    case, shifted = phantoms[1], pool.case(4)
    rows, columns = pool.shift(4)
    assert shifted.box == shift_box(case.box, rows, columns, case.image.shape)


def test_cache_gives_the_same_episode(phantoms: list[Case], own_cache: Path) -> None:
    config = flipenv.EnvConfig.of(SMALL, channels=("box", "erased", "ellipse"))
    first = flipenv.EpisodePool(phantoms, config)
    fresh = [first.episode(index) for index in range(len(first))]
    files = sorted(own_cache.rglob("*.safetensors"))
    assert len(files) == len(phantoms)
    second = flipenv.EpisodePool(phantoms, config)
    for index, episode in enumerate(fresh):
        read = second.episode(index)
        for field in dataclasses.fields(episode):
            assert same(getattr(read, field.name), getattr(episode, field.name)), field.name


def test_cache_knows_what_changes_an_episode(phantoms: list[Case], tmp_path: Path) -> None:
    cache, source = EpisodeCache(tmp_path), flipenv.open_source(phantoms)
    base = flipenv.EnvConfig()

    def key(config: flipenv.EnvConfig = base, index: int = 0, shift: tuple[float, float] = (0.0, 0.0)) -> str:
        return cache.key(source.fingerprint(index), shift, config)

    changed = [
        base.replace(**option)
        for option in (
            {"canvas": "whole"},
            {"margin": 1},
            {"background": "mirror"},
            {"superpixels": "slic"},
            {"cell_area": 50.0},
            {"n_agents": 1},
            {"order": "radial"},
            {"channels": ("box",)},
            {"standardise": True},
        )
    ]
    keys = [key(), key(index=1), key(shift=(1.0, 0.0)), *map(key, changed)]
    assert len(set(keys)) == len(keys)
    assert key(base.replace(theta=40.0, beta=None, csr="logit")) == key()


def test_keys_are_the_same_in_another_process(tmp_path: Path) -> None:
    code = (
        "import sys, flipenv; from flipenv.cache import EpisodeCache;"
        "source = flipenv.open_source('phantom:1?height=96&width=128');"
        "config = flipenv.EnvConfig(background='inpaint', order='radial', channels=('box', 'ellipse'));"
        "print(EpisodeCache(sys.argv[1]).key(source.fingerprint(0), (1.0, 2.0), config))"
    )
    run = [sys.executable, "-c", code, str(tmp_path)]
    keys = {subprocess.run(run, check=True, capture_output=True, text=True).stdout for _ in range(2)}
    assert len(keys) == 1


def test_a_registered_part_that_is_edited_is_not_read_from_the_cache(tmp_path: Path, phantoms: list[Case]) -> None:
    cache, fingerprint = EpisodeCache(tmp_path), flipenv.open_source(phantoms).fingerprint(0)
    config = flipenv.EnvConfig(background="test-black")
    keys = set()
    for part in (lambda image, area: image * 0, lambda image, area: image // 2):
        with BACKGROUNDS.temporarily():
            BACKGROUNDS.register("test-black")(part)
            keys.add(cache.key(fingerprint, (0.0, 0.0), config))
    assert len(keys) == 2


def test_a_damaged_cache_file_is_prepared_anew(phantoms: list[Case], own_cache: Path) -> None:
    config = flipenv.EnvConfig.of(SMALL)
    episode = flipenv.EpisodePool(phantoms[:1], config).episode(0)
    (file,) = own_cache.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.warns(RuntimeWarning, match="damaged"):
        again = flipenv.EpisodePool(phantoms[:1], config).episode(0)
    assert np.array_equal(again.labels, episode.labels)
    assert np.array_equal(flipenv.EpisodePool(phantoms[:1], config).episode(0).labels, episode.labels)


def test_a_full_disk_costs_a_warning_and_leaves_nothing(
    phantoms: list[Case], own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(arrays: object, path: str, metadata: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("flipenv.cache.save_file", full)
    with pytest.warns(RuntimeWarning, match="No space left"):
        episode = flipenv.EpisodePool(phantoms[:1], flipenv.EnvConfig.of(SMALL)).episode(0)
    assert episode.n_superpixels > 1
    assert not [file for file in own_cache.rglob("*") if file.is_file()]


def test_workers_prepare_the_same(monkeypatch: pytest.MonkeyPatch, phantoms: list[Case]) -> None:
    monkeypatch.setattr("flipenv.pool.WORTH_WORKERS", 1)
    pool = flipenv.EpisodePool(phantoms, flipenv.EnvConfig.of(SMALL, variants=4, jitter=(0, 5)), cache=False)
    alone, together = pool.prepare_all(workers=1, progress=False), pool.prepare_all(workers=2, progress=False)
    assert same(vars(alone), vars(together))
    assert same(vars(pool.rows(range(len(pool)))), vars(alone))


def test_workers_know_what_a_script_registered(tmp_path: Path) -> None:
    """In a script of its own, without a main guard: what a test module registers could be imported by the workers."""
    script = tmp_path / "script.py"
    script.write_text(
        "import flipenv, numpy as np\n"
        "flipenv.BACKGROUNDS.register('night')(lambda image, area: np.zeros_like(image))\n"
        "config = flipenv.EnvConfig(background='night')\n"
        "pool = flipenv.EpisodePool('phantom:70?height=96&width=128', config, cache=False)\n"
        "episodes = pool.prepare_all(workers=2, progress=False)\n"
        "assert (episodes.background[episodes.labels >= 0] == 0).all()\n"
    )
    subprocess.run([sys.executable, str(script)], check=True)


@pytest.mark.parametrize("margin", [0, 10, 30])
def test_every_box_of_busi_prepares(margin: int) -> None:
    """Densities stay near what was asked, on both canvases."""
    if BUSI is None:
        pytest.skip("FLIP_BUSI names no BUSI folder; set it to run on real images")
    source = flipenv.open_source(f"busi:{BUSI}")
    config = flipenv.EnvConfig(margin=margin)
    for index in range(len(source)):
        episode = prepare(source.load(index), config)
        wanted = episode.area.height * episode.area.width / config.cell_area
        assert 0.74 <= episode.n_superpixels / max(1, round(wanted)) <= 1.26, episode.id
    assert index == 548
