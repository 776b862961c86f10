"""NIfTI (nibabel): an image, or the slices of a volume, converted to 8 bits as a viewer shows them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flipenv.errors import ImageError
from flipenv.sources.contents import check_extent, check_frame
from flipenv.sources.extras import need
from flipenv.sources.grey_levels import to_uint8

AXES = ("x", "y", "z")  # the voxel axes of a volume, in order
ALONG = AXES[-1]  # the axis that slices are numbered along, if none is named
VOLUME = 16  # a volume may have this many times the pixels that an image may have


class Slices(NamedTuple):
    """How slices lie in an array of voxels; columns, rows and slices run along these axes of it."""

    columns: int
    rows: int
    slices: int | None  # None if there is only one

    def count(self, shape: tuple[int, ...]) -> int:
        """Number of slices."""
        return 1 if self.slices is None else shape[self.slices]

    def extent(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """(height, width) of a slice."""
        return shape[self.rows], shape[self.columns]

    def where(self, shape: tuple[int, ...], frame: int) -> tuple[slice, ...]:
        """Index of one slice, which keeps all axes."""
        index = [slice(None)] * len(shape)
        if self.slices is not None:
            index[self.slices] = slice(frame, frame + 1)
        return tuple(index)

    def picture(self, voxels: NDArray[Any]) -> NDArray[Any]:
        """The voxels of one slice, indexed by `where`, as (height, width)."""
        turned = np.moveaxis(voxels, (self.rows, self.columns), (0, 1))
        return turned.reshape(turned.shape[:2])

    def voxels(self, picture: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """The inverse of `picture`: a slice as voxels of this shape, which is that of a part indexed by `where`."""
        return picture.T.reshape(shape)


def slices_along(path: Path, shape: tuple[int, ...], axis: str | None = None) -> Slices:
    """How the slices of a file with voxels of this shape lie.

    axis: the voxel axis that they are numbered along, None for z. Of the other two the first runs along the columns and
    the second down the rows, as converters of 2-D images write them. Axes of one voxel beyond the second are ignored.
    Raises ImageError for an unknown axis, for an image and an axis, and unless there are two or three axes.
    """
    longer = [place for place, size in enumerate(shape) if place > 1 and size != 1]
    if len(shape) < 2 or 0 in shape or len(longer) > 1:
        raise ImageError(
            f"{path}: found {_size(shape)} voxels; expected an image or a volume: save the boxed one as a separate file"
        )
    if axis is not None and axis not in AXES:
        raise ImageError(f"{path}: has no axis {axis!r}; expected {', '.join(AXES)}")
    if not longer:
        if axis is not None:
            raise ImageError(f"{path}: is one image of {_size(shape)} voxels; leave out the axis {axis!r}")
        return Slices(0, 1, None)
    places = [0, 1, longer[0]]
    along = places.pop(AXES.index(axis or ALONG))
    columns, rows = places
    return Slices(columns, rows, along)


def decode_nifti(
    path: Path, frame: int | None = None, axis: str | None = None, *, raw: bool = False, limit: int | None = None
) -> NDArray[Any]:
    """Return an image, or one slice of a volume, as (height, width) uint8; see `slices_along`.

    The affine is not applied. Whole numbers in 0..255 are kept; other levels need a display window (`cal_min`,
    `cal_max`) in the header. With `raw` the stored numbers are returned, as for a mask.

    Raises ImageError if the file is damaged, lacks the slice, has several and none is given, has slices of more than
    `limit` voxels or more than VOLUME times as many in all, or lacks a window for its range; MissingDependencyError
    without nibabel.
    """
    opened, shape, slices = _opened(path, axis, limit)
    frame = check_frame(path, frame, slices.count(shape))
    voxels = _read(path, opened, slices.where(shape, frame))
    return _shown(path, slices.picture(voxels), opened.header, raw)


def decode_nifti_film(path: Path, axis: str | None = None, limit: int | None = None) -> Iterator[NDArray[np.uint8]]:
    """Yield all slices, each as `decode_nifti` returns it; raises as it does."""
    opened, shape, slices = _opened(path, axis, limit)
    voxels = _read(path, opened, ())
    for frame in range(slices.count(shape)):
        yield _shown(path, slices.picture(voxels[slices.where(shape, frame)]), opened.header, False)


def count_nifti(path: Path, axis: str | None = None) -> int:
    """Number of slices; 1 if damaged."""
    need("nibabel", extra="medical", purpose=f"{path}: reading NIfTI")
    try:
        _, shape, slices = _opened(path, axis, None)
    except ImageError:  # `decode_nifti` reports it
        return 1
    return slices.count(shape)


def _opened(path: Path, axis: str | None, limit: int | None) -> tuple[Any, tuple[int, ...], Slices]:
    """The file, without its voxels; ImageError if it is damaged or too large."""
    nibabel = need("nibabel", extra="medical", purpose=f"{path}: reading NIfTI")
    try:
        opened = nibabel.load(path)
        shape, kind = tuple(int(size) for size in opened.shape), opened.get_data_dtype()
    # nibabel raises almost anything on damaged files: its own errors, EOFError, zlib.error, ValueError.
    except Exception as error:
        raise _damaged(path, error) from error
    if kind.kind not in "uif":
        raise ImageError(f"{path}: found {_size(shape)} voxels of {kind}; expected numbers: convert it to grey levels")
    slices = slices_along(path, shape, axis)
    check_extent(path, *slices.extent(shape), limit)
    count = slices.count(shape)
    if limit is not None and math.prod(shape) > limit * VOLUME:
        raise ImageError(
            f"{path}: has {count} slices, {_size(shape)} voxels; expected at most {limit * VOLUME} in all: crop it "
            "around the nodule"
        )
    return opened, shape, slices


def _read(path: Path, opened: Any, where: tuple[slice, ...]) -> NDArray[Any]:
    try:
        return np.asarray(opened.dataobj[where])
    except Exception as error:  # as on opening
        raise _damaged(path, error) from error


def _shown(path: Path, pixels: NDArray[Any], header: Any, raw: bool) -> NDArray[Any]:
    if raw:
        return pixels
    if not np.isfinite(pixels).all():
        raise ImageError(f"{path}: found NaN or infinite voxels; replace them, for example with numpy.nan_to_num")
    low, high = float(header["cal_min"]), float(header["cal_max"])
    if high > low:
        return to_uint8(pixels, low, high)
    if pixels.min() < 0 or pixels.max() > 255 or (pixels != np.rint(pixels)).any():
        raise ImageError(
            f"{path}: found levels from {pixels.min():g} to {pixels.max():g} of {pixels.dtype} and no display window; "
            "expected whole grey levels 0..255: set the header's cal_min and cal_max, or rescale to uint8"
        )
    return np.ascontiguousarray(pixels, dtype=np.uint8)


def _damaged(path: Path, error: Exception) -> ImageError:
    return ImageError(f"{path}: cannot be read as NIfTI ({error}); copy, download or export it again")


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
