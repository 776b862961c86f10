"""Masks as DICOM Segmentation objects, which stand beside their image in its study."""

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
ULTRASOUND = "1.2.840.10008.5.1.4.1.1.6.1"  # SOP class of a still


def seg_bytes(mask: Mask, scan: Scan | None) -> bytes:
    """The mask as a binary DICOM Segmentation that refers to a DICOM image or one frame of it, made by an algorithm.

    Study and patient are those of the image; series and instance are new each time. Raises ImageError where `scan` is
    no DICOM file with its study and patient, or has several frames and none is named, MaskError for an empty mask,
    which a Segmentation cannot hold, MissingDependencyError without highdicom.
    """
    highdicom = need("highdicom", extra="seg", purpose="writing DICOM Segmentations")
    pydicom = need("pydicom", extra="seg", purpose="writing DICOM Segmentations")
    codes = need("pydicom.sr.codedict", extra="seg", purpose="writing DICOM Segmentations").codes
    check_scan(scan)
    assert scan is not None
    if not mask.any():
        raise MaskError(f"{scan.file}: the mask is empty, and a DICOM Segmentation cannot say so")
    try:
        image: Any = pydicom.dcmread(scan.file, stop_before_pixels=True)
        frame = check_frame(scan.file, scan.frame, frames_of(image))
        segment = highdicom.seg.SegmentDescription(
            1,
            LABEL,
            codes.SCT.MorphologicallyAbnormalStructure,
            codes.SCT.Nodule,
            highdicom.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC,  # somebody drew the box
            highdicom.AlgorithmIdentificationSequence(
                "Flip Learning", codes.DCM.ArtificialIntelligence, flipenv.__version__
            ),
        )
        made = highdicom.seg.Segmentation(
            [_still(image)],
            mask[None],
            highdicom.seg.SegmentationTypeValues.BINARY,
            [segment],
            series_instance_uid=highdicom.UID(),
            series_number=1000,  # likely free in the study
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer="flip-learning",
            manufacturer_model_name="flip-learning",
            software_versions=flipenv.__version__,
            device_serial_number="0",
        )
        if frames_of(image) > 1:
            made.walk(partial(_refer, image=image, frame=frame))
        file = io.BytesIO()
        made.save_as(file)
    except ImageError:
        raise
    # What is missing in a file makes both libraries raise nearly anything.
    except Exception as error:
        raise ImageError(
            f"{scan.file}: no DICOM Segmentation can refer to it ({error}); expected a DICOM image with its study and "
            "patient: leave dicom-seg out, or use nifti"
        ) from error
    return file.getvalue()


def check_scan(scan: Scan | None) -> None:
    """Raise ImageError unless a case's image is in a DICOM file, to which a Segmentation can refer."""
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
    """The header as of an image with one frame: highdicom refers to no single frame of a film without coordinates."""
    if frames_of(image) == 1:
        return image
    still = copy.deepcopy(image)
    still.NumberOfFrames, still.SOPClassUID = 1, ULTRASOUND
    return still


def _refer(dataset: Any, element: Any, *, image: Any, frame: int) -> None:
    """Make what refers to the still refer to a frame of the film; called for each element (PS3.3, table 10-3)."""
    if element.keyword == "ReferencedSOPClassUID" and dataset.ReferencedSOPInstanceUID == image.SOPInstanceUID:
        element.value = image.SOPClassUID
    elif element.keyword == "SourceImageSequence":
        for item in element.value:
            item.ReferencedFrameNumber = frame + 1
