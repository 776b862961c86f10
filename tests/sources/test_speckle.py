"""The scanner model against closed forms: Rayleigh speckle, compounding, a widening beam, mirror reflections."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flipenv.sources.speckle import Probe, Tissue, envelope, scan

SHAPE = (320, 448)
RAYLEIGH_SNR = math.sqrt(math.pi / (4 - math.pi))  # mean over deviation, 1.913


def even(value):
    return np.full(SHAPE, value, np.float32)


def detect(probe, amplitude=1.0, seed=0):
    return envelope(even(amplitude), even(0), probe, np.random.default_rng(seed))


def test_one_look_at_even_tissue_is_rayleigh():
    speckle = detect(Probe(looks=1))
    assert speckle.dtype == np.float32
    assert (speckle**2).mean() == pytest.approx(1, rel=0.04)
    assert speckle.mean() / speckle.std() == pytest.approx(RAYLEIGH_SNR, rel=0.03)
    for share in (0.1, 0.5, 0.9):
        assert np.quantile(speckle, share) == pytest.approx(math.sqrt(-math.log(1 - share)), rel=0.04)


@pytest.mark.parametrize("looks", [2, 4])
def test_compounding_averages_independent_looks(looks):
    speckle = detect(Probe(looks=looks))
    assert speckle.mean() == pytest.approx(math.sqrt(math.pi) / 2, rel=0.02)
    assert speckle.mean() / speckle.std() == pytest.approx(RAYLEIGH_SNR * math.sqrt(looks), rel=0.04)


def test_the_echo_is_proportional_to_the_amplitude():
    np.testing.assert_allclose(detect(Probe(), 3.0), 3 * detect(Probe(), 1.0), rtol=1e-4)


def test_speckle_power_does_not_depend_on_depth():
    rows = (detect(Probe(looks=4)) ** 2).reshape(4, -1).mean(axis=1)
    assert rows.max() / rows.min() < 1.1


def lateral_likeness(speckle, shift):
    speckle = speckle - speckle.mean()
    return (speckle[:, shift:] * speckle[:, :-shift]).mean() / speckle.var()


def test_the_beam_widens_away_from_its_focus():
    speckle = detect(Probe(looks=1, focus=0.25, focal_range=0.3))
    assert lateral_likeness(speckle[240:], 4) > lateral_likeness(speckle[48:112], 4) + 0.2


def test_the_correlation_along_the_beam_is_that_of_the_pulse():
    deviation = 1.5
    speckle = (
        detect(Probe(looks=1, axial=deviation)) ** 2
    )  # intensities correlate as the pulse's squared autocorrelation
    spread = speckle - speckle.mean()
    for shift in (1, 2, 3):
        found = (spread[shift:] * spread[:-shift]).mean() / spread.var()
        assert found == pytest.approx(math.exp(-(shift**2) / (2 * deviation**2)), abs=0.04)


def test_a_smooth_interface_stands_out_of_the_speckle():
    interfaces = even(0)
    interfaces[160] = 2.0
    speckle = envelope(even(1), interfaces, Probe(), np.random.default_rng(0))
    assert speckle[160].mean() > 4 * speckle[:140].mean()
    assert speckle[160].std() / speckle[160].mean() < 0.2


def test_grey_levels_are_linear_in_decibels():
    step_db = 10.0
    probe = Probe(clutter_db=-90, noise_db=-90, dynamic_range_db=50)
    echo = even(0)
    echo[:, :224] -= step_db
    image = scan(Tissue(echo, even(0), even(0)), probe, np.random.default_rng(0)).astype(float)
    assert image[:, 240:].mean() - image[:, :208].mean() == pytest.approx(255 * step_db / 50, abs=2)


def test_a_loss_darkens_as_a_weaker_echo_does():
    probe, half = Probe(), even(0)
    half[:, :224] = 8.0
    lossy = scan(Tissue(even(0), even(0), half), probe, np.random.default_rng(0))
    weak = scan(Tissue(-half, even(0), even(0)), probe, np.random.default_rng(0))
    np.testing.assert_allclose(lossy.astype(int), weak.astype(int), atol=1)


def test_nothing_is_darker_than_the_noise_of_the_receiver():
    noise_db, probe = -20.0, Probe(clutter_db=-90, noise_db=-20.0, gain_db=0, dynamic_range_db=80)
    echo = even(0)
    echo[:, :224] = -200.0
    image = scan(Tissue(echo, even(0), even(0)), probe, np.random.default_rng(0)).astype(float)
    assert image[:, :208].mean() - image[:, 240:].mean() == pytest.approx(255 * noise_db / 80, abs=2)
