"""COCO instances: a JSON file of images and boxed annotations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flipenv.errors import SourceError
from flipenv.registry import unknown
from flipenv.sources.base import ListedSource, make_case, naming
from flipenv.sources.contents import digest, file_bytes, frame_part
from flipenv.sources.files import file_at, frame_name, image_name
from flipenv.sources.readers import read_image
from flipenv.sources.segmentation import decode_segmentation
from flipenv.types import Box, Case


@dataclass(frozen=True, eq=False)
class CocoCase:
    """One annotation on one image."""

    where: str  # file and annotation, for errors
    number: int  # the annotation's id
    image: Path
    frame: int | None  # of the image, where it has several
    box: Box
    segmentation: Any  # as the JSON has it; None where nobody drew one
    meta: Mapping[str, str]

    @property
    def id(self) -> str:
        """The case's id; see `Source.ids`."""
        return f"{frame_name(image_name(self.image.name), self.frame)}-{self.number}"

    def load(self) -> Case:
        """Read the case; see `Source.load`."""
        image = read_image(self.image, frame=self.frame)
        with naming(self.where):
            mask = decode_segmentation(self.segmentation, image.shape)
        return make_case(self.where, image=image, box=self.box, id=self.id, mask=mask, meta=self.meta)

    def fingerprint(self) -> str:
        """Hash what determines the case; see `Source.fingerprint`."""
        drawn = json.dumps(self.segmentation, sort_keys=True)
        return digest(self.id, self.box, self.meta, drawn, *frame_part(self.frame), self.image)


class CocoSource(ListedSource):
    """One case an annotation: its `bbox` is the box, its `segmentation`, where there is one, the mask.

    Ids are the image file's name without suffix, a dash and the annotation's id. An image's `frame`, which COCO does not
    know, says which it is of a file with several, from 0. Images lie in the JSON's folder or in
    `images/` beside it. The category's name is in meta as `class`.

    Args:
        path: the JSON file.
        category: keep annotations of this category only.

    Raises SourceError that names the file and the annotation that does not fit.
    """

    def __init__(self, path: str | Path, category: str | None = None) -> None:
        file = file_at(Path(path), "a COCO instances file (JSON)")
        content = _read(file)
        names = {entry["id"]: str(entry["name"]) for entry in _records(file, content, "categories", ("id", "name"))}
        if category is not None and category not in names.values():
            raise SourceError(f"{file}: {unknown('category', category, names.values())}")
        images = {entry["id"]: entry for entry in _records(file, content, "images", ("id", "file_name"))}
        entries = []
        for annotation in _records(file, content, "annotations", ("id", "image_id", "bbox")):
            name = names.get(annotation.get("category_id"))
            if category is None or name == category:
                entries.append(_entry(file, annotation, images, name))
        super().__init__(entries, str(file))


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file_bytes(file))
    except (ValueError, RecursionError) as error:
        raise SourceError(
            f"{file}: is not readable JSON ({error}); expected a COCO instances file: export it again"
        ) from None
    if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
        found = ", ".join(list(content)[:8]) if isinstance(content, dict) else type(content).__name__
        raise SourceError(
            f"{file}: holds {found or 'nothing'}; expected a COCO instances file with images and annotations"
        )
    return content


def _records(file: Path, content: dict[str, Any], name: str, needed: tuple[str, ...]) -> list[dict[str, Any]]:
    records = content.get(name, [])
    if not isinstance(records, list):
        raise SourceError(f"{file}: {name} is a {type(records).__name__}; expected a list")
    for index, record in enumerate(records):
        lacking = [key for key in needed if not isinstance(record, dict) or key not in record]
        if lacking:
            raise SourceError(f"{file}: {name}[{index}] has no {lacking[0]!r}; expected {', '.join(needed)}")
    return records


def _entry(
    file: Path, annotation: dict[str, Any], images: Mapping[Any, Mapping[str, Any]], name: str | None
) -> CocoCase:
    where = f"{file} annotation {annotation['id']}"
    if annotation["image_id"] not in images:
        raise SourceError(
            f"{where}: image_id {annotation['image_id']!r} is not among the images; add it or drop the annotation"
        )
    record = images[annotation["image_id"]]
    file_name, frame = record["file_name"], record.get("frame")
    if frame is not None and (not isinstance(frame, int) or frame < 0):
        raise SourceError(f"{where}: frame {frame!r} of its image is no number of a frame; expected 0, 1, ...")
    places = [file.parent / file_name, file.parent / "images" / file_name]
    image = next((place for place in places if place.is_file()), None)
    if image is None:
        raise SourceError(
            f"{where}: image {file_name!r} is neither in {file.parent} nor in its folder images/; put it there"
        )
    try:
        box = Box.from_coco(*(float(value) for value in annotation["bbox"]))
    except (TypeError, ValueError, OverflowError):
        raise SourceError(
            f"{where}: bbox is {annotation['bbox']!r}; expected four numbers x, y, width, height in pixels"
        ) from None
    meta = {} if name is None else {"class": name}
    return CocoCase(where, annotation["id"], image, frame, box, annotation.get("segmentation"), meta)
