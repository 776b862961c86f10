"""Pictures and masks from files, on 30x50 images that are not symmetric."""

import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from flipenv.errors import ImageError, MaskError, SourceError
from flipenv.sources import read_image, read_mask

LEVELS = (np.arange(30 * 50).reshape(30, 50) * 7 % 251).astype(np.uint8)


def save(array, path, **options):
    Image.fromarray(array).save(path, **options)
    return path


def png16(path, color_type, channels):
    """A 16-bit PNG of colour, which Pillow cannot write."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\0" + bytes(4 * channels * 2) for _ in range(3))
    header = struct.pack(">IIBBBBB", 4, 3, 16, color_type, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_grey_comes_back_as_it_was(tmp_path, suffix):
    image = read_image(save(LEVELS, tmp_path / f"scan.{suffix}"))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, LEVELS)


def test_jpeg_is_read_as_grey(tmp_path):
    smooth = np.add.outer(np.arange(30) * 3, np.arange(50) * 2).astype(np.uint8)
    image = read_image(str(save(smooth, tmp_path / "scan.jpg", quality=95)))
    assert np.abs(image.astype(int) - smooth).max() < 5


def test_rgb_of_equal_channels_palette_opaque_alpha_and_one_bit(tmp_path):
    np.testing.assert_array_equal(read_image(save(np.dstack([LEVELS] * 3), tmp_path / "rgb.png")), LEVELS)
    opaque = np.dstack([*[LEVELS] * 3, np.full_like(LEVELS, 255)])
    np.testing.assert_array_equal(read_image(save(opaque, tmp_path / "rgba.png")), LEVELS)
    Image.fromarray(LEVELS).convert("P").save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), LEVELS)
    Image.fromarray(LEVELS > 99).save(tmp_path / "bit.png")
    np.testing.assert_array_equal(read_image(tmp_path / "bit.png"), (LEVELS > 99) * np.uint8(255))


def test_page_of_a_tiff(tmp_path):
    pages = [Image.fromarray(LEVELS), Image.fromarray(255 - LEVELS)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(read_image(tmp_path / "stack.tif", frame=1), 255 - LEVELS)
    with pytest.raises(ImageError, match=r"stack\.tif: has 2 frames; expected .* 0\.\.1"):
        read_image(tmp_path / "stack.tif")
    with pytest.raises(ImageError, match=r"stack\.tif: has 2 frames"):
        read_mask(tmp_path / "stack.tif", LEVELS.shape)
    with pytest.raises(ImageError, match=r"stack\.tif: has no frame 2; expected 0\.\.1"):
        read_image(tmp_path / "stack.tif", frame=2)


@pytest.mark.parametrize(
    ("name", "array", "found"),
    [
        ("deep.png", LEVELS.astype(np.uint16) * 200, "16-bit"),
        ("deep.tif", LEVELS.astype(np.uint16) * 200, "16-bit"),
        ("float.tif", LEVELS.astype(np.float32), "32-bit floats"),
        ("int.tif", LEVELS.astype(np.int32), "32-bit"),
        ("clear.png", np.dstack([LEVELS] * 4), "alpha channel that is not opaque"),
        ("colour.png", np.dstack([LEVELS, LEVELS, 255 - LEVELS]), r"found colour \(channels differ by up to"),
    ],
)
def test_what_is_not_8_bit_grey_is_refused(tmp_path, name, array, found):
    with pytest.raises(ImageError, match=rf"{name}: .*{found}.*expected .*grey"):
        read_image(save(array, tmp_path / name))


@pytest.mark.parametrize(("color_type", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_16_bit_colour_that_pillow_would_shorten_is_refused(tmp_path, color_type, channels):
    with pytest.raises(ImageError, match=r"deep\.png: found 16-bit"):
        read_image(png16(tmp_path / "deep.png", color_type, channels))


def test_cmyk_is_refused(tmp_path):
    Image.fromarray(LEVELS).convert("CMYK").save(tmp_path / "print.tif")
    with pytest.raises(ImageError, match=r"print\.tif: found Pillow mode CMYK"):
        read_image(tmp_path / "print.tif")


@pytest.mark.parametrize("tolerant", [False, True])
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
def test_cut_short_is_refused_whatever_pillow_is_set_to(tmp_path, monkeypatch, suffix, tolerant):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", tolerant)
    whole = save(LEVELS, tmp_path / f"whole.{suffix}").read_bytes()
    for kept in (0.5, 0.9):
        cut = tmp_path / f"cut.{suffix}"
        cut.write_bytes(whole[: int(len(whole) * kept)])
        with pytest.raises(ImageError, match=rf"cut\.{suffix}: is .*(copy|complete)"):
            read_image(cut)
    assert tolerant is ImageFile.LOAD_TRUNCATED_IMAGES


def test_a_flipped_bit_in_a_png_is_noticed(tmp_path):
    content = bytearray(save(LEVELS, tmp_path / "scan.png").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "scan.png").write_bytes(content)
    with pytest.raises(ImageError, match=r"scan\.png: is damaged"):
        read_image(tmp_path / "scan.png")


def test_other_files(tmp_path):
    with pytest.raises(SourceError, match=r"none\.png: no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(SourceError, match="is a folder"):
        read_image(tmp_path)
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match=r"empty\.png: is empty"):
        read_image(tmp_path / "empty.png")
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(ImageError, match=r"text\.png: cannot be read as PNG"):
        read_image(tmp_path / "text.png")


@pytest.mark.parametrize("kind", ["0/1", "0/255", "rgb", "rgba", "clear", "16-bit", "bit", "float"])
def test_masks_in_every_form(tmp_path, kind):
    truth = LEVELS > 120
    black = np.zeros_like(LEVELS)
    array = {
        "0/1": truth.astype(np.uint8),
        "0/255": truth * np.uint8(255),
        "rgb": np.dstack([black, black, truth * np.uint8(9)]),
        "rgba": np.dstack([truth * np.uint8(255)] * 3 + [black + 255]),
        "clear": np.dstack([black + 255] * 3 + [truth * np.uint8(255)]),
        "16-bit": truth.astype(np.uint16),
        "bit": truth,
        "float": truth.astype(np.float32),
    }[kind]
    path = save(array, Path(tmp_path) / f"mask.{'tif' if kind == 'float' else 'png'}")
    mask = read_mask(path, (30, 50))
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, truth)


def test_masks_that_do_not_fit(tmp_path):
    with pytest.raises(MaskError, match=r"mask\.png: mask is 50x30 but its image is 30x50"):
        read_mask(save(LEVELS.T.copy(), tmp_path / "mask.png"), (30, 50))
    with pytest.raises(MaskError, match=r"mask\.jpg: is a JPEG"):
        read_mask(save(LEVELS, tmp_path / "mask.jpg"), (30, 50))
    with pytest.raises(MaskError, match=r"deep\.png: found a colour mask with more than 8 bits"):
        read_mask(png16(tmp_path / "deep.png", 2, 3), (3, 4))
    with pytest.raises(SourceError, match=r"none\.png: no such file"):
        read_mask(tmp_path / "none.png", (30, 50))


def test_any_damage_raises_an_image_error_and_nothing_else(tmp_path):
    random = np.random.default_rng(0)
    for suffix in ("PNG", "JPEG", "BMP", "TIFF"):
        stream = io.BytesIO()
        Image.fromarray(LEVELS).save(stream, suffix)
        for _ in range(40):
            content = bytearray(stream.getvalue())
            content[random.integers(8, len(content))] = random.integers(256)
            path = tmp_path / "scan"
            path.write_bytes(content)
            with contextlib.suppress(ImageError):
                assert read_image(path).dtype == np.uint8
