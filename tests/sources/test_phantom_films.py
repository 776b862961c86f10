"""Phantom films: exact masks of a nodule that moves, grows and fades."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from flipenv.errors import ConfigError, MaskError, SourceError
from flipenv.sources import Unlabelled, largest_component, open_source, phantom_film, tight_box
from flipenv.sources.phantom import normal_image
from flipenv.sources.phantom_films import LAST, PhantomFrame

SIZE = {"height": 96, "width": 140}


def test_a_film_is_the_same_every_time() -> None:
    film, again = phantom_film(5, 6, **SIZE), phantom_film(5, 6, **SIZE)
    assert film.frames.shape == film.masks.shape == (6, 96, 140)
    assert (film.frames.dtype, film.masks.dtype) == (np.uint8, np.bool_)
    np.testing.assert_array_equal(film.frames, again.frames)
    np.testing.assert_array_equal(film.masks, again.masks)
    assert (film.frames != phantom_film(6, 6, **SIZE).frames).any()


@pytest.mark.parametrize("seed", range(8))
def test_the_nodule_moves_and_changes_its_size_smoothly(seed: int) -> None:
    masks = np.stack([PhantomFrame(seed, frame, 24, 320, 448).mask() for frame in range(24)])
    boxes = [tight_box(mask) for mask in masks]
    for mask, box in zip(masks, boxes, strict=True):
        np.testing.assert_array_equal(largest_component(mask), mask)
        assert box.top >= 4
        assert box.left >= 4
        assert box.bottom <= 316
        assert box.right <= 444
    areas = masks.sum(axis=(1, 2))
    assert areas.max() / areas.min() > 1.2
    overlap = [2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in itertools.pairwise(masks)]
    assert min(overlap) > 0.75
    assert 2 * (masks[0] & masks[-1]).sum() / (areas[0] + areas[-1]) < 0.9


def test_where_it_is_gone_only_tissue_is_left() -> None:
    film = phantom_film(3, 20, fade=True)
    assert film.gone is not None
    assert LAST[0] * 20 - 1 <= film.gone <= LAST[1] * 20 + 1
    assert film.masks[: film.gone].any(axis=(1, 2)).all()
    assert not film.masks[film.gone :].any()
    tissue = normal_image(3).astype(float)
    where = film.masks[0]
    before, after = (abs(film.frames[frame][where].mean() - tissue[where].mean()) for frame in (0, film.gone))
    assert after < 5 < before
    staying = phantom_film(3, 20)
    assert staying.gone is None
    np.testing.assert_array_equal(staying.masks[: film.gone], film.masks[: film.gone])


def test_the_source() -> None:
    source = open_source("phantom-film:2?frames=10&fade=true&height=96&width=140&first=4")
    film = phantom_film(5, 10, fade=True, **SIZE)
    index = source.ids.index("phantom-film-0005-frame2")
    case = source.load(index)
    np.testing.assert_array_equal(case.image, film.frames[2])
    np.testing.assert_array_equal(case.mask, film.masks[2])
    assert case.box == tight_box(film.masks[2])
    assert case.meta == {"film": "0005", "frame": "2"}
    assert f"phantom-film-0005-frame{film.gone}" not in source.ids
    assert Unlabelled(source).load(index).mask is None
    assert source.fingerprint(index) == Unlabelled(source).fingerprint(index)
    assert len({source.fingerprint(each) for each in range(len(source))}) == len(source)
    with pytest.raises(MaskError, match="the nodule is gone from frame"):
        PhantomFrame(5, 9, 10, 96, 140, fade=True).load()


def test_what_is_no_film() -> None:
    with pytest.raises(ConfigError, match="frames=1; expected a whole number, 2 or more"):
        open_source("phantom-film:1?frames=1")
    with pytest.raises(ConfigError, match="frames=1"):
        phantom_film(0, 1)
    with pytest.raises(SourceError, match="fade='yes'; expected fade=true or fade=false"):
        open_source("phantom-film:1?fade=yes")
    with pytest.raises(SourceError, match="unknown option 'tall'"):
        open_source("phantom-film:1?tall=1")
