"""Valid files for `fuzz_readers.py` to corrupt: one of each form that `flip segment` reads."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image, TiffImagePlugin

HEIGHT, WIDTH = 24, 36

Files: TypeAlias = dict[str, list[tuple[str, bytes]]]  # kind -> name and content of each


def valid_files(folder: Path) -> Files:
    """Valid files of each kind; the images that tables and COCO files refer to are written to the folder."""
    grey = np.add.outer(np.arange(HEIGHT) * 5, np.arange(WIDTH) * 3).astype(np.uint8)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[6:18, 8:28] = 255
    Image.fromarray(grey).save(folder / "good.png")
    Image.fromarray(mask).save(folder / "mask.png")
    return {
        "image": _images(grey, mask),
        "dicom": _dicoms(grey),
        "nifti": _niftis(grey, mask),
        "csv": [("t.csv", _table())],
        "coco": [("c.json", json.dumps(_instances()).encode())],
    }


def _images(grey: np.ndarray, mask: np.ndarray) -> list[tuple[str, bytes]]:
    exif = Image.Exif()
    exif[274] = 6
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[274] = 8
    pages = {"save_all": True, "append_images": [Image.fromarray(255 - grey)]}
    pictures: list[tuple[str, Any, dict[str, Any]]] = [
        ("grey.png", grey, {}),
        ("exif.png", grey, {"exif": exif}),
        ("palette.png", Image.fromarray(grey).convert("P"), {}),
        ("clear.png", np.dstack([grey] * 3 + [mask]), {}),
        ("rgb.png", np.dstack([grey] * 3), {}),
        ("bit.png", mask > 0, {}),
        ("deep.png", grey.astype(np.uint16), {"transparency": 3}),
        ("grey.jpg", grey, {}),
        ("exif.jpg", grey, {"exif": exif, "progressive": True}),
        ("rgb.jpg", np.dstack([grey] * 3), {}),
        ("raw.tif", grey, {}),
        ("turned.tif", grey, {"tiffinfo": tags}),
        ("lzw.tif", grey, {"compression": "tiff_lzw"}),
        ("deflate.tif", np.dstack([grey] * 3), {"compression": "tiff_adobe_deflate"}),
        ("packbits.tif", grey, {"compression": "packbits"}),
        ("fax.tif", mask > 0, {"compression": "group4"}),
        ("bit.tif", mask > 0, {}),
        ("float.tif", mask.astype(np.float32), {}),
        ("pages.tif", grey, pages),
        ("grey.bmp", grey, {}),
        ("rgb.bmp", np.dstack([grey] * 3), {}),
    ]
    made = []
    for name, picture, options in pictures:
        stream = io.BytesIO()
        kind = {"jpg": "JPEG", "tif": "TIFF"}.get(name[-3:], name[-3:].upper())
        (Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(stream, kind, **options)
        made.append((name, stream.getvalue()))
    return made


def _dicoms(grey: np.ndarray) -> list[tuple[str, bytes]]:
    table = (np.arange(256, dtype=np.uint16) * 256).tobytes()
    palette: dict[str, Any] = {}
    for colour in ("Red", "Green", "Blue"):
        palette |= {f"{colour}PaletteColorLookupTableDescriptor": [256, 0, 16]}
        palette |= {f"{colour}PaletteColorLookupTableData": table}
    deep = grey.astype(np.int16) * 16 - 500
    return [
        ("grey.dcm", _dicom(grey)),
        ("window.dcm", _dicom(deep, WindowCenter=500, WindowWidth=900, RescaleSlope=1, RescaleIntercept=-3)),
        ("padding.dcm", _dicom(deep, PixelPaddingValue=-500)),
        ("palette.dcm", _dicom(grey, "PALETTE COLOR", **palette)),
        ("loop.dcm", _dicom(np.stack([grey, 255 - grey]))),
        ("rgb.dcm", _dicom(np.dstack([grey] * 3), "RGB", PlanarConfiguration=0)),
        ("no suffix", _dicom(grey)),
    ]


def _dicom(pixels: np.ndarray, photometric: str = "MONOCHROME2", **tags: Any) -> bytes:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, UltrasoundImageStorage

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UltrasoundImageStorage, "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID, dataset.SOPInstanceUID = UltrasoundImageStorage, "1.2.3"
    shape = pixels.shape[:2] if photometric == "RGB" else pixels.shape
    dataset.Rows, dataset.Columns = shape[-2:]
    if len(shape) == 3:
        dataset.NumberOfFrames = shape[0]
    dataset.SamplesPerPixel = 3 if photometric == "RGB" else 1
    dataset.PhotometricInterpretation = photometric
    bits = 8 * pixels.dtype.itemsize
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(dataset, name, value)
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _niftis(grey: np.ndarray, mask: np.ndarray) -> list[tuple[str, bytes]]:
    import nibabel

    made = []
    volume = np.stack([grey, grey[::-1], 255 - grey])
    arrays = {"grey": grey, "mask": mask.astype(np.float32), "deep": grey.astype(np.int16), "volume": volume}
    for name, array in arrays.items():
        data = nibabel.Nifti1Image(array.T, np.eye(4)).to_bytes()
        made += [(f"{name}.nii", data), (f"{name}.nii.gz", gzip.compress(data, mtime=0))]
    return made


def _table() -> bytes:
    rows = [
        "image,mask,id,frame,x0,y0,x1,y1,split",
        "good.png,mask.png,a,,5,4,30,20,train",
        "good.png,,,,6,5,31,21,test",
        "mask.png,,b,0,2,2,31,21,test",
    ]
    return "\n".join(rows).encode() + b"\n"


def _instances() -> dict[str, Any]:
    lengths = {"size": [HEIGHT, WIDTH], "counts": [100, 50, HEIGHT * WIDTH - 150]}
    segmentations = ([[8, 6, 28, 6, 28, 18, 8, 18]], lengths, {"size": [HEIGHT, WIDTH], "counts": "T3b1f4\\OP<"}, [])
    return {
        "images": [
            {"id": 1, "file_name": "good.png", "height": HEIGHT, "width": WIDTH},
            {"id": 2, "file_name": "mask.png", "frame": 0},
        ],
        "categories": [{"id": 1, "name": "nodule"}, {"id": 2, "name": "cyst"}],
        "annotations": [
            {
                "id": number,
                "image_id": 1 + number % 2,
                "category_id": 1 + number // 3,
                "bbox": [5.5, 4, 25, 16],
                "segmentation": segmentation,
                "iscrowd": 0,
            }
            for number, segmentation in enumerate(segmentations)
        ],
    }
