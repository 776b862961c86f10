"""The learned prior: a picture inside the box, half the rule's and half the network's."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import label

import flipenv
from flipenv.errors import ConfigError
from flipenv.types import Box, Case

pytest.importorskip("torch", reason="the network needs torch")
pytest.importorskip("monai", reason="the network is taught by MONAI's loss")
from flipagents.compare.methods import make_method, run_method
from flipagents.maps.contour import Contour, train_contour
from flipagents.maps.mapper import Mapper
from flipagents.maps.network import Student, StudentConfig
from flipagents.maps.rules import PRIORS
from flipagents.metrics import dice
from flipagents.segment.loading import find_prior
from flipagents.store.checkpoint import CheckpointError
from flipagents.store.recipe import CONTOUR

TINY = StudentConfig(features=(4, 4, 8, 8, 8, 4), epochs=4, batch=4, warp=0.25)


@pytest.fixture(scope="module")
def network() -> Student:
    source = flipenv.open_source("phantom:16?first=300&height=96&width=128")
    return train_contour([source.load(index) for index in range(len(source))], TINY, progress=False)


class Left(Mapper):
    """Certain of the left 70 columns, and of nothing else."""

    def maps(self, images: Sequence[np.ndarray], boxes: Sequence[Box]) -> list[np.ndarray]:
        assert len(images) == len(boxes) == 1
        return [np.where(np.arange(image.shape[1]) < 70, 1, 0).astype(np.float32) + 0 * image for image in images]


def test_half_rule_and_half_network() -> None:
    """A dark ellipse of known place, of which the rule is certain, and a network that is certain of something else."""
    rows, columns = np.mgrid[:96, :136]
    radius = np.hypot((rows - 47.5) / 28, (columns - 69.5) / 40)
    image = np.where(radius <= 1, 40, 170).astype(np.uint8)
    box = Box(20, 30, 76, 110)
    prior = Contour(Left("tight"))(image, box)
    assert prior.dtype == np.uint8
    assert prior.shape == image.shape
    boxed = np.zeros(image.shape, bool)
    boxed[20:76, 30:110] = True
    assert not prior[~boxed].any()
    nodule, tissue = radius < 0.85, boxed & (radius > 1.15)
    for where, both in ((nodule & (columns < 70), 255), (tissue & (columns >= 70), 0)):
        assert np.abs(prior[where].astype(int) - both).max() <= 10
    for one in (nodule & (columns >= 70), tissue & (columns < 70)):
        assert np.abs(prior[one].astype(int) - 127.5).max() <= 10, "half of it, where one of the two is certain"


def test_it_finds_nodules(network: Student, phantoms: list[Case]) -> None:
    for case in phantoms[:3]:
        assert dice(Contour(network)(case.image, case.box) > 127, case.mask) > 0.7


def test_no_mask_is_read(network: Student) -> None:
    source = flipenv.open_source("phantom:16?first=300&height=96&width=128")
    wrong = [
        dataclasses.replace(case, mask=np.eye(*case.image.shape, dtype=bool))
        for case in map(source.load, range(len(source)))
    ]
    for (name, one), other in zip(
        network.network.state_dict().items(),
        train_contour(wrong, TINY, progress=False).network.state_dict().values(),
        strict=True,
    ):
        assert one.equal(other), name


def test_found_by_name(network: Student, tmp_path: Path) -> None:
    assert find_prior(None, tmp_path) is None
    assert find_prior("polar", tmp_path) is PRIORS["polar"]
    with pytest.raises(ConfigError, match="did you mean 'polar'"):
        find_prior("polr", tmp_path)
    with pytest.raises(CheckpointError):
        find_prior(CONTOUR, tmp_path)
    network.save(tmp_path / CONTOUR)
    found = find_prior(CONTOUR, tmp_path)
    assert isinstance(found, Contour)
    assert found.network.config == TINY


def test_alone_it_is_a_method(network: Student, phantoms: list[Case], tmp_path: Path) -> None:
    network.save(tmp_path / CONTOUR)
    masks = run_method(make_method("contour", tmp_path), phantoms[:3])
    for case, mask in zip(phantoms[:3], masks, strict=True):
        assert dice(mask, case.mask) > 0.7
        assert label(mask)[1] == label(~mask)[1] == 1, "one piece without holes"
        mask[case.box.rows, case.box.columns] = False
        assert not mask.any(), "nothing outside the box"
