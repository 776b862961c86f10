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
    """One mask with its metadata for a COCO file."""

    file: str  # the image file, relative to the folder of the COCO file
    box: Box  # from which the mask was made
    mask: Mask
    frame: int | None = None  # of a file with several
    ids: Ids | None = None  # from the COCO file of the box


@dataclass(frozen=True)
class Ids:
    """Ids of one annotation, of any type, kept so that outputs join with the input file."""

    annotation: Any
    image: Any
    category: Any = None  # None if the annotation has no category


def coco_json(labelled: Iterable[Labelled], categories: Sequence[Mapping[str, Any]] | None = None) -> str:
    """COCO instances, one annotation per mask; masks with the same file and frame share an image.

    `bbox` is the box from which the mask was made, so that `flip segment FILE.json` reproduces it; `segmentation`
    holds compressed run lengths, `area` the number of pixels. Masks with `ids` keep those of image, annotation and
    category; others are numbered from 1, with the category `nodule`.

    categories: those of the COCO file that the ids come from. Raises MissingDependencyError without pycocotools.
    """
    tools = need("pycocotools.mask", extra="coco", purpose="writing COCO run lengths")
    images: dict[tuple[str, int | None], dict[str, Any]] = {}
    annotations = []
    for number, item in enumerate(labelled, start=1):
        height, width = item.mask.shape
        about = {"file_name": item.file, "height": height, "width": width}
        about |= {} if item.frame is None else {"frame": item.frame}
        ids = item.ids or Ids(number, len(images) + 1, 1)
        image = images.setdefault((item.file, item.frame), {"id": ids.image, **about})
        lengths = tools.encode(np.asfortranarray(item.mask, np.uint8))
        annotations.append(
            {
                "id": ids.annotation,
                "image_id": image["id"],
                **({} if ids.category is None else {"category_id": ids.category}),
                "bbox": [item.box.left, item.box.top, item.box.width, item.box.height],
                "area": int(item.mask.sum()),
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
    """Ids of a case from a COCO file; None if it comes from elsewhere."""
    entry = source.entries[index] if isinstance(source, ListedSource) else None
    return Ids(entry.number, entry.image_id, entry.category_id) if isinstance(entry, CocoCase) else None
