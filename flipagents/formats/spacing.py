"""How large an image's pixels are, where its file tells it."""

from __future__ import annotations

from typing import Any

from flipagents.formats.nifti import read_voxels
from flipagents.formats.scans import Scan
from flipenv.sources.extras import need
from flipenv.sources.readers import is_dicom, is_nifti

CM = 3  # code of PhysicalUnitsXDirection, PS3.3 C.8.5.5.1.15
TAGS = ("PixelSpacing", "SequenceOfUltrasoundRegions")


def spacing_of(scan: Scan | None) -> tuple[float, float] | None:
    """Size of an image's pixels, (down, across) in mm, where its DICOM or NIfTI file tells it.

    Of DICOM that is PixelSpacing, or the calibration that all its ultrasound regions share. None where nothing is told.
    Raises ImageError for a damaged NIfTI file; MissingDependencyError without pydicom or nibabel.
    """
    if scan is None:
        return None
    if is_nifti(scan.file):
        voxels = read_voxels(scan.file)
        if voxels is None or voxels.header.get_xyzt_units()[0] != "mm":
            return None
        across, down = (float(size) for size in voxels.header.get_zooms()[:2])
        return down, across
    with scan.file.open("rb") as file:
        head = file.read(132)
    if not is_dicom(scan.file, head):
        return None
    pydicom = need("pydicom", extra="medical", purpose=f"{scan.file}: reading DICOM")
    try:
        return _dicom_spacing(pydicom.dcmread(scan.file, stop_before_pixels=True, specific_tags=list(TAGS)))
    # Odd headers make pydicom raise nearly anything; a size that cannot be read is one that is not told.
    except Exception:
        return None


def _dicom_spacing(header: Any) -> tuple[float, float] | None:
    if header.get("PixelSpacing"):
        down, across = (float(size) for size in header.PixelSpacing)
        return (down, across) if down > 0 and across > 0 else None
    regions = header.get("SequenceOfUltrasoundRegions") or []
    if any((region.PhysicalUnitsXDirection, region.PhysicalUnitsYDirection) != (CM, CM) for region in regions):
        return None
    found = {(abs(float(region.PhysicalDeltaY)) * 10, abs(float(region.PhysicalDeltaX)) * 10) for region in regions}
    (spacing,) = found if len(found) == 1 else (None,)
    return spacing if spacing is None or min(spacing) > 0 else None
