"""Masks as DICOM Segmentation objects in the study of their image."""

from __future__ import annotations

import copy
import io
from functools import partial
from typing import Any

import flipenv
from flipagents.formats.scans import Scan
from flipenv.errors import ImageError, MaskError
from flipenv.pixels import Mask
from flipenv.sources.contents import check_frame
from flipenv.sources.extras import need
from flipenv.sources.medical import frames_of
from flipenv.sources.readers import is_dicom

LABEL = "nodule"
ULTRASOUND = "1.2.840.10008.5.1.4.1.1.6.1"  # SOP class of single-frame ultrasound


def seg_bytes(mask: Mask, scan: Scan | None) -> bytes:
    """The mask as a binary DICOM Segmentation that refers to a DICOM image or one frame of it, algorithm-generated.

    Study and patient are those of the image; series and instance are new each time. Raises ImageError unless `scan` is
    a DICOM file with study and patient, with a frame number if it has several frames; MaskError for an empty mask,
    which a Segmentation cannot represent; MissingDependencyError without highdicom.
    """
    highdicom = need("highdicom", extra="seg", purpose="writing DICOM Segmentations")
    pydicom = need("pydicom", extra="seg", purpose="writing DICOM Segmentations")
    codes = need("pydicom.sr.codedict", extra="seg", purpose="writing DICOM Segmentations").codes
    check_scan(scan)
    assert scan is not None
    if not mask.any():
        raise MaskError(f"{scan.file}: the mask is empty, which a DICOM Segmentation cannot represent")
    try:
        image: Any = pydicom.dcmread(scan.file, stop_before_pixels=True)
        frame = check_frame(scan.file, scan.frame, frames_of(image))
        segment = highdicom.seg.SegmentDescription(
            1,
            LABEL,
            codes.SCT.MorphologicallyAbnormalStructure,
            codes.SCT.Nodule,
            highdicom.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC,  # the box is drawn by hand
            highdicom.AlgorithmIdentificationSequence(
                "Flip Learning", codes.DCM.ArtificialIntelligence, flipenv.__version__
            ),
        )
        segmentation = highdicom.seg.Segmentation(
            [_still(image)],
            mask[None],
            highdicom.seg.SegmentationTypeValues.BINARY,
            [segment],
            series_instance_uid=highdicom.UID(),
            series_number=1000,  # unlikely to be taken in the study
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer="flip-learning",
            manufacturer_model_name="flip-learning",
            software_versions=flipenv.__version__,
            device_serial_number="0",
        )
        if frames_of(image) > 1:
            segmentation.walk(partial(_refer, image=image, frame=frame))
        file = io.BytesIO()
        segmentation.save_as(file)
    except ImageError:
        raise
    # Both libraries may raise nearly anything when a file lacks an attribute.
    except Exception as error:
        raise ImageError(
            f"{scan.file}: a DICOM Segmentation cannot refer to it ({error}); expected a DICOM image with study and "
            "patient: omit dicom-seg, or use nifti"
        ) from error
    return file.getvalue()


def check_scan(scan: Scan | None) -> None:
    """Raise ImageError unless a case's image is a DICOM file, to which a Segmentation can refer."""
    if scan is None:
        raise ImageError("a DICOM Segmentation refers to a DICOM image; this case has no file of its own: use nifti")
    try:
        with scan.file.open("rb") as file:
            head = file.read(132)
    except OSError as error:
        raise ImageError(f"{scan.file}: cannot be read ({error.strerror})") from error
    if not is_dicom(scan.file, head):
        raise ImageError(f"{scan.file}: is not DICOM, and a DICOM Segmentation refers to a DICOM image: use nifti")


def _still(image: Any) -> Any:
    """Single-frame header: highdicom cannot refer to one frame of a multi-frame image without coordinates."""
    if frames_of(image) == 1:
        return image
    still = copy.deepcopy(image)
    still.NumberOfFrames, still.SOPClassUID = 1, ULTRASOUND
    return still


def _refer(dataset: Any, element: Any, *, image: Any, frame: int) -> None:
    """Add the frame number to references to the image; called for each element (PS3.3, table 10-3)."""
    if element.keyword == "ReferencedSOPClassUID" and dataset.ReferencedSOPInstanceUID == image.SOPInstanceUID:
        element.value = image.SOPClassUID
    elif element.keyword == "SourceImageSequence":
        for item in element.value:
            item.ReferencedFrameNumber = frame + 1
