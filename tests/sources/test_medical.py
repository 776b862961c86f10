"""DICOM and NIfTI: what is shown in 8 bits."""

import sys

import numpy as np
import pytest

from flipenv.errors import ImageError, MissingDependencyError
from flipenv.sources import count_frames, read_image, read_mask

LEVELS = (np.arange(30 * 50).reshape(30, 50) * 7 % 251).astype(np.uint8)


def write_dicom(path, pixels, photometric="MONOCHROME2", **tags):
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, UltrasoundImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UltrasoundImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    colour = photometric == "RGB"
    bits = 8 * pixels.dtype.itemsize
    shape = pixels.shape[:-1] if colour else pixels.shape
    dataset.Rows, dataset.Columns = shape[-2:]
    if len(shape) == 3:
        dataset.NumberOfFrames = shape[0]
    dataset.SamplesPerPixel = 3 if colour else 1
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    for name, value in tags.items():
        if isinstance(value, pydicom.DataElement):
            dataset.add(value)
        else:
            setattr(dataset, name, value)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


def test_dicom_of_8_bits_comes_back_as_it_was(tmp_path):
    np.testing.assert_array_equal(read_image(write_dicom(tmp_path / "scan.dcm", LEVELS)), LEVELS)
    np.testing.assert_array_equal(read_image(write_dicom(tmp_path / "no_suffix", LEVELS)), LEVELS)


def test_monochrome1_is_inverted(tmp_path):
    path = write_dicom(tmp_path / "scan.dcm", LEVELS, "MONOCHROME1")
    np.testing.assert_array_equal(read_image(path), 255 - LEVELS)


def test_window_of_the_file(tmp_path):
    deep = LEVELS.astype(np.uint16) * 16
    path = write_dicom(tmp_path / "scan.dcm", deep, WindowCenter=2000, WindowWidth=1001)
    expected = np.rint(((deep - 1999.5) / 1000 + 0.5).clip(0, 1) * 255)
    np.testing.assert_array_equal(read_image(path), expected)


def test_rescale_and_window(tmp_path):
    signed = LEVELS.astype(np.int16) - 100
    path = write_dicom(
        tmp_path / "scan.dcm", signed, RescaleSlope=2, RescaleIntercept=-30, WindowCenter=10, WindowWidth=201
    )
    expected = np.rint(((signed * 2.0 - 30 - 9.5) / 200 + 0.5).clip(0, 1) * 255)
    np.testing.assert_array_equal(read_image(path), expected)


def test_table_of_the_file(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    table = pydicom.Dataset()
    table.LUTDescriptor = [256, 0, 16]
    table.LUTData = (np.arange(256, dtype=np.uint16) ** 2).tobytes()
    path = write_dicom(tmp_path / "scan.dcm", LEVELS, VOILUTSequence=[table])
    np.testing.assert_array_equal(read_image(path), np.rint(LEVELS.astype(float) ** 2 / 65535 * 255))


def test_without_window_deep_levels_are_stretched(tmp_path):
    deep = LEVELS.astype(np.uint16) * 4 + 1000
    image = read_image(write_dicom(tmp_path / "scan.dcm", deep))
    assert (image.min(), image.max()) == (0, 255)
    np.testing.assert_array_equal(image, np.rint((LEVELS / LEVELS.max()) * 255))


def test_frame_of_a_cine_loop(tmp_path):
    path = write_dicom(tmp_path / "cine.dcm", np.stack([LEVELS, 255 - LEVELS, LEVELS // 2]))
    assert count_frames(path) == 3
    np.testing.assert_array_equal(read_image(path, frame=0), LEVELS)
    np.testing.assert_array_equal(read_image(path, frame=2), LEVELS // 2)
    with pytest.raises(ImageError, match=r"cine\.dcm: has 3 frames; expected .* 0\.\.2"):
        read_image(path)
    with pytest.raises(ImageError, match=r"cine\.dcm: has no frame 3; expected 0\.\.2"):
        read_image(path, frame=3)


def test_colour_ultrasound(tmp_path):
    grey = np.dstack([LEVELS] * 3)
    np.testing.assert_array_equal(read_image(write_dicom(tmp_path / "grey.dcm", grey, "RGB")), LEVELS)
    with pytest.raises(ImageError, match=r"doppler\.dcm: found colour"):
        read_image(write_dicom(tmp_path / "doppler.dcm", np.dstack([LEVELS, LEVELS, LEVELS // 2]), "RGB"))


def test_damaged_dicom(tmp_path):
    path = write_dicom(tmp_path / "scan.dcm", LEVELS)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ImageError, match=r"scan\.dcm: cannot be read as DICOM"):
        read_image(path)
    (tmp_path / "text.dcm").write_text("no")
    with pytest.raises(ImageError, match=r"text\.dcm: cannot be read as DICOM"):
        read_image(tmp_path / "text.dcm")


def test_dicom_mask_keeps_its_numbers(tmp_path):
    truth = LEVELS > 120
    path = write_dicom(tmp_path / "mask.dcm", truth.astype(np.uint16), WindowCenter=5000, WindowWidth=10)
    np.testing.assert_array_equal(read_mask(path, (30, 50)), truth)


def write_nifti(path, voxels, window=None):
    nibabel = pytest.importorskip("nibabel")
    picture = nibabel.Nifti1Image(voxels, np.diag([0.1, 0.2, 1, 1]))
    if window:
        picture.header["cal_min"], picture.header["cal_max"] = window
    nibabel.save(picture, path)
    return path


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_nifti_runs_along_the_columns_first(tmp_path, name, dtype):
    path = write_nifti(tmp_path / name, LEVELS.T.astype(dtype)[:, :, None])
    image = read_image(path)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, LEVELS)
    np.testing.assert_array_equal(read_mask(path, (30, 50)), LEVELS > 0)


def test_nifti_window(tmp_path):
    path = write_nifti(tmp_path / "scan.nii", LEVELS.T.astype(np.float32), window=(50, 150))
    np.testing.assert_array_equal(read_image(path), np.rint(((LEVELS - 50.0) / 100).clip(0, 1) * 255))
    with pytest.raises(ImageError, match=r"scan\.nii: has no frame 1"):
        read_image(path, frame=1)


@pytest.mark.parametrize(
    ("voxels", "found"),
    [
        (np.zeros((5, 4, 3, 2), np.uint8), "5x4x3x2 voxels"),
        (np.zeros((5, 0), np.uint8), "5x0 voxels"),
        (LEVELS.T.astype(np.float32) * 9, "no display window"),
        (np.full((5, 4), np.nan, np.float32), "NaN"),
    ],
)
def test_nifti_that_is_no_grey_slice(tmp_path, voxels, found):
    with pytest.raises(ImageError, match=rf"scan\.nii: found .*{found}"):
        read_image(write_nifti(tmp_path / "scan.nii", voxels))


def test_damaged_nifti(tmp_path):
    path = write_nifti(tmp_path / "scan.nii.gz", LEVELS.T.copy())
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ImageError, match=r"scan\.nii\.gz: cannot be read as NIfTI"):
        read_image(path)


@pytest.mark.parametrize(("name", "package"), [("scan.dcm", "pydicom"), ("scan.nii", "nibabel")])
def test_without_the_extra_the_error_says_how_to_get_it(tmp_path, monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(MissingDependencyError, match=rf"{name}: .*'{package}'.*pip install flip-learning\[medical\]"):
        read_image(tmp_path / name)
