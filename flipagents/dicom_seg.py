"""Masks as DICOM Segmentation objects, which stand beside their image in its study."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import flipenv
from flipenv.errors import ImageError, MaskError
from flipenv.sources.extras import need

LABEL = "nodule"

Mask: TypeAlias = NDArray[np.bool_]  # (height, width)


def seg_bytes(mask: Mask, scan: Path | None) -> bytes:
    """The mask as a binary DICOM Segmentation that refers to the DICOM image `scan`, made by an algorithm.

    Study and patient are those of the image; series and instance are new each time. Raises ImageError where the image
    is no DICOM file of one frame with its study and patient, MaskError for an empty mask, which a Segmentation cannot
    hold, MissingDependencyError without highdicom.
    """
    highdicom = need("highdicom", extra="seg", purpose="writing DICOM Segmentations")
    pydicom = need("pydicom", extra="seg", purpose="writing DICOM Segmentations")
    codes = need("pydicom.sr.codedict", extra="seg", purpose="writing DICOM Segmentations").codes
    if scan is None:
        raise ImageError("a DICOM Segmentation refers to a DICOM image; this case has no file of its own: use nifti")
    if not mask.any():
        raise MaskError(f"{scan}: the mask is empty, and a DICOM Segmentation cannot say so")
    try:
        image: Any = pydicom.dcmread(scan)
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
            [image],
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
        file = io.BytesIO()
        made.save_as(file)
    # What is missing in a file makes both libraries raise nearly anything.
    except Exception as error:
        raise ImageError(
            f"{scan}: no DICOM Segmentation can refer to it ({error}); expected a DICOM image of one frame with its "
            "study and patient: leave dicom-seg out, or use nifti"
        ) from error
    return file.getvalue()
