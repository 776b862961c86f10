"""Masks in the formats of other tools: COCO instances with run lengths, and NIfTI on the voxels of the image."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from flipenv.pixels import Mask
from flipenv.sources.base import ListedSource, Source
from flipenv.sources.coco import CocoCase
from flipenv.sources.extras import need
from flipenv.types import Box

CATEGORY = "nodule"
OURS = "masks by flip-learning"  # description of a file, by which it is known again


@dataclass(frozen=True, eq=False)
class Labelled:
    """One mask with its metadata for a COCO file."""

    file: str  # the image file, relative to the folder of the COCO file
    box: Box  # from which the mask was made
    mask: Mask
    frame: int | None = None  # of a file with several
    ids: Ids | None = None  # from the COCO file of the box
    score: float | None = None  # predicted Dice, 0..1; None if unknown
    attributes: Mapping[str, Any] = field(default_factory=dict)  # JSON-serialisable, such as the score's interval


@dataclass(frozen=True)
class Ids:
    """Ids of one annotation, of any type, kept so that outputs join with the input file."""

    annotation: Any
    image: Any
    category: Any = None  # None if the annotation has no category


def coco_json(labelled: Iterable[Labelled], categories: Sequence[Mapping[str, Any]] | None = None) -> str:
    """COCO instances, one annotation per mask; masks with the same file and frame share an image.

    `bbox` is the box that the mask was made from, so that `flip segment FILE.json` does the same again; `segmentation`
    holds compressed run lengths, `area` their pixels, `score` the predicted Dice and `attributes` what belongs to it,
    where they are given. Masks with `ids`, which come first, keep them, of image,
    annotation and category; others get the next free numbers and the category `nodule`.

    categories: those of the COCO file that the ids come from. Raises MissingDependencyError without pycocotools.
    """
    tools = need("pycocotools.mask", extra="coco", purpose="writing COCO run lengths")
    images: dict[tuple[str, int | None], dict[str, Any]] = {}
    annotations: dict[Any, dict[str, Any]] = {}
    groups = [dict(each) for each in categories or ()]
    own = next((each["id"] for each in groups if each["name"] == CATEGORY), _free(each["id"] for each in groups))
    numbers, image_numbers = _Free(), _Free()
    for each in labelled:
        height, width = each.mask.shape
        about = {"file_name": each.file, "height": height, "width": width}
        about |= {} if each.frame is None else {"frame": each.frame}
        place = (each.file, each.frame)
        if place not in images:
            images[place] = {"id": image_numbers.take(None if each.ids is None else each.ids.image), **about}
        ids = each.ids or Ids(None, None, own)
        if each.ids is None and all(group["id"] != own for group in groups):
            groups.append({"id": own, "name": CATEGORY})
        number = numbers.take(ids.annotation)
        lengths = tools.encode(np.asfortranarray(each.mask, np.uint8))
        annotations[number] = {
            "id": number,
            "image_id": images[place]["id"],
            **({} if ids.category is None else {"category_id": ids.category}),
            "bbox": [each.box.left, each.box.top, each.box.width, each.box.height],
            "area": int(each.mask.sum()),
            "segmentation": {"size": [height, width], "counts": lengths["counts"].decode()},
            "iscrowd": 0,
            **({} if each.score is None else {"score": each.score}),
            **({"attributes": dict(each.attributes)} if each.attributes else {}),
        }
    content = {
        "info": {"description": OURS},
        "images": list(images.values()),
        "annotations": list(annotations.values()),
        "categories": groups,
    }
    return json.dumps(content, indent=1) + "\n"


def is_ours(path: Path) -> bool:
    """Whether a file is COCO that `coco_json` made, which its head tells."""
    with path.open("rb") as file:
        return OURS.encode() in file.read(200)


class _Free:
    """Hands out ids: those that are given, and else the least whole number from 1 on that is free."""

    def __init__(self) -> None:
        self.taken: set[Any] = set()
        self.next = 1

    def take(self, wanted: Any) -> Any:
        while wanted is None and self.next in self.taken:
            self.next += 1
        found = self.next if wanted is None else wanted
        self.taken.add(found)
        return found


def _free(taken: Iterable[Any]) -> int:
    free = _Free()
    for each in taken:
        free.take(each)
    return int(free.take(None))


def ids_of(source: Source, index: int) -> Ids | None:
    """Ids of a case from a COCO file; None if it comes from elsewhere."""
    entry = source.entries[index] if isinstance(source, ListedSource) else None
    return Ids(entry.number, entry.image_id, entry.category_id) if isinstance(entry, CocoCase) else None
