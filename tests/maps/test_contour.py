"""The learned prior: a picture inside the box, half the rule's and half the network's."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import flipenv
from flipenv.errors import ConfigError
from flipenv.types import Case

pytest.importorskip("torch", reason="the network needs torch")
pytest.importorskip("monai", reason="the network is taught by MONAI's loss")
from flipagents.compare.methods import make_method, run_method
from flipagents.maps.contour import Contour, train_contour
from flipagents.maps.network import Student, StudentConfig
from flipagents.maps.rules import PRIORS, refined_prior
from flipagents.maps.tidy import tidy
from flipagents.metrics import dice
from flipagents.segment.loading import find_prior
from flipagents.store.checkpoint import CheckpointError
from flipagents.store.recipe import CONTOUR

TINY = StudentConfig(features=(4, 4, 8, 8, 8, 4), epochs=4, batch=4, warp=0.25)


@pytest.fixture(scope="module")
def network() -> Student:
    source = flipenv.open_source("phantom:16?first=300&height=96&width=128")
    return train_contour([source.load(index) for index in range(len(source))], TINY, progress=False)


def test_half_rule_and_half_network(network: Student, phantoms: list[Case]) -> None:
    for case in phantoms[:3]:
        prior = Contour(network)(case.image, case.box)
        assert prior.dtype == np.uint8
        assert prior.shape == case.image.shape
        learned = next(iter(network.maps([case.image], [case.box])))
        expected = (refined_prior(case.image, case.box).astype(float) + 255 * learned) / 2
        inside = np.zeros(case.image.shape, bool)
        inside[case.box.rows, case.box.columns] = True
        assert np.abs(prior - expected)[inside].max() <= 0.5 + 1e-4
        assert not prior[~inside].any()
        assert dice(prior > 127, case.mask) > 0.7


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
    for case, mask in zip(phantoms, masks, strict=False):
        np.testing.assert_array_equal(mask, tidy(Contour(network)(case.image, case.box) > 127))
        assert dice(mask, case.mask) > 0.7
