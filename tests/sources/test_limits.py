"""Files that unpack to more than was asked for are refused by their header."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flipenv.errors import ImageError, MaskError
from flipenv.sources import read_image, read_mask


@pytest.fixture(params=["scan.png", "scan.tif", "scan.bmp", "scan.nii.gz", "scan.dcm"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The same 30x50 picture in each format."""
    path = tmp_path / request.param
    pixels = np.arange(1500, dtype=np.uint8).reshape(30, 50)
    if path.name.endswith(".nii.gz"):
        nibabel = pytest.importorskip("nibabel")
        nibabel.save(nibabel.Nifti1Image(pixels.T, np.eye(4)), path)
    elif path.suffix == ".dcm":
        pytest.importorskip("pydicom")
        from tests.sources.test_medical import write_dicom

        write_dicom(path, pixels)
    else:
        Image.fromarray(pixels).save(path)
    return path


def test_at_the_limit_and_beyond(file: Path) -> None:
    assert read_image(file, limit=1500).shape == (30, 50)
    assert read_mask(file, (30, 50), limit=1500).sum() > 1400
    with pytest.raises(ImageError, match=r"is 30x50 pixels .* expected at most 1499 in all"):
        read_image(file, limit=1499)
    with pytest.raises(ImageError, match=r"is 30x50 pixels"):
        read_mask(file, (30, 50), limit=1499)
    with pytest.raises(MaskError, match="mask is 30x50 but its image is 50x30"):
        read_mask(file, (50, 30), limit=1500)


def test_what_pillow_itself_refuses_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (4000, 3000)).save(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    with pytest.raises(ImageError, match="is too large"):
        read_image(tmp_path / "huge.png")
