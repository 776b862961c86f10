"""Wasserstein-1 between cumulative histograms against SciPy, against moving grains one by one, and at its edges."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from flipenv.distance import wasserstein
from tests.reference import transport

LEVELS = np.arange(256)

levels = st.integers(0, 255)
samples = st.one_of(
    st.lists(levels, min_size=1, max_size=1),
    st.lists(levels, min_size=1, max_size=60),
    # Squares pile up at the dark end: asymmetric, as a superpixel of a nodule is
    st.lists(st.integers(0, 15).map(lambda root: root * root), min_size=1, max_size=200),
)
big_counts = st.lists(st.tuples(levels, st.integers(1, 200_000)), min_size=1, max_size=40)


def cumulative(greys, dtype=np.int64):
    return np.cumsum(np.bincount(np.asarray(greys, np.int64), minlength=256)).astype(dtype)


def test_by_hand():
    one, two = cumulative([10, 10, 10, 10]), cumulative([30, 40])
    assert wasserstein(one, two) == 25.0
    assert wasserstein(cumulative([0]), cumulative([255])) == 255.0
    assert wasserstein(cumulative([7, 7, 9]), cumulative([7, 9])) == float(Fraction(1, 3))


@given(samples, samples)
@settings(deadline=None, max_examples=300, database=None)
def test_is_scipys_distance(first, second):
    found = float(wasserstein(cumulative(first), cumulative(second)))
    assert found == pytest.approx(wasserstein_distance(first, second), rel=1e-12, abs=1e-12)
    # Nothing is lost in the sums, so that comparing with a threshold is exact
    assert found == float(transport(first, second))


@given(big_counts, big_counts, st.sampled_from([np.int32, np.int64]))
@settings(deadline=None, max_examples=150, database=None)
def test_large_histograms_do_not_overflow(first, second, dtype):
    counts = np.zeros((2, 256), np.int64)
    for row, pairs in zip(counts, (first, second), strict=True):
        for level, count in pairs:
            row[level] += count
    found = wasserstein(*np.cumsum(counts, axis=1).astype(dtype))
    assert found == pytest.approx(wasserstein_distance(LEVELS, LEVELS, *counts), rel=1e-10, abs=1e-9)


@given(samples, samples, samples)
@settings(deadline=None, max_examples=100, database=None)
def test_is_a_metric(first, second, third):
    a, b, c = (cumulative(sample) for sample in (first, second, third))
    assert wasserstein(a, b) == wasserstein(b, a)
    assert wasserstein(a, a) == 0
    assert wasserstein(a, c) <= wasserstein(a, b) + wasserstein(b, c) + 1e-9


@given(samples, samples, st.integers(2, 9))
@settings(deadline=None, max_examples=50, database=None)
def test_counts_do_not_matter_but_shares_do(first, second, times):
    assert wasserstein(cumulative(first * times), cumulative(second)) == wasserstein(
        cumulative(first), cumulative(second)
    )


def test_empty_histograms_are_no_distance_away():
    nothing, something = np.zeros(256, np.int64), cumulative([3, 200])
    for pair in ((nothing, something), (something, nothing), (nothing, nothing)):
        assert wasserstein(*pair) == 0.0


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
def test_batches_on_every_library(library):
    xp = pytest.importorskip(library, reason="not installed")
    rng = np.random.default_rng(3)
    greys = rng.integers(0, 256, (2, 3, 4, 50)) // rng.integers(1, 9, (2, 3, 4, 1))
    first, second = ([[cumulative(cell) for cell in row] for row in batch] for batch in greys)
    found = wasserstein(xp.asarray(np.array(first)), xp.asarray(np.array(second)))
    assert tuple(found.shape) == (3, 4)
    expected = [
        [float(transport(*pair)) for pair in zip(*rows, strict=True)] for rows in zip(*greys.tolist(), strict=True)
    ]
    np.testing.assert_array_equal(np.asarray(found), expected)
    assert np.asarray(found).dtype == np.float64
