"""What is shown of a mask, pixel by pixel."""

from __future__ import annotations

import numpy as np

from flipagents.serve import pictures as views
from flipenv.background import BACKGROUNDS
from flipenv.config import EnvConfig
from flipenv.episode import prepare
from flipenv.pictures.render import BOX, ERASED
from flipenv.types import Case
from tests.conftest import SMALL


def test_erased_shows_background_in_the_mask_alone(phantoms: list[Case]) -> None:
    case = phantoms[3]
    picture = views.erased(case, case.mask, "eq1")
    np.testing.assert_array_equal(picture[~case.mask], case.image[~case.mask])
    np.testing.assert_array_equal(picture[case.mask], BACKGROUNDS["eq1"](case.image, case.box)[case.mask])
    assert picture[case.mask].mean() > case.image[case.mask].mean()


def test_superpixels_are_outlined(phantoms: list[Case]) -> None:
    episode = prepare(phantoms[2], EnvConfig(**SMALL))
    picture = views.superpixels(episode)
    scale = picture.shape[0] // episode.image.shape[0]
    assert picture.shape == (64 * scale, 80 * scale, 3)
    drawn = (picture == ERASED).all(axis=2) | (picture == BOX).all(axis=2)
    rows, columns = np.nonzero(episode.labels[1:] != episode.labels[:-1])
    assert drawn[(rows + 1) * scale, columns * scale + scale // 2].all()
    assert not drawn[: (episode.area.top - 1) * scale].any()
