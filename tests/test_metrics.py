"""Overlap and distances against MONAI and plain loops; intervals against SciPy."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import gaussian_filter

from flipagents import metrics
from flipenv.errors import ConfigError, MaskError

masks = arrays(np.bool_, (7, 12), elements=st.booleans())
NONE = np.zeros((7, 12), bool)
ALL = np.ones((7, 12), bool)


def corner(row: int, column: int) -> np.ndarray:
    mask = NONE.copy()
    mask[row, column] = True
    return mask


def of_monai(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, ...]:
    torch, monai = pytest.importorskip("torch"), pytest.importorskip("monai.metrics")
    pair = [torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (ours, theirs)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI warns about empty masks
        return (
            float(monai.compute_dice(*pair, ignore_empty=False)),
            float(monai.compute_iou(*pair, ignore_empty=False)),
            float(monai.compute_hausdorff_distance(*pair)),
            float(monai.compute_hausdorff_distance(*pair, percentile=95)),
            float(monai.compute_average_surface_distance(*pair, symmetric=True)),
        )


@settings(deadline=None)  # MONAI is imported by the first example
@given(masks, masks)
def test_same_as_monai(ours: np.ndarray, theirs: np.ndarray) -> None:
    mine = (
        metrics.dice(ours, theirs),
        metrics.jaccard(ours, theirs),
        metrics.hausdorff(ours, theirs),
        metrics.hausdorff95(ours, theirs),
        metrics.average_surface_distance(ours, theirs),
    )
    expected = list(of_monai(ours, theirs))
    if not (ours.any() and theirs.any()):
        expected[2:] = [math.nan] * 3  # MONAI gives inf or nan, and warns
    np.testing.assert_allclose(mine, expected, rtol=1e-4)  # MONAI adds up in float32


@pytest.mark.parametrize(("ours", "theirs"), [(ALL, ALL), (ALL, corner(6, 11)), (corner(0, 0), corner(6, 11))])
def test_same_as_monai_at_the_edges(ours: np.ndarray, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(metrics.distances(ours, theirs), of_monai(ours, theirs)[2:], rtol=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_same_as_monai_on_lesions(seed: int) -> None:
    """Blobs of the size of lesions, some of them with islands and holes, one of them a line."""
    noise = np.random.default_rng(seed)
    pair = []
    for size in (3, 5):
        smooth = gaussian_filter(noise.normal(size=(71, 103)), size)
        pair.append(smooth > np.quantile(smooth, 0.8))
    if seed == 0:
        pair[0] = np.zeros((71, 103), bool)
        pair[0][11, 8:97] = True
    np.testing.assert_allclose(metrics.distances(*pair), of_monai(*pair)[2:], rtol=1e-6)


@given(masks.filter(np.any), masks.filter(np.any))
def test_distances_against_plain_loops(ours: np.ndarray, theirs: np.ndarray) -> None:
    def rim(mask: np.ndarray) -> list[tuple[int, int]]:
        padded = np.pad(mask, 1)
        neighbours = [(0, 1), (2, 1), (1, 0), (1, 2)]
        return [(r, c) for r, c in np.argwhere(mask) if not all(padded[r + i, c + j] for i, j in neighbours)]

    def nearest(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> list[float]:
        return [min(math.dist(a, b) for b in other) for a in one]

    there, back = nearest(rim(ours), rim(theirs)), nearest(rim(theirs), rim(ours))
    both = there + back
    assert metrics.hausdorff(ours, theirs) == pytest.approx(max(both))
    assert metrics.hausdorff95(ours, theirs) == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
    assert metrics.average_surface_distance(ours, theirs) == pytest.approx(np.mean(both))


def test_conformity() -> None:
    ours, theirs = NONE.copy(), NONE.copy()
    ours[1:4, 2:6] = True  # 12 px
    theirs[1:4, 3:7] = True  # 12 px, 9 of them shared: Dice 0.75
    assert metrics.conformity(ours, theirs) == pytest.approx((3 * 0.75 - 2) / 0.75)
    assert metrics.conformity(ours, ours) == 1
    assert metrics.conformity(corner(0, 0), corner(1, 1)) == -math.inf


@pytest.mark.parametrize(("ours", "theirs", "overlap"), [(NONE, NONE, 1), (NONE, ALL, 0), (ALL, NONE, 0)])
def test_empty_masks(ours: np.ndarray, theirs: np.ndarray, overlap: float) -> None:
    assert metrics.dice(ours, theirs) == metrics.jaccard(ours, theirs) == overlap
    for distance in metrics.hausdorff, metrics.hausdorff95, metrics.average_surface_distance:
        assert math.isnan(distance(ours, theirs))
        assert distance(ours, theirs, empty="zero") == 0


def test_boundary_is_four_connected() -> None:
    mask = NONE.copy()
    mask[1:6, 2:7] = True
    mask[1, 2] = False  # the pixel diagonally inside it stays interior
    assert metrics.boundary(mask).sum() == 15
    assert not metrics.boundary(mask)[2, 3]
    assert metrics.boundary(ALL).sum() == 2 * (7 + 12) - 4


def test_bootstrap_as_scipy() -> None:
    values = np.random.default_rng(3).beta(9, 1, 41)
    ours = metrics.bootstrap(values, draws=20_000)
    theirs = scipy.stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=5)
    assert ours.mean == pytest.approx(values.mean())
    assert ours[1:] == pytest.approx(theirs.confidence_interval, abs=1e-3)
    assert metrics.bootstrap([*values, math.nan], draws=20_000) == ours
    assert metrics.bootstrap(values, draws=20_000) == ours, "seeded"


def test_bootstrap_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).beta(9, 1, 41)
    whole = metrics.bootstrap(values, draws=500)
    monkeypatch.setattr(metrics, "BOOTSTRAPPED", 41 * 7)
    assert metrics.bootstrap(values, draws=500) == pytest.approx(whole, abs=1e-12), "as drawn at once"


def test_paired_difference_is_narrower_than_either_mean() -> None:
    generator = np.random.default_rng(4)
    hard = generator.beta(9, 1, 60)
    better = hard + generator.normal(0.01, 0.01, 60)
    difference = metrics.paired_difference(better, hard)
    assert difference.low > 0
    assert difference.high - difference.low < 0.2 * np.subtract(*metrics.bootstrap(hard)[:0:-1])
    assert metrics.paired_difference(hard, hard) == (0, 0, 0)
    assert str(metrics.Interval(0.5, 0.25, 0.75)) == "0.5000 [0.2500, 0.7500]"


def test_without_values() -> None:
    assert all(math.isnan(number) for number in metrics.bootstrap([]))
    assert all(math.isnan(number) for number in metrics.bootstrap([math.nan]))
    endless = metrics.bootstrap([0.5, -math.inf])
    assert endless.mean == -math.inf
    assert math.isnan(endless.low)
    assert math.isnan(endless.high)


def test_errors_name_the_value() -> None:
    with pytest.raises(MaskError, match="uint8"):
        metrics.dice(NONE.astype(np.uint8), NONE)
    with pytest.raises(MaskError, match=r"\(7, 12\).*\(12, 7\)"):
        metrics.dice(NONE, NONE.T)
    with pytest.raises(ConfigError, match="'none'"):
        metrics.hausdorff(NONE, NONE, empty="none")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"\(2, 2\)"):
        metrics.bootstrap([[1, 2], [3, 4]])
    with pytest.raises(ConfigError, match="95"):
        metrics.bootstrap([1.0], level=95)
    with pytest.raises(ConfigError, match=r"\(2,\).*\(3,\)"):
        metrics.paired_difference([1, 2], [1, 2, 3])


def test_overlap_needs_no_scipy() -> None:
    code = "import sys; sys.modules['scipy'] = None; import numpy as np; from flipagents.metrics import dice; "
    subprocess.run(
        [sys.executable, "-c", code + "assert dice(np.ones((2, 3), bool), np.ones((2, 3), bool)) == 1"], check=True
    )
