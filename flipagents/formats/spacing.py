"""Pixel spacing of an image, if its file states it."""

from __future__ import annotations

from typing import Any

from flipagents.formats.nifti import read_voxels
from flipagents.formats.scans import Scan
from flipenv.sources.extras import need
from flipenv.sources.nifti import slices_along
from flipenv.sources.readers import is_dicom, is_nifti

CM = 3  # code of PhysicalUnitsXDirection, PS3.3 C.8.5.5.1.15
SMALLEST, LARGEST = 1e-4, 1e3  # mm
TAGS = ("PixelSpacing", "SequenceOfUltrasoundRegions")


def spacing_of(scan: Scan | None) -> tuple[float, float] | None:
    """Pixel spacing (down, across) in mm from a DICOM or NIfTI file.

    For DICOM that is PixelSpacing, or the calibration common to all its ultrasound regions. None if it is not stated.
    Raises ImageError for a damaged NIfTI file; MissingDependencyError without pydicom or nibabel.
    """
    if scan is None:
        return None
    if is_nifti(scan.file):
        voxels = read_voxels(scan.file)
        if voxels is None or voxels.header.get_xyzt_units()[0] != "mm":
            return None
        slices, sizes = slices_along(scan.file, voxels.shape, scan.axis), voxels.header.get_zooms()
        return _sane(float(sizes[slices.rows]), float(sizes[slices.columns]))
    with scan.file.open("rb") as file:
        head = file.read(132)
    if not is_dicom(scan.file, head):
        return None
    pydicom = need("pydicom", extra="medical", purpose=f"{scan.file}: reading DICOM")
    try:
        return _dicom_spacing(pydicom.dcmread(scan.file, stop_before_pixels=True, specific_tags=list(TAGS)))
    # Odd headers make pydicom raise nearly anything; unreadable spacing counts as missing.
    except Exception:
        return None


def _dicom_spacing(header: Any) -> tuple[float, float] | None:
    if header.get("PixelSpacing"):
        down, across = (float(size) for size in header.PixelSpacing)
        return _sane(down, across)
    regions = header.get("SequenceOfUltrasoundRegions") or []
    if any((region.PhysicalUnitsXDirection, region.PhysicalUnitsYDirection) != (CM, CM) for region in regions):
        return None
    found = {(abs(float(region.PhysicalDeltaY)) * 10, abs(float(region.PhysicalDeltaX)) * 10) for region in regions}
    return _sane(*found.pop()) if len(found) == 1 else None


def _sane(down: float, across: float) -> tuple[float, float] | None:
    """The size of a pixel in mm; None where no picture has it: a mistaken unit, a damaged header."""
    return (down, across) if all(SMALLEST <= side <= LARGEST for side in (down, across)) else None
