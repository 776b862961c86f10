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


@pytest.mark.parametrize(
    ("dtype", "padding", "stored_as"),
    [
        (np.int16, -32768, "SS"),
        (np.int16, -2000, "SS"),
        (np.int16, 65536 - 2000, "US"),  # as some write it
        (np.uint16, 0, "US"),
        (np.uint16, 65535, "US"),
        (np.uint16, -1, "SS"),
    ],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
def test_padding_is_left_out_of_the_stretch(tmp_path, dtype, padding, stored_as, photometric):
    pydicom = pytest.importorskip("pydicom")
    deep = LEVELS.astype(dtype) + 100
    pixels = deep.copy()
    pixels[:, :6] = padding % 65536 if dtype == np.uint16 else (padding + 32768) % 65536 - 32768
    tag = pydicom.DataElement(0x00280120, stored_as, padding)
    image = read_image(write_dicom(tmp_path / "scan.dcm", pixels, photometric, padding=tag))
    expected = np.rint((deep - deep[:, 6:].min()) / np.ptp(deep[:, 6:]) * 255)
    np.testing.assert_array_equal(
        image[:, 6:], expected[:, 6:] if photometric == "MONOCHROME2" else 255 - expected[:, 6:]
    )
    bare = read_image(write_dicom(tmp_path / "bare.dcm", pixels, photometric))
    assert np.ptp(bare[:, 6:]) < np.ptp(image[:, 6:]) == 255


@pytest.mark.parametrize("limits", [(-1000, -900), (-900, -1000)])
def test_a_range_of_padding(tmp_path, limits):
    pydicom = pytest.importorskip("pydicom")
    pixels = LEVELS.astype(np.int16)
    pixels[:, :4], pixels[:, 4:8] = -1000, -950
    pixels[0, 0] = -900
    tags = [pydicom.DataElement(0x00280120 + number, "SS", value) for number, value in enumerate(limits)]
    image = read_image(write_dicom(tmp_path / "scan.dcm", pixels, value=tags[0], limit=tags[1]))
    inside = LEVELS[:, 8:]
    np.testing.assert_array_equal(image[:, 8:], np.rint((inside - inside.min()) / np.ptp(inside) * 255))


def test_nothing_but_padding_and_empty_padding(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    flat = np.full((30, 50), 7, np.uint16)
    assert not read_image(write_dicom(tmp_path / "a.dcm", flat, PixelPaddingValue=7)).any()
    empty = pydicom.DataElement(0x00280120, "US", None)
    deep = LEVELS.astype(np.uint16) * 4 + 1000
    plain = read_image(write_dicom(tmp_path / "plain.dcm", deep))
    np.testing.assert_array_equal(read_image(write_dicom(tmp_path / "b.dcm", deep, padding=empty)), plain)


def palette(bits, entries):
    """An inverted palette of grey levels in the first entries, white in the rest."""
    table = np.full(256, entries[0], np.uint16 if bits == 16 else np.uint8)
    table[: len(entries)] = entries
    names = [f"{colour}PaletteColorLookupTable" for colour in ("Red", "Green", "Blue")]
    return {f"{name}Data": table.tobytes() for name in names} | {f"{name}Descriptor": [256, 0, bits] for name in names}


@pytest.mark.parametrize(("bits", "factor"), [(8, 1), (16, 1), (16, 256), (16, 257)])
def test_palettes_of_8_and_16_bits(tmp_path, bits, factor):
    entries = np.arange(251)[::-1] * factor
    path = write_dicom(tmp_path / "scan.dcm", LEVELS, "PALETTE COLOR", **palette(bits, entries))
    np.testing.assert_array_equal(read_image(path), 250 - LEVELS)


@pytest.mark.parametrize(
    "tags",
    [
        {"WindowCenter": 40, "WindowWidth": 0},
        {"WindowCenter": None, "WindowWidth": 100},
        {"WindowCenter": 40, "WindowWidth": None},
        {"WindowCenter": None, "WindowWidth": None},
        {"WindowCenter": [40, 50], "WindowWidth": [0, 0]},
        {"RescaleSlope": None, "RescaleIntercept": None},
        {"RescaleSlope": 0, "RescaleIntercept": 0},
        {"RescaleSlope": 0, "RescaleIntercept": -1024},
        {"RescaleSlope": None, "RescaleIntercept": -1024},
        {"RescaleSlope": 3, "RescaleIntercept": None},
        {"RescaleSlope": 3},
        {"VOILUTFunction": None, "WindowWidth": 0, "WindowCenter": 1},
    ],
    ids=str,
)
def test_tags_that_say_nothing_are_as_if_absent(tmp_path, tags):
    deep = LEVELS.astype(np.int16) * 4
    plain = read_image(write_dicom(tmp_path / "plain.dcm", deep))
    np.testing.assert_array_equal(read_image(write_dicom(tmp_path / "scan.dcm", deep, **tags)), plain)


def test_the_first_window_that_says_something_is_taken(tmp_path):
    deep = LEVELS.astype(np.uint16) * 16
    window = {"WindowCenter": [5, 2000], "WindowWidth": [0, 1001]}
    image = read_image(write_dicom(tmp_path / "scan.dcm", deep, VOILUTFunction=None, **window))
    np.testing.assert_array_equal(image, np.rint(((deep - 1999.5) / 1000 + 0.5).clip(0, 1) * 255))


def test_a_rescale_whose_intercept_is_empty_still_counts_under_a_window(tmp_path):
    deep = LEVELS.astype(np.int16)
    path = write_dicom(
        tmp_path / "scan.dcm", deep, RescaleSlope=4, RescaleIntercept=None, WindowCenter=500, WindowWidth=401
    )
    np.testing.assert_array_equal(read_image(path), np.rint(((deep * 4 - 499.5) / 400 + 0.5).clip(0, 1) * 255))


def test_a_slope_below_0_turns_the_levels_over(tmp_path):
    deep = LEVELS.astype(np.int16)
    path = write_dicom(
        tmp_path / "scan.dcm", deep, RescaleSlope=-1, RescaleIntercept=0, WindowCenter=-125, WindowWidth=201
    )
    np.testing.assert_array_equal(read_image(path), np.rint(((-deep + 125.5) / 200 + 0.5).clip(0, 1) * 255))


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("WindowWidth", -10, r"WindowWidth \(0028,1051\) is -10; expected at least 1"),
        ("WindowWidth", 0.5, r"WindowWidth \(0028,1051\) is 0\.5; expected at least 1"),
        ("WindowCenter", "nan", r"WindowCenter \(0028,1050\) is .*nan.*; expected a number"),
        ("RescaleSlope", "inf", r"RescaleSlope \(0028,1053\) is .*inf.*; expected a number"),
        ("VOILUTFunction", "CUBIC", "VOI LUT Function value 'CUBIC'"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_tags_that_make_no_sense_are_named(tmp_path, name, value, found):
    tags = {"RescaleSlope": 1, "RescaleIntercept": 0, "WindowCenter": 50, "WindowWidth": 100, name: value}
    with pytest.raises(ImageError, match=rf"scan\.dcm: .*{found}"):
        read_image(write_dicom(tmp_path / "scan.dcm", LEVELS.astype(np.int16), **tags))


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
        (np.zeros((5, 4, 3), np.uint8), "5x4x3 voxels"),
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
