"""The ways in which `fuzz_readers.py` corrupts files."""

from __future__ import annotations

import copy
import gzip
import io
import json
import struct
import zlib
from typing import Any

import numpy as np
from valid_files import Files

KINDS = ("image", "dicom", "nifti", "csv", "coco")
SHARES = (0.4, 0.2, 0.1, 0.15, 0.15)  # of the inputs
ODD_NUMBERS = (0, 1, 2, 7, 8, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 3, 0.5, 1e300, 10**30, float("nan"), float("inf"), -0.0, [], [[]], {}, ""),
    *("a", "nodule", "x" * 300, "a\0b", "../good.png", "\ud800", "é", "1", [1, 2, 3], [1, 2, 3, 4, 5], [[1, 2, 3, 4]]),
    *([0, 0, 0, 0], [5.5, 4.5, 11, 11], {"size": [24, 36], "counts": [864]}, {"size": [24, 36], "counts": "abc"}),
)
ODD_CELLS = (
    *("", "nan", "inf", "-1", "1e400", "1e30", "0.5", "٣", "good.png", "missing.png", "../good.png", "x" * 300, "a\0b"),
    *('"', ";", ",", "\n", "\r", "é", "7", "20", "1_0", "0x10", " 5 ", "spoilt"),
)
TAGS = (  # DICOM tags on how pixels are stored and shown
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel"),
    *("PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "WindowCenter", "WindowWidth"),
    *("RescaleSlope", "RescaleIntercept", "VOILUTFunction", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("RedPaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData", "PixelData", "VOILUTSequence"),
)
TAG_VALUES: tuple[Any, ...] = (
    *(None, 0, 1, 2, 8, 12, 16, 24, 65535, -1, 0.5, "", "nan", "MONOCHROME1", "PALETTE COLOR", "RGB", "YBR_FULL"),
    *("SIGMOID", "CUBIC", [0, 0], [0, 100], [100, 0], [256, 0, 16], [0, 0, 8], b"", b"\1\2", b"x" * 600),
)


def corrupted(valid: Files, random: np.random.Generator) -> tuple[str, str, bytes]:
    """Return kind, name and content of one corrupted file; deterministic in the generator's state."""
    kind = KINDS[random.choice(len(KINDS), p=SHARES)]
    name, data = valid[kind][random.integers(len(valid[kind]))]
    for _ in range(random.integers(1, 4)):
        data = _change(kind, name, data, random)
    return kind, name, data


def _change(kind: str, name: str, data: bytes, random: np.random.Generator) -> bytes:
    """Corrupt the content such that the file keeps its format, or else arbitrary bytes."""
    suffix = name.rpartition(".")[2]
    structured = {"coco": _json, "csv": _cells, "dicom": _tags}.get(kind) or BY_SUFFIX.get(suffix, _header)
    return structured(data, random) if random.random() < 0.7 and len(data) >= 16 else _bytes(data, random)


def _bytes(data: bytes, random: np.random.Generator) -> bytes:
    content = bytearray(data)
    place = int(random.integers(len(content) + 1))
    size = int(random.integers(1, 9))
    match random.integers(7):
        case 0:
            for spot in random.integers(0, max(len(content), 1), size):
                content[spot : spot + 1] = bytes([random.integers(256)])
        case 1:
            content[place:] = b""
        case 2:
            content[place:place] = random.bytes(size)
        case 3:
            content[place : place + size] = b""
        case 4:
            content[place : place + size] = bytes([random.choice([0, 255])]) * size
        case 5:
            number = ODD_NUMBERS[random.integers(len(ODD_NUMBERS))]
            width = int(random.choice([2, 4]))
            order = "little" if random.integers(2) else "big"
            content[place : place + width] = (number % (1 << 8 * width)).to_bytes(width, order)
        case _:
            content += random.bytes(int(random.integers(1, 200)))
    return bytes(content)


def _header(data: bytes, random: np.random.Generator) -> bytes:
    return _bytes(data[:400], random) + data[400:]


def _checked(data: bytes, random: np.random.Generator) -> bytes:
    """Corrupt a PNG and repair the checksums of its chunks, so that the decoder reaches the corrupted data."""
    data = _bytes(data, random)
    out, place = bytearray(data[:8]), 8
    while place + 12 <= len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        body = data[place + 4 : place + 8 + size]
        out += data[place : place + 4] + body + struct.pack(">I", zlib.crc32(body))
        place += 12 + size
    return bytes(out)


def _packed(data: bytes, random: np.random.Generator) -> bytes:
    try:
        inside = gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return _bytes(data, random)
    return gzip.compress(_bytes(inside[:352], random) + inside[352:], mtime=0)


def _tiff_entry(data: bytes, random: np.random.Generator) -> bytes:
    """Change tag, type, count or value of an entry in a little-endian TIFF's directory, or remove the entry."""
    content = bytearray(data)
    start = int.from_bytes(content[4:8], "little")
    count = int.from_bytes(content[start : start + 2], "little")
    if not count or start + 2 + 12 * count > len(content):
        return _bytes(data, random)
    entry = start + 2 + 12 * int(random.integers(count))
    number = ODD_NUMBERS[random.integers(len(ODD_NUMBERS))] % (1 << 32)
    match random.integers(5):
        case 0:
            tags = [254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 282, 284, 317, 320, 338, 339, 34665]
            content[entry : entry + 2] = int(random.choice(tags)).to_bytes(2, "little")
        case 1:
            content[entry + 2 : entry + 4] = int(random.integers(0, 18)).to_bytes(2, "little")
        case 2:
            content[entry + 4 : entry + 8] = number.to_bytes(4, "little")
        case 3:
            content[entry + 8 : entry + 12] = number.to_bytes(4, "little")
        case _:
            end = start + 2 + 12 * count
            kept = content[start + 2 : entry] + content[entry + 12 : end + 4]
            # padded, so that the rest keeps its offsets
            content[start : end + 4] = (count - 1).to_bytes(2, "little") + kept + bytes(12)
    return bytes(content)


def _tags(data: bytes, random: np.random.Generator) -> bytes:
    """Change or remove a tag of a DICOM file."""
    import pydicom

    tag, value = TAGS[random.integers(len(TAGS))], TAG_VALUES[random.integers(len(TAG_VALUES))]
    out = io.BytesIO()
    try:
        with pydicom.config.disable_value_validation():
            dataset = pydicom.dcmread(io.BytesIO(data))
            if random.integers(6) == 0:
                delattr(dataset, tag)
            else:
                setattr(dataset, tag, value)
            pydicom.dcmwrite(out, dataset, enforce_file_format=True)
    except Exception:
        return _bytes(data, random)
    return out.getvalue()


def _cells(data: bytes, random: np.random.Generator) -> bytes:
    rows = [line.split(",") for line in data.decode(errors="surrogateescape").split("\n")]
    row = rows[random.integers(len(rows))]
    match random.integers(6):
        case 0:
            row.pop(random.integers(len(row)))
        case 1:
            row.insert(random.integers(len(row) + 1), ODD_CELLS[random.integers(len(ODD_CELLS))])
        case 2:
            rows.insert(random.integers(len(rows) + 1), list(row))
        case 3 if len(rows) > 1:
            rows.remove(row)
        case _:
            row[random.integers(len(row))] = ODD_CELLS[random.integers(len(ODD_CELLS))]
    return "\n".join(",".join(row) for row in rows).encode(errors="surrogateescape")


def _json(data: bytes, random: np.random.Generator) -> bytes:
    try:
        return json.dumps(_odd(json.loads(data), random)).encode()
    except (ValueError, RecursionError):  # no longer JSON, or nested too deeply
        return _bytes(data, random)


def _odd(content: Any, random: np.random.Generator) -> Any:
    """Replace, remove, duplicate or nest a value."""
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in node.keys() if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    if isinstance(content, dict | list):
        walk(content)
    if not places:
        return ODD_VALUES[random.integers(len(ODD_VALUES))]
    node, key = places[random.integers(len(places))]
    match random.integers(6):
        case 0:
            del node[key]
        case 1 if isinstance(node, list):
            node.append(copy.deepcopy(node[key]))
        case 2:
            for _ in range(int(random.choice([2, 50, 900, 990]))):
                node[key] = [node[key]]
        case 3 if isinstance(node[key], str) and node[key]:
            spot = int(random.integers(len(node[key])))
            more = chr(random.integers(32, 130)) * int(random.integers(4))
            node[key] = node[key][:spot] + more + node[key][spot + 1 :]
        case _:
            node[key] = copy.deepcopy(ODD_VALUES[random.integers(len(ODD_VALUES))])
    return content


BY_SUFFIX = {"png": _checked, "tif": _tiff_entry, "gz": _packed}
