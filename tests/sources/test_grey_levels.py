"""DICOM tags that say which grey levels are shown: padding, palettes, and those that are empty or make no sense."""

import numpy as np
import pytest

from flipenv.errors import ImageError
from flipenv.sources import read_image
from tests.sources.test_medical import LEVELS, write_dicom


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
