"""COCO instances: a JSON file of images and boxed annotations."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from flipenv.errors import BoxError, SourceError
from flipenv.registry import unknown
from flipenv.sources.base import BadEntry, Entry, ListedSource, make_case, naming
from flipenv.sources.contents import digest, file_bytes, frame_part, is_file
from flipenv.sources.files import file_at, frame_name, image_name
from flipenv.sources.readers import read_image
from flipenv.sources.segmentation import decode_segmentation
from flipenv.types import Box, Case

MAX_NAMED = 5  # ids listed in an error
Id: TypeAlias = int | float | str
Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class CocoCase:
    """One annotation on one image, with their JSON data."""

    where: str  # file and annotation, for errors
    number: Id  # the annotation's id, as in the JSON
    image: Path
    frame: int | None  # of a multi-frame image
    box: Box
    segmentation: Any  # as in the JSON; None if absent
    meta: Mapping[str, str]
    file_name: str  # of the image, as in the JSON
    size: tuple[int | None, int | None]  # height and width of the image, as in the JSON; None if absent
    image_id: Id  # as in the JSON
    category_id: Id | None  # as in the JSON; None if absent
    category: str | None  # its name; None if absent

    @property
    def id(self) -> str:
        """The case's id; see `Source.ids`."""
        return _case_id(self.file_name, self.frame, self.number)

    def load(self) -> Case:
        """Read the case; see `Source.load`."""
        image = read_image(self.image, frame=self.frame)
        with naming(self.where):
            _check_size(self.size, image.shape)
            mask = decode_segmentation(self.segmentation, image.shape)
        return make_case(
            self.where, columns_first=True, image=image, box=self.box, id=self.id, mask=mask, meta=self.meta
        )

    def fingerprint(self) -> str:
        """Hash what determines the case; see `Source.fingerprint`."""
        drawn = json.dumps(self.segmentation, sort_keys=True)
        size = json.dumps(self.size)
        return digest(self.id, self.box, self.meta, drawn, size, *frame_part(self.frame), self.image)

    def unlabelled(self) -> CocoCase:
        """The same case without its mask, which is neither decoded nor hashed."""
        return replace(self, segmentation=None)


