"""The BUSI folder as published: breast ultrasound with masks.

Dataset of breast ultrasound images, Al-Dhabyani, Gomaa, Khaled, Fahmy; Data in Brief 28:104863, 2020;
doi 10.1016/j.dib.2019.104863.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from flipenv.errors import SourceError
from flipenv.registry import unknown
from flipenv.sources.base import ListedSource, make_case, naming
from flipenv.sources.contents import digest, is_file, is_folder
from flipenv.sources.files import file_at, folder_at, list_folder
from flipenv.sources.lesion import largest_component, tight_box
from flipenv.sources.readers import read_image, read_mask
from flipenv.sources.rows import box_of, read_rows
from flipenv.types import Box, Case

FOLDER = "Dataset_BUSI_with_GT"
SPLITS = "splits.csv"
LESIONS = ("benign", "malignant")
NORMAL = "normal"  # no nodule: not a case, but the classifier's other class
NAME = re.compile(r"(?P<stem>(?P<class>benign|malignant|normal) \((?P<number>\d+)\))(?P<mask>_mask(_\d+)?)?\.png")
EXPECTED = f"{FOLDER}/ with folders {' and '.join(LESIONS)} of images such as 'benign (1).png'"


@dataclass(frozen=True, eq=False)
class BusiCase:
    """One image with its lesion masks, or with a box from a table."""

    image: Path
    masks: tuple[Path, ...]  # the published files, one per lesion; may be empty if there is a box
    box: Box | None  # None: the lesion's tight box
    meta: Mapping[str, str]
    with_mask: bool = True  # False: the mask is used for the box only

    @property
    def id(self) -> str:
        """The case's id; see `Source.ids`."""
        return self.image.stem

    def load(self) -> Case:
        """Read the case; see `Source.load`."""
        image = read_image(self.image)
        mask = self._lesion(image.shape) if self.masks else None
        box = self.box
        if box is None:
            assert mask is not None, "BusiSource rejects images with neither box nor mask"
            box = tight_box(mask)
        shown = mask if self.with_mask else None
        return make_case(str(self.image), image=image, box=box, id=self.id, mask=shown, meta=self.meta)

    def fingerprint(self) -> str:
        """Hash what determines the case; see `Source.fingerprint`."""
        return digest(self.id, self.meta, self.box, self.image, *self.masks)

    def unlabelled(self) -> BusiCase:
        """The same case without its mask, which is still read if the box is derived from it."""
        return replace(self, with_mask=False, masks=self.masks if self.box is None else ())

    def _lesion(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        with naming(str(self.masks[0])):
            return largest_component(reduce(np.logical_or, [read_mask(path, shape) for path in self.masks]))


class BusiSource(ListedSource):
    """Benign and malignant images in natural order; ids such as 'benign (1)', meta with class and split.

    The case's mask is the largest 8-connected component of the union of an image's masks; the box is its tight box.

    Args:
        path: `Dataset_BUSI_with_GT/`, or the folder that contains it.
        split: keep only this split of `splits.csv` (columns image, split), in the data folder or its parent.
        boxes: a CSV with columns image (such as 'benign/benign (1).png' or 'benign (1)') and a box in either convention
            of `flipenv.sources.rows`, one row per image. They replace the tight boxes; mask files may be absent.

    Raises SourceError if there are no images, a split is unknown or incomplete, or an image has neither mask nor box.
    """

    def __init__(self, path: str | Path, split: str | None = None, boxes: str | Path | None = None) -> None:
        root = folder_at(Path(path), EXPECTED)
        root = root / FOLDER if is_folder(root / FOLDER) else root
        images, masks = _listing(root)
        if not any(image.parent.name in LESIONS for image in images):
            raise SourceError(f"{root}: no BUSI images found; expected {EXPECTED}")
        splits = _splits(root, images, split)
        given = _boxes(boxes)
        entries = []
        self._normals: list[Path] = []
        for image in images:
            here = splits.get(_key(image))
            if split is not None and here != split:
                continue
            if image.parent.name == NORMAL:
                self._normals.append(image)
                continue
            box = given.get(image.stem)
            if boxes is not None and box is None:
                raise SourceError(f"{boxes}: no box for {_key(image)!r}; expected one row per image of {root}")
            if box is None and not masks[image.stem]:
                raise SourceError(
                    f"{image}: mask file {image.stem}_mask.png is missing; restore it, or give boxes=FILE.csv with one "
                    "row per image"
                )
            meta = {"class": image.parent.name} | ({} if here is None else {"split": here})
            entries.append(BusiCase(image, tuple(masks[image.stem]), box, meta))
        super().__init__(entries, f"{root}{'' if split is None else f' split {split}'}")

    def normals(self) -> list[Path]:
        """Images of the same split without a nodule, in natural order."""
        return list(self._normals)

    def load_normal(self, index: int) -> NDArray[np.uint8]:
        """Return one image without a nodule, (height, width) uint8."""
        return read_image(self._normals[index])


def _listing(root: Path) -> tuple[list[Path], dict[str, list[Path]]]:
    """Images, and masks by image stem, in natural order; other files are ignored."""
    numbered: list[tuple[str, int, Path]] = []
    masks: dict[str, list[Path]] = defaultdict(list)
    for name in (*LESIONS, NORMAL):
        for path in list_folder(root / name) if is_folder(root / name) else ():
            parts = NAME.fullmatch(path.name)
            if parts is None or parts["class"] != name:
                continue
            if parts["mask"]:
                masks[parts["stem"]].append(path)
            else:
                numbered.append((name, int(parts["number"]), path))
    return [path for _, _, path in sorted(numbered)], masks


def _splits(root: Path, images: list[Path], split: str | None) -> dict[str, str]:
    """Split of each image, such as {'benign/benign (1).png': 'train'}; empty without a table."""
    table = next((folder / SPLITS for folder in (root, root.parent) if is_file(folder / SPLITS)), None)
    if table is None:
        if split is None:
            return {}
        raise SourceError(
            f"{root}: split={split} needs {SPLITS} (columns image, split) in this folder or in {root.parent}; add it, "
            "or omit the split"
        )
    rows = read_rows(table, ["image", "split"])
    splits = {row.cells["image"]: row.cells["split"] for row in rows}
    if split is not None:
        if split not in splits.values():
            raise SourceError(f"{table}: {unknown('split', split, set(splits.values()))}")
        present = {_key(image) for image in images}
        for row in rows:
            if row.cells["split"] == split and row.cells["image"] not in present:
                raise SourceError(
                    f"{row.where}: {row.cells['image']!r} is not in {root}; restore it: the split is incomplete"
                )
    return splits


def _boxes(table: str | Path | None) -> dict[str, Box]:
    if table is None:
        return {}
    rows = read_rows(file_at(Path(table), "a CSV file with columns image, top, left, bottom, right"), ["image"])
    boxes: dict[str, Box] = {}
    for row in rows:
        name = PurePosixPath(row.cells["image"].replace("\\", "/")).name.removesuffix(".png")
        if name in boxes:
            raise SourceError(f"{row.where}: second box for {name!r}; expected one per image")
        boxes[name] = box_of(row)
    return boxes


def _key(image: Path) -> str:
    return f"{image.parent.name}/{image.name}"
