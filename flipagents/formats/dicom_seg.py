"""Masks as DICOM Segmentation objects in the study of their image."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

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
    check_scan(scan)
    assert scan is not None
    if not mask.any():
        raise MaskError(f"{scan.file}: the mask is empty, which a DICOM Segmentation cannot represent")
    with _written(scan.file) as image:
        return _bytes(_segmentation(mask, image, check_frame(scan.file, scan.frame, frames_of(image))))


def film_seg_bytes(masks: Mapping[int, Mask], scan: Scan | None) -> bytes:
    """The masks of some frames of a DICOM cine loop, by number, as one Segmentation with a frame for each.

    Frames without a mask, or with an empty one, are left out, as the standard asks. Otherwise as `seg_bytes`.
    """
    check_scan(scan)
    assert scan is not None
    frames = {frame: mask for frame, mask in sorted(masks.items()) if mask.any()}
    if not frames:
        raise MaskError(f"{scan.file}: all masks are empty, which a DICOM Segmentation cannot represent")
    with _written(scan.file) as image:
        for frame in frames:
            check_frame(scan.file, frame, frames_of(image))
        return _bytes(_joined({frame: _segmentation(mask, image, frame) for frame, mask in frames.items()}, frames))


@contextmanager
def _written(file: Path) -> Iterator[Any]:
    """The header of an image for a Segmentation; errors within become ImageError."""
    need("highdicom", extra="seg", purpose="writing DICOM Segmentations")
    pydicom = need("pydicom", extra="seg", purpose="writing DICOM Segmentations")
    try:
        yield pydicom.dcmread(file, stop_before_pixels=True)
    except ImageError:
        raise
    # Both libraries may raise nearly anything when a file lacks an attribute.
    except Exception as error:
        raise ImageError(
            f"{file}: a DICOM Segmentation cannot refer to it ({error}); expected a DICOM image with study and "
            "patient: omit dicom-seg, or use nifti"
        ) from error


def _segmentation(mask: Mask, image: Any, frame: int) -> Any:
    """A Segmentation of one frame of an image."""
    highdicom = need("highdicom", extra="seg", purpose="writing DICOM Segmentations")
    codes = need("pydicom.sr.codedict", extra="seg", purpose="writing DICOM Segmentations").codes
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
    return segmentation


def _joined(singles: Mapping[int, Any], masks: Mapping[int, Mask]) -> Any:
    """One Segmentation with the frames of several of the same image: highdicom makes no more than one of a film.

    The frames are told apart by their place in a stack, which is the number of the film's frame, from 1.
    """
    pydicom = need("pydicom", extra="seg", purpose="writing DICOM Segmentations")
    whole = next(iter(singles.values()))
    groups = [single.PerFrameFunctionalGroupsSequence[0] for single in singles.values()]
    for place, (frame, group) in enumerate(zip(singles, groups, strict=True), start=1):
        (content,) = group.FrameContentSequence
        content.StackID, content.InStackPositionNumber = "1", frame + 1
        content.DimensionIndexValues = [1, place]
    dimension = pydicom.Dataset()
    dimension.DimensionOrganizationUID = whole.DimensionIndexSequence[0].DimensionOrganizationUID
    dimension.DimensionIndexPointer = pydicom.tag.Tag("InStackPositionNumber")
    dimension.FunctionalGroupPointer = pydicom.tag.Tag("FrameContentSequence")
    dimension.DimensionDescriptionLabel = "Frame"
    whole.DimensionIndexSequence = pydicom.Sequence([whole.DimensionIndexSequence[0], dimension])
    whole.PerFrameFunctionalGroupsSequence = pydicom.Sequence(groups)
    whole.NumberOfFrames = len(groups)
    stack = np.stack(list(masks.values())).astype(np.uint8)
    whole.PixelData = need("pydicom.pixels", extra="seg", purpose="writing DICOM Segmentations").pack_bits(stack)
    return whole


def _bytes(segmentation: Any) -> bytes:
    file = io.BytesIO()
    segmentation.save_as(file)
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