class CocoSource(ListedSource):
    """One case per annotation: its `bbox` is the box, its `segmentation`, if any, the mask.

    Ids are the image's file name without suffix, a dash and the annotation's id. An image's `frame`, an extension of
    COCO, is the frame of a multi-frame file, from 0. Images are in the JSON's folder or its `images/` folder, and must
    have the JSON's `height` and `width`, if given. The category's name is in meta as `class`. Crowds (`iscrowd` 1) are
    skipped.

    Args:
        path: the JSON file.
        category: keep only annotations of this category.

    Raises SourceError for errors in the file as a whole, such as missing or duplicate ids. An invalid annotation raises
    when it is loaded.
    """

    categories: list[dict[str, Any]]  # as in the JSON

    def __init__(self, path: str | Path, category: str | None = None) -> None:
        file = file_at(Path(path), "a COCO instances file (JSON)")
        content = _read(file)
        self.categories = _records(file, content, "categories", ("id", "name"))
        names = {entry["id"]: str(entry["name"]) for entry in self.categories}
        if category is not None and category not in names.values():
            raise SourceError(f"{file}: {unknown('category', category, names.values())}")
        images = {entry["id"]: entry for entry in _records(file, content, "images", ("id",))}
        annotations = [
            (annotation, name)
            for annotation in _records(file, content, "annotations", ("id",))
            for name in (_lookup(names, annotation.get("category_id")),)
            if category is None or name == category
        ]
        crowds = sum(_is_crowd(annotation) for annotation, _ in annotations)
        if annotations and crowds == len(annotations):
            raise SourceError(
                f"{file}: no cases found: all {crowds} annotations are crowds (iscrowd 1); expected boxes around "
                "single nodules"
            )
        super().__init__(
            [_entry(file, annotation, images, name) for annotation, name in annotations if not _is_crowd(annotation)],
            str(file),
        )


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file_bytes(file))
    except (ValueError, RecursionError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(
            f"{file}: cannot be read as JSON ({error}); expected a COCO instances file: export it again"
        ) from None
    if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
        found = ", ".join(list(content)[:8]) if isinstance(content, dict) else type(content).__name__
        raise SourceError(
            f"{file}: found {found or 'nothing'}; expected a COCO instances file with images and annotations"
        )
    return content


def _records(file: Path, content: dict[str, Any], name: str, needed: tuple[str, ...]) -> list[dict[str, Any]]:
    """Records of one kind, with the required keys and unique ids."""
    records = content.get(name, [])
    if not isinstance(records, list):
        raise SourceError(f"{file}: {name} is a {type(records).__name__}; expected a list")
    for index, record in enumerate(records):
        lacking = [key for key in needed if not isinstance(record, dict) or key not in record]
        if lacking:
            raise SourceError(f"{file}: {name}[{index}] has no {lacking[0]!r}; expected {', '.join(needed)}")
        if not _is_id(record["id"]):
            raise SourceError(f"{file}: {name}[{index}] has id {record['id']!r}; expected a number or a string")
    twice = [
        f"{one!r} ({count} times)" for one, count in Counter(record["id"] for record in records).items() if count > 1
    ]
    if twice:
        more = ", ..." if len(twice) > MAX_NAMED else ""
        raise SourceError(
            f"{file}: ids of {name} are not unique: {', '.join(twice[:MAX_NAMED])}{more}; give each its own id, and "
            "check references to it"
        )
    return records


def _is_id(value: Any) -> bool:
    return isinstance(value, Id) and not isinstance(value, bool) and value == value  # noqa: PLR0124 - not NaN


def _lookup(records: Mapping[Any, Found], one: Any) -> Found | None:
    """The record with this id, if any; the id may be any JSON value."""
    return records.get(one) if _is_id(one) else None


def _is_crowd(annotation: Mapping[str, Any]) -> bool:
    """Whether it marks a group of objects."""
    return bool(annotation.get("iscrowd") == 1)


def _case_id(file_name: str, frame: int | None, number: Id) -> str:
    return f"{frame_name(image_name(Path(file_name).name), frame)}-{number}"


def _entry(file: Path, annotation: dict[str, Any], images: Mapping[Any, Mapping[str, Any]], name: str | None) -> Entry:
    record = _lookup(images, annotation.get("image_id"))
    try:
        with naming(f"{file} annotation {annotation['id']}"):
            return _case(file, annotation, record, name)
    except SourceError as error:
        file_name = None if record is None else record.get("file_name")
        return BadEntry(
            _case_id(file_name if isinstance(file_name, str) else "annotation", None, annotation["id"]), error
        )


def _case(file: Path, annotation: dict[str, Any], record: Mapping[str, Any] | None, name: str | None) -> CocoCase:
    if record is None:
        raise SourceError(
            f"image_id {annotation.get('image_id')!r} is not among the images; add it or remove the annotation"
        )
    file_name, frame = record.get("file_name"), record.get("frame")
    if not isinstance(file_name, str) or not file_name:
        raise SourceError(f"file_name {file_name!r} of its image is not a file name")
    if frame is not None and (not isinstance(frame, int) or frame < 0):
        raise SourceError(f"frame {frame!r} of its image is not a frame number; expected 0, 1, ...")
    size = _side(record, "height"), _side(record, "width")
    image = next(
        (place for place in (file.parent / file_name, file.parent / "images" / file_name) if is_file(place)), None
    )
    if image is None:
        raise SourceError(f"image {file_name!r} is neither in {file.parent} nor in its images/ folder; put it there")
    try:
        box = Box.from_coco(*(float(value) for value in annotation.get("bbox", ())))
    except (TypeError, ValueError, OverflowError):
        raise SourceError(
            f"bbox is {annotation.get('bbox')!r}; expected four numbers x, y, width, height in pixels"
        ) from None
    return CocoCase(
        where=f"{file} annotation {annotation['id']}",
        number=annotation["id"],
        image=image,
        frame=frame,
        box=box,
        segmentation=annotation.get("segmentation"),
        meta={} if name is None else {"class": name},
        file_name=file_name,
        size=size,
        image_id=annotation["image_id"],
        category_id=annotation.get("category_id"),
        category=name,
    )


def _side(record: Mapping[str, Any], name: str) -> int | None:
    side = record.get(name)
    if side is None or (isinstance(side, int | float) and side == side // 1):
        return None if side is None else int(side)
    raise SourceError(f"{name} {side!r} of its image is not a whole number")


def _check_size(given: tuple[int | None, int | None], shape: tuple[int, ...]) -> None:
    """Raise BoxError if the image size in the JSON differs from the file's."""
    height, width = (one if side is None else side for side, one in zip(given, shape, strict=True))
    if (height, width) != shape:
        raise BoxError(
            f"the box was drawn on an image of {height}x{width} (height x width) but the file has "
            f"{shape[0]}x{shape[1]}: it is another file, resized, or rotated by its EXIF orientation"
        )
