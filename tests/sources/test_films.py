"""Films as their files hold them: pages, cine loops, slices of volumes, folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flipenv.errors import ImageError, SourceError
from flipenv.sources import count_frames, read_film, read_image
from tests.sources.test_medical import write_dicom, write_nifti

FILM = (np.arange(5 * 30 * 50).reshape(5, 30, 50) * 7 % 251).astype(np.uint8)


def tiff(path: Path, frames: list[np.ndarray]) -> Path:
    first, *rest = map(Image.fromarray, frames)
    first.save(path, save_all=True, append_images=rest)
    return path


def test_a_volume_has_slices_along_each_axis(tmp_path: Path) -> None:
    volume = np.arange(6 * 5 * 4, dtype=np.uint8).reshape(6, 5, 4)
    path = write_nifti(tmp_path / "volume.nii.gz", volume)
    for axis, count, at in (
        (None, 4, lambda k: volume[:, :, k].T),
        ("z", 4, lambda k: volume[:, :, k].T),
        ("y", 5, lambda k: volume[:, k, :].T),
        ("x", 6, lambda k: volume[k].T),
    ):
        assert count_frames(path, axis) == count
        film = read_film(path, axis=axis)
        assert film.shape == (count, *at(0).shape)
        for frame in range(count):
            np.testing.assert_array_equal(read_image(path, frame=frame, axis=axis), at(frame))
            np.testing.assert_array_equal(film[frame], at(frame))
    with pytest.raises(ImageError, match=r"has 4 frames; .* 0\.\.3"):
        read_image(path)
    with pytest.raises(ImageError, match="has no frame 5"):
        read_image(path, frame=5, axis="y")
    with pytest.raises(ImageError, match=r"has no axis 'w'; expected x, y, z"):
        read_image(path, frame=0, axis="w")


def test_axes_of_one_voxel_beyond_the_second_do_not_count(tmp_path: Path) -> None:
    frames = np.ascontiguousarray(FILM.transpose(2, 1, 0))
    path = write_nifti(tmp_path / "loop.nii", frames[:, :, None])
    np.testing.assert_array_equal(read_film(path), FILM)
    np.testing.assert_array_equal(read_image(path, frame=3), FILM[3])
    still = write_nifti(tmp_path / "still.nii", FILM[0].T)
    with pytest.raises(ImageError, match="is one image of 50x30 voxels; leave out the axis 'x'"):
        read_image(still, axis="x")
    with pytest.raises(ImageError, match="has one frame"):
        read_film(still)
    with pytest.raises(ImageError, match="found 2x3x4x5 voxels; expected an image or a volume"):
        read_film(write_nifti(tmp_path / "more.nii", np.zeros((2, 3, 4, 5), np.uint8)))


def test_a_volume_that_is_too_large_is_refused_by_its_header(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "volume.nii.gz", np.zeros((50, 30, 40), np.uint8))
    assert read_image(path, frame=1, limit=30 * 50 * 40 // 16).shape == (30, 50)
    with pytest.raises(ImageError, match=r"has 40 slices, 50x30x40 voxels; expected at most 59984 in all"):
        read_image(path, frame=1, limit=30 * 50 * 40 // 16 - 1)
    with pytest.raises(ImageError, match="is 40x50 pixels"):
        read_image(path, frame=1, axis="y", limit=1999)


def test_pages_and_cine_loops(tmp_path: Path) -> None:
    pages = tiff(tmp_path / "film.tif", list(FILM))
    np.testing.assert_array_equal(read_film(pages), FILM)
    with pytest.raises(ImageError, match=r"is 90x50 pixels .* expected at most 4499 in all"):
        read_film(pages, limit=4499)
    with pytest.raises(ImageError, match="frame 1: is 40x50 .* but the first frame is 30x50"):
        read_film(tiff(tmp_path / "mixed.tif", [FILM[0], np.zeros((40, 50), np.uint8)]))
    with pytest.raises(ImageError, match="is not NIfTI"):
        read_film(pages, axis="z")
    loop = write_dicom(tmp_path / "loop.dcm", FILM.astype(np.uint16) * 16, WindowCenter=2000, WindowWidth=1001)
    film = read_film(loop)
    for frame in range(5):
        np.testing.assert_array_equal(film[frame], read_image(loop, frame=frame))


def test_a_folder_in_natural_order(tmp_path: Path) -> None:
    for number, frame in enumerate(FILM, start=8):
        Image.fromarray(frame).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("no frame")
    (tmp_path / ".hidden.png").write_bytes(b"no picture")
    np.testing.assert_array_equal(read_film(tmp_path), FILM)
    Image.fromarray(FILM[0][:20]).save(tmp_path / "frame7.png")
    with pytest.raises(ImageError, match=r"frame8\.png: is 30x50 .* but the first frame is 20x50"):
        read_film(tmp_path)
    with pytest.raises(ImageError, match="is not NIfTI"):
        read_film(tmp_path, axis="z")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no image"):
        read_film(tmp_path / "empty")
