"""Temperature, reliability and the checks of a score, against slow truths and scorers whose answers are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

import flipenv
from flipagents.classify.checks import (
    SHARES,
    Checks,
    auc,
    check,
    erasing_curves,
    evened,
    fit_temperature,
    reliability,
    sigmoid,
)
from flipagents.classify.sites import PatchConfig, Sites, make_sites, normal_images
from flipenv.errors import ConfigError

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def sites() -> Sites:
    source = flipenv.open_source("phantom:5?height=96&width=144")
    env = {"canvas": {"kind": "roi", "height": 48, "width": 64}, "cell_area": 40.0}
    return make_sites(source, normal_images(source), PatchConfig.of({"env": env, "per_normal": 4}).for_checks())


def test_temperature_of_overconfident_logits() -> None:
    honest = RNG.normal(0, 2, 4000)
    labels = (RNG.random(4000) < sigmoid(honest)).astype(float)
    fitted = fit_temperature(2.5 * honest, labels)
    assert fitted == pytest.approx(2.5, rel=0.1)
    assert fit_temperature(honest, labels) == pytest.approx(fitted / 2.5, rel=1e-6)

    def loss(temperature: float) -> float:
        z = 2.5 * honest / temperature
        return float(np.mean(np.logaddexp(0, z) - labels * z))

    assert fitted == pytest.approx(minimize_scalar(loss, bounds=(0.1, 10), method="bounded").x, rel=1e-3)


def test_temperature_stays_in_its_range() -> None:
    assert fit_temperature(np.array([-1.0, 1.0]), np.array([0, 1])) == pytest.approx(0.05)
    assert fit_temperature(np.array([-1.0, 1.0]), np.array([1, 0])) == pytest.approx(20.0)
    with pytest.raises(ConfigError, match="at least one"):
        fit_temperature(np.array([]), np.array([]))


def test_reliability_by_hand() -> None:
    curve = reliability(np.array([0.05, 0.15, 0.95, 1.0, 0.97]), np.array([0, 1, 1, 1, 0]), bins=10)
    assert curve.count.tolist() == [1, 1, 0, 0, 0, 0, 0, 0, 0, 3]
    assert curve.share[[0, 1, 9]] == pytest.approx([0, 1, 2 / 3])
    assert np.isnan(curve.share[2:9]).all()
    assert curve.ece == pytest.approx((0.05 + 0.85 + 3 * abs(2.92 / 3 - 2 / 3)) / 5)


def test_evened_classes_weigh_the_same() -> None:
    labels = np.array([1, 0, 0, 0])
    weights = evened(labels)
    assert weights[0] == pytest.approx(weights[1:].sum()) == pytest.approx(2)
    curve = reliability(np.full(4, 0.5), labels, weights)
    assert curve.share[5] == pytest.approx(0.5)
    assert curve.ece == pytest.approx(0)
    assert np.isfinite(evened(np.ones(3))).all()


def test_auc_counts_pairs() -> None:
    scores, labels = RNG.integers(0, 12, 90) / 12, RNG.integers(0, 2, 90)
    pairs = [(s > t) + 0.5 * (s == t) for s in scores[labels == 1] for t in scores[labels == 0]]
    assert auc(scores, labels) == pytest.approx(np.mean(pairs))
    assert np.isnan(auc(scores, np.ones(90)))


class Left:
    """Score: the share of pixels that show the picture of one site rather than its background."""

    def __init__(self, sites: Sites, site: int) -> None:
        self.image, self.background = sites.image[site], sites.background[site]

    def __call__(self, canvases: Any) -> Any:
        area = self.image != self.background
        return ((canvases == self.image) & area).sum((1, 2)) / area.sum()


@pytest.mark.parametrize("how", ["radial", "index"])
def test_erasing_curves(sites: Sites, how: str) -> None:
    for site in np.flatnonzero(sites.with_nodule):
        curve = erasing_curves(Left(sites, site), sites, np.array([site]), how)
        assert curve.shape == (1, len(SHARES))
        assert curve[0, 0] == 1
        assert curve[0, -1] == 0
        assert (np.diff(curve[0]) <= 0).all()
        assert 0.3 < curve[0, 10] < 0.7


def test_checks(sites: Sites) -> None:
    checks = check(flipenv.ContrastScorer(), sites)
    nodules = int(sites.with_nodule.sum())
    assert len(checks.whole) == len(checks.erased) == nodules == 5
    assert len(checks.empty) == len(checks.seams) == len(checks.pastes) == len(sites) - nodules
    for curve in checks.curves.values():
        assert np.allclose(curve[:, 0], checks.whole)
        assert np.allclose(curve[:, -1], checks.erased)
    assert len(checks.scores) == len(checks.labels)
    again = check(flipenv.ContrastScorer(), sites)
    assert np.array_equal(checks.pastes, again.pastes)


def test_numbers_of_known_scores() -> None:
    curve = np.linspace(0.9, 0.1, len(SHARES))[None].repeat(3, axis=0)
    checks = Checks(
        whole=np.array([0.9, 0.9, 0.4]),
        erased=np.array([0.1, 0.1, 0.6]),
        empty=np.array([0.2, 0.0]),
        seams=np.array([0.2, 0.4]),
        pastes=np.array([0.0, 1.0]),
        curves={"radial": curve, "index": curve[:, ::-1]},
    )
    numbers = json.loads(json.dumps(checks.numbers()))
    assert numbers["accuracy"] == pytest.approx(4 / 5)
    assert numbers["auc"] == 1.0
    assert numbers["accuracy_with_erased"] == pytest.approx(6 / 8)
    assert numbers["seams"]["mean"] == pytest.approx(0.3)
    assert numbers["curves"]["radial"]["erased"] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert numbers["curves"]["radial"]["median"] == pytest.approx([0.9, 0.7, 0.5, 0.3, 0.1])
    assert numbers["curves"]["radial"]["rises"] == 0
    assert numbers["curves"]["index"]["rises"] == 1


def test_figures(sites: Sites, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="figures need matplotlib")
    from flipagents.classify.figures import save_figures

    checks = check(flipenv.ContrastScorer(), sites)
    paths = save_figures(checks, tmp_path / "new", before=checks)
    assert [path.name for path in paths] == ["reliability.png", "seams.png", "monotonicity.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
