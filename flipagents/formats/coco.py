"""Masks in the formats of other tools: COCO instances with run lengths, and NIfTI on the voxels of the image."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flipenv.pixels import Mask
from flipenv.sources.base import ListedSource, Source
from flipenv.sources.coco import CocoCase
from flipenv.sources.extras import need
from flipenv.types import Box

CATEGORY = "nodule"


@dataclass(frozen=True, eq=False)
class Labelled:
    """One mask, and what a COCO file says beside it."""

    file: str  # the image file, as seen from the folder of the COCO file
    box: Box  # that the mask was made from
    mask: Mask
    frame: int | None = None  # of the file, where it has several
    ids: Ids | None = None  # in the COCO file that the box came from


@dataclass(frozen=True)
class Ids:
    """Ids of one annotation, by which what is written joins with what was read; whatever COCO files use as ids."""

    annotation: Any
    image: Any
    category: Any = None  # None where the annotation named no category


def coco_json(labelled: Iterable[Labelled], categories: Sequence[Mapping[str, Any]] | None = None) -> str:
    """COCO instances, one annotation a mask; masks with the same file and frame are on one image.

    `bbox` is the box that the mask was made from, so that `flip segment FILE.json` does the same again; `segmentation`
    holds compressed run lengths, `area` their pixels. Masks with `ids` keep them, of image, annotation and category;
    others are numbered from 1 and of the category `nodule`.

    categories: of the COCO file that ids come from. Raises MissingDependencyError without pycocotools.
    """
    tools = need("pycocotools.mask", extra="coco", purpose="writing COCO run lengths")
    images: dict[tuple[str, int | None], dict[str, Any]] = {}
    annotations = []
    for number, each in enumerate(labelled, start=1):
        height, width = each.mask.shape
        about = {"file_name": each.file, "height": height, "width": width}
        about |= {} if each.frame is None else {"frame": each.frame}
        ids = each.ids or Ids(number, len(images) + 1, 1)
        image = images.setdefault((each.file, each.frame), {"id": ids.image, **about})
        lengths = tools.encode(np.asfortranarray(each.mask, np.uint8))
        annotations.append(
            {
                "id": ids.annotation,
                "image_id": image["id"],
                **({} if ids.category is None else {"category_id": ids.category}),
                "bbox": [each.box.left, each.box.top, each.box.width, each.box.height],
                "area": int(each.mask.sum()),
                "segmentation": {"size": [height, width], "counts": lengths["counts"].decode()},
                "iscrowd": 0,
            }
        )
    content = {
        "images": list(images.values()),
        "annotations": annotations,
        "categories": [{"id": 1, "name": CATEGORY}] if categories is None else list(categories),
    }
    return json.dumps(content, indent=1) + "\n"


def ids_of(source: Source, index: int) -> Ids | None:
    """The ids of a case in the COCO file that it comes from; None where it comes from elsewhere."""
    entry = source.entries[index] if isinstance(source, ListedSource) else None
    return Ids(entry.number, entry.image_id, entry.category_id) if isinstance(entry, CocoCase) else None
