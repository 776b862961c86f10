"""Priors come from image and box alone, and an enriched source tells its cases apart."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from flipagents.maps.enriched import Enriched
from flipagents.maps.rules import PRIORS
from flipagents.metrics import dice
from flipenv.sources import CaseSource
from flipenv.types import Case


@pytest.mark.parametrize("name", ["polar", "refined", "ellipse"])
def test_a_prior_is_a_grey_picture_inside_the_box(name: str, phantoms: list[Case]) -> None:
    for case in phantoms:
        prior = PRIORS[name](case.image, case.box)
        assert prior.dtype == np.uint8
        assert prior.shape == case.image.shape
        outside = prior.copy()
        outside[case.box.rows, case.box.columns] = 0
        assert not outside.any()
        assert prior.max() == 255
        assert dice(prior > 127, case.mask) > 0.6


def test_a_case_keeps_the_rest(phantoms: list[Case]) -> None:
    coarse = [np.zeros(case.image.shape, bool) for case in phantoms]
    coarse[2][30, 40] = True
    source = CaseSource(phantoms)
    priors = [PRIORS["refined"](case.image, case.box) for case in phantoms]
    enriched = Enriched(source, priors, coarse)
    assert enriched.ids == source.ids
    assert len(enriched) == len(source)
    case, plain = enriched.load(2), phantoms[2]
    assert (case.id, case.box, case.meta) == (plain.id, plain.box, plain.meta)
    assert case.image is plain.image
    assert case.mask is plain.mask
    np.testing.assert_array_equal(case.coarse, coarse[2])
    assert case.coarse.dtype == np.bool_
    np.testing.assert_array_equal(case.prior, priors[2])
    assert Enriched(source, None, coarse).load(2).prior is None
    assert phantoms[2].prior is None, "the source's own case must stay as it is"


def test_fingerprints_tell_what_was_added(phantoms: list[Case]) -> None:
    source = CaseSource(phantoms)
    empty = [np.zeros(case.image.shape, bool) for case in phantoms]
    dotted = [mask.copy() for mask in empty]
    dotted[0][3, 5] = True
    polar, ellipse = ([PRIORS[name](case.image, case.box) for case in phantoms] for name in ("polar", "ellipse"))
    variants = [
        Enriched(source, None),
        Enriched(source, polar),
        Enriched(source, ellipse),
        Enriched(source, None, empty),
        Enriched(source, None, dotted),
        Enriched(source, polar, dotted),
    ]
    prints = [variant.fingerprint(0) for variant in variants]
    assert len({*prints, source.fingerprint(0)}) == len(prints) + 1
    assert variants[3].fingerprint(1) == variants[4].fingerprint(1)
    again = pickle.loads(pickle.dumps(variants[5]))
    assert again.fingerprint(0) == prints[5]
