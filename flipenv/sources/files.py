"""A case with a known box and its images in files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flipenv.errors import SourceError
from flipenv.sources.base import make_case
from flipenv.sources.contents import digest, frame_part, is_file, is_folder, unreadable
from flipenv.sources.readers import read_image, read_mask
from flipenv.types import Box, Case

SUFFIXES = (".nii.gz", ".nii", ".dcm", ".dicom", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True, eq=False)
class FileCase:
    """A case as paths of its parts; `where` names it in errors."""

    id: str
    where: str
    image: Path
    box: Box
    mask: Path | None = None
    background: Path | None = None
    coarse: Path | None = None
    prior: Path | None = None
    frame: int | None = None  # of a multi-frame `image`
    axis: str | None = None  # of a volume, that its slices are numbered along; None for z
    columns_first: bool = False  # whether the box was given as X0, Y0, X1, Y1
    meta: Mapping[str, str] = field(default_factory=dict)

    def load(self) -> Case:
        """Read the case; see `Source.load`."""
        image = read_image(self.image, frame=self.frame, axis=self.axis)
        if self.mask is not None and not is_file(self.mask):
            raise SourceError(f"{self.where}: mask {str(self.mask)!r} is not a file; restore it, or omit it")
        return make_case(
            self.where,
            columns_first=self.columns_first,
            image=image,
            box=self.box,
            id=self.id,
            mask=None if self.mask is None else read_mask(self.mask, image.shape),
            background=None if self.background is None else read_image(self.background),
            coarse=None if self.coarse is None else read_mask(self.coarse, image.shape),
            prior=None if self.prior is None else read_image(self.prior),
            meta=self.meta,
        )

    def fingerprint(self) -> str:
        """Hash what determines the case; see `Source.fingerprint`."""
        files = (self.image, self.mask, self.background, self.coarse, self.prior)
        axis = () if self.axis is None else (self.axis,)
        return digest(self.id, self.box, self.meta, *frame_part(self.frame), *axis, *files)

    def unlabelled(self) -> FileCase:
        """The same case without its mask, which is neither read nor hashed."""
        return dataclasses.replace(self, mask=None)


def image_name(file: str) -> str:
    """A file name or path without its image suffix; other dots are part of the name.

    >>> image_name("ward 3/1.2.840.7.dcm"), image_name("loop.v2.NII.GZ"), image_name("1.2.840.7")
    ('ward 3/1.2.840.7', 'loop.v2', '1.2.840.7')
    """
    for suffix in SUFFIXES:
        rest = file[: -len(suffix)]
        if file.lower().endswith(suffix) and rest and not rest.endswith(("/", "\\")):
            return rest
    return file


def frame_name(name: str, frame: int | None, axis: str | None = None) -> str:
    """Name of an image or one frame of it: `loop`, `loop-frame12`, or `volume-x-frame12` along a named axis."""
    along = "" if axis is None else f"-{axis}"
    return name + along if frame is None else f"{name}{along}-frame{frame}"


def folder_at(path: Path, expected: str) -> Path:
    """Return the absolute path of a folder; SourceError, saying what was `expected` in it, if there is none."""
    absolute = _absolute(path)
    return _existing(absolute, is_there=is_folder(absolute), wanted=f"a folder with {expected}")


def file_at(path: Path, expected: str) -> Path:
    """Return the absolute path of a file; SourceError, saying what was `expected`, if there is none."""
    absolute = _absolute(path)
    return _existing(absolute, is_there=is_file(absolute), wanted=expected)


def list_folder(folder: Path) -> list[Path]:
    """Contents of a folder, sorted by name; SourceError if it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise unreadable(folder, error) from error


def _absolute(path: Path) -> Path:
    """Absolute, as a worker process may have another current directory."""
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:  # ~name of an unknown user
        raise SourceError(f"{path}: {error}") from None


def _existing(absolute: Path, *, is_there: bool, wanted: str) -> Path:
    if is_there:
        return absolute
    found = f"is a {'folder' if absolute.is_dir() else 'file'}" if absolute.exists() else "does not exist"
    raise SourceError(f"{absolute}: {found}; expected {wanted}")
