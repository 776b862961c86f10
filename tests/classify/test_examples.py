"""Training pictures made from boxes: what they show, what their targets are, and that no mask is looked at."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

import flipenv
from flipagents.classify.examples import draw, erasing_order, pasted, pixels_of
from flipagents.classify.sites import PatchConfig, Sites, make_sites, normal_images
from flipagents.maps.geometry import ellipse
from flipenv.episode import prepare
from flipenv.errors import ConfigError, SourceError
from flipenv.sources import CaseSource

ENV = {"canvas": {"kind": "roi", "height": 48, "width": 64}, "cell_area": 40.0}
SMALL = PatchConfig.of({"env": ENV, "variants": 3, "per_normal": 2, "per_case": 1, "margin": 8, "cell_areas": (30, 90)})
PLAIN = {"pastes": 0.0, "gain": 0.0, "gamma": 0.0, "speckle": 0.0}


@pytest.fixture(scope="module")
def source() -> Any:
    return flipenv.open_source("phantom:4?height=96&width=144")


@pytest.fixture(scope="module")
def sites(source: Any) -> Sites:
    return make_sites(source, normal_images(source), SMALL)


def test_sites_are_what_the_environment_shows(source: Any, sites: Sites) -> None:
    nodules = np.flatnonzero(sites.with_nodule)
    assert len(nodules) == 4 * 3
    assert list(sites.first[nodules]) == [0] * 3 + [3] * 3 + [6] * 3 + [9] * 3
    for index in range(4):
        episode = prepare(source.load(index), SMALL.env)
        for name in ("image", "background", "labels"):
            assert np.array_equal(getattr(sites, name)[3 * index], getattr(episode, name))
        box = episode.box
        inside = np.zeros(sites.nodule[0].shape, bool)
        inside[box.rows, box.columns] = True
        area = np.pi / 4 * box.height * box.width
        assert sites.nodule[3 * index].sum() == pytest.approx(area, rel=0.06)
        assert (sites.nodule[3 * index] & ~inside).sum() < 0.02 * area


def test_variants_differ_and_keep_the_nodule_in_view(sites: Sites) -> None:
    for start in range(0, 12, 3):
        areas = [(sites.labels[start + variant] >= 0).sum() for variant in range(3)]
        images = [sites.image[start + variant].tobytes() for variant in range(3)]
        assert len(set(images)) == 3, areas
        for variant in range(3):
            nodule = sites.nodule[start + variant]
            assert (nodule & (sites.labels[start + variant] >= 0)).sum() > 0.6 * nodule.sum()


def test_empty_sites_show_no_nodule() -> None:
    """Nodules are white here and all else is dark, so one white pixel in image or background would tell."""
    rng = np.random.default_rng(0)
    cases = []
    for index in range(6):
        image = rng.integers(20, 60, (90, 140)).astype(np.uint8)
        box = flipenv.Box(30, 10 + 12 * index, 60, 50 + 12 * index)
        image[box.rows, box.columns] = 255
        cases.append(flipenv.Case(image, box, f"case {index}"))
    made = make_sites(CaseSource(cases), [], dataclasses.replace(SMALL, per_case=4))
    empty = ~made.with_nodule
    assert empty.sum() >= 10
    assert made.image[empty].max() < 70
    assert made.background[empty].max() < 70
    assert made.image[~empty].max() == 255


def test_masks_are_not_looked_at(source: Any, sites: Sites) -> None:
    cases = [source.load(index) for index in range(len(source))]
    wrong = [dataclasses.replace(case, mask=np.zeros(case.image.shape, bool)) for case in cases]
    again = make_sites(CaseSource(wrong), normal_images(source), SMALL)
    for name in ("image", "background", "labels", "nodule", "first"):
        assert np.array_equal(getattr(again, name), getattr(sites, name)), name


def test_seed_decides(source: Any, sites: Sites) -> None:
    other = make_sites(source, normal_images(source), SMALL, seed=1)
    assert not np.array_equal(other.image[sites.with_nodule], sites.image[sites.with_nodule])
    one, two = (draw(sites, 20, SMALL, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(one[0], two[0])
    assert np.array_equal(one[1], two[1])


def two_colours(sites: Sites) -> Sites:
    """Tissue as it is at 200, erased at 50: the canvas then says what was erased."""
    image = np.full_like(sites.image, 200)
    return dataclasses.replace(sites, image=image, background=np.where(sites.labels >= 0, np.uint8(50), image))


def test_target_is_the_share_that_is_left(sites: Sites) -> None:
    config = dataclasses.replace(SMALL, **PLAIN, mix=(1, 1, 1, 0))
    painted = two_colours(sites)
    canvases, targets = draw(painted, 200, config, np.random.default_rng(0))
    for canvas, target in zip(canvases, targets, strict=True):
        erased = canvas < 100
        # which site it was, and whether it was mirrored, is not told: one of them must fit
        shares = [
            (each & ~erased).sum() / each.sum()
            for nodule in sites.nodule[sites.with_nodule]
            for each in (nodule, nodule[:, ::-1])
        ]
        assert min(abs(share - target) for share in shares) < 1e-6
    assert (targets > 0.9).any()
    assert (targets < 0.1).any()
    assert ((targets > 0.3) & (targets < 0.7)).sum() > 10


def test_kinds(sites: Sites) -> None:
    for kind, (least, most) in enumerate([(0.8, 1.0), (0.0, 1.0), (0.0, 0.4), (0.0, 0.0)]):
        mix = [0.0] * 4
        mix[kind] = 1.0
        config = dataclasses.replace(SMALL, mix=tuple(mix))
        _, targets = draw(sites, 100, config, np.random.default_rng(0))
        assert least <= targets.min()
        assert targets.max() <= most


def test_hard_targets(sites: Sites) -> None:
    soft = draw(sites, 100, SMALL, np.random.default_rng(5))
    hard = draw(sites, 100, dataclasses.replace(SMALL, target="hard"), np.random.default_rng(5))
    assert np.array_equal(soft[0], hard[0])
    assert np.array_equal(hard[1], (soft[1] >= 0.5).astype(np.float32))


def test_pastes_spare_the_nodule_and_reach_both_classes(sites: Sites) -> None:
    rng = np.random.default_rng(0)
    for site in (0, len(sites) - 1):
        nodule = sites.nodule[site]
        marked = np.where(nodule, np.uint8(255), np.uint8(0))
        changed = 0
        for _ in range(20):
            canvas = pasted(sites, site, rng, marked, nodule)
            assert (canvas[nodule] == 255).all()
            changed += bool((canvas != marked).any())
        assert changed >= 17  # a small paste may fall on the nodule altogether
        assert marked[~nodule].max(initial=0) == 0


@pytest.mark.parametrize("how", ["radial", "inwards", "index", "blob", "scattered"])
def test_orders_are_permutations(sites: Sites, how: str) -> None:
    for centers in sites.centers:
        order = erasing_order(centers, how, np.random.default_rng(0))
        assert sorted(order) == list(range(len(centers)))


def test_orders_by_hand() -> None:
    line = np.array([[5, 0], [5, 10], [5, 20], [5, 30], [5, 40], [5, 51]], np.int16)
    assert list(erasing_order(line, "index")) == [2, 1, 3, 0, 4, 5]
    assert list(erasing_order(line, "radial")) == [3, 2, 4, 1, 0, 5]
    assert list(erasing_order(line, "inwards")) == [5, 0, 1, 4, 2, 3]


def test_pixels_of_superpixels() -> None:
    labels = np.array([[-1, 0, 1], [2, 2, -1]], np.int16)
    assert pixels_of(np.array([2, 0]), labels, 3).tolist() == [[False, True, False], [True, True, False]]
    assert not pixels_of(np.array([], int), labels, 3).any()


def test_ellipse_by_hand() -> None:
    drawn = ellipse(flipenv.Box(1, 2, 4, 7), (5, 9))
    expected = [[((r - 2) / 1.5) ** 2 + ((c - 4) / 2.5) ** 2 <= 1 for c in range(9)] for r in range(5)]
    assert drawn.tolist() == expected


def test_normal_images(source: Any) -> None:
    assert [image.shape for image in normal_images(source)] == [(96, 144)] * 4
    assert normal_images(CaseSource([source.load(0)])) == []


def test_nowhere_without_a_nodule() -> None:
    full = flipenv.Case(np.full((40, 50), 9, np.uint8), flipenv.Box(0, 0, 40, 50))
    with pytest.raises(SourceError, match="give images without a nodule"):
        make_sites(CaseSource([full]), [], SMALL)


def test_config() -> None:
    assert PatchConfig.of(json.loads(json.dumps(SMALL.to_dict()))) == SMALL
    other = dataclasses.replace(SMALL, env=SMALL.env.replace(n_agents=4, channels=("box",), beta=None))
    assert other == SMALL, "the same canvases"
    with pytest.raises(ConfigError, match="did you mean 'margin'"):
        PatchConfig.of({"margins": 3})
    with pytest.raises(ConfigError, match="mix=.*expected a list of 4 numbers"):
        PatchConfig(mix=(1, 1))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="mirror"):
        PatchConfig(backgrounds=("miror",))
    with pytest.raises(ConfigError, match="target"):
        PatchConfig(target="mask")  # type: ignore[arg-type]
