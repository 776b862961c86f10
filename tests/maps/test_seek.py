"""A box that is off finds its nodule again, in place and in size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pytest

from flipagents.maps.geometry import ellipse
from flipagents.maps.mapper import Mapper
from flipagents.maps.seek import LEAST, Follower, Seeker
from flipenv.episode import grow_box, shift_box
from flipenv.sources import tight_box
from flipenv.types import Box


class Blob(Mapper):
    """A locator that sees what is dark."""

    def maps(self, images: Sequence[np.ndarray], boxes: Sequence[Box]) -> Iterable[np.ndarray]:
        return [(image < 90).astype(np.float32) for image in images]


def disk(box: Box, shape: tuple[int, int] = (120, 170)) -> np.ndarray:
    """A dark ellipse in noise."""
    noise = np.random.default_rng(0).normal(0, 6, shape)
    return np.clip(np.where(ellipse(box, shape), 60, 150) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("seeker", [Seeker(), Seeker(Blob("loose"))], ids=["boundaries", "with a locator"])
def test_place_and_size_are_found(seeker: Seeker) -> None:
    box = Box(40, 50, 82, 118)
    image = disk(box)
    for off in (grow_box(box, 8, image.shape), Box(45, 56, 77, 112), shift_box(box, 6, -7, image.shape)):
        found = off
        for _ in range(3):
            found = seeker.box(image, found)
        assert np.abs(np.array(found) - np.array(box)).max() <= 3


def test_the_map_is_not_held_to_the_box() -> None:
    box = Box(40, 50, 82, 118)
    seen = Seeker()(disk(box), Box(46, 58, 76, 110))
    assert (seen.dtype, seen.shape) == (np.float32, (120, 170))
    assert 0 <= seen.min() <= seen.max() <= 1
    assert tight_box(seen > 0.5).top < 46


def test_the_users_box_keeps_its_share_of_what_is_found() -> None:
    box, grown = Box(30, 40, 70, 90), Box(25, 45, 85, 120)
    user = Box(26, 40, 70, 95)  # 4 px of 40 more at the top, 5 of 50 more on the right
    follower = Follower(Seeker(), disk(box), user)
    assert np.abs(np.array(follower.box(disk(box), user)) - np.array(user)).max() <= 1
    found = follower.box(disk(grown), grow_box(grown, 2, (120, 170)))
    expected = (grown.top - 6, grown.left, grown.bottom, grown.right + 7.5)
    assert np.abs(np.array(found) - np.array(expected)).max() <= 3


def test_a_box_stays_in_the_image_and_is_never_empty() -> None:
    class Nothing(Mapper):
        def maps(self, images: Sequence[np.ndarray], boxes: Sequence[Box]) -> Iterable[np.ndarray]:
            return [np.zeros(image.shape, np.float32) for image in images]

    image = disk(Box(40, 50, 82, 118))
    last = Box(0, 160, 20, 170)
    follower = Follower(Seeker(Nothing("loose")), image, last)
    assert Seeker(Nothing("loose")).box(np.full_like(image, 7), last).height > 0
    for frame in (image, np.full_like(image, 7), np.random.default_rng(1).integers(0, 255, image.shape, np.uint8)):
        for _ in range(4):
            last = follower.box(frame, last)
            assert 0 <= last.top <= last.bottom - LEAST
            assert last.bottom <= 120
            assert 0 <= last.left <= last.right - LEAST
            assert last.right <= 170
