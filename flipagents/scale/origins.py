"""What the masks of a run are made from, and whether one that is there was made from the same."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from PIL import Image

from flipagents.compare.baselines import RULES
from flipagents.formats.scans import Scan, path_from, scan_of
from flipagents.segment.origin import Origin, is_whole, read_origin
from flipagents.store.checkpoint import SHIPPED
from flipagents.store.provenance import weights_digest
from flipenv.atomic import is_there
from flipenv.errors import ConfigError, FlipError
from flipenv.sources import Source
from flipenv.sources.base import ListedSource, Unlabelled
from flipenv.sources.coco import CocoCase
from flipenv.sources.contents import digest
from flipenv.sources.files import FileCase
from flipenv.types import Box


class Origins:
    """Origins of the masks of one run.

    source, method, weights, margin: as `flipagents.scale.worker.Work`.
    """

    def __init__(self, source: Source, method: str, weights: Path | None, margin: int) -> None:
        self.source, self.method, self.margin = source, method, margin
        self._folder = weights

    @cached_property
    def weights(self) -> str:
        """Digest of the weights that the method has, and that the boxes are found with."""
        name, _, path = self.method.partition(":")
        if name in RULES and not self.margin:
            return ""
        return weights_digest(Path(path) if path else self._folder or SHIPPED.parent)

    def of(self, index: int, files: Sequence[Path], box: Box) -> Origin:
        """Origin of the mask of one case, the first of `files`. Raises as `Source.fingerprint`."""
        scan = scan_of(self.source, index)
        return Origin(
            image=_seen_from(files[0].parent, scan),
            stamp=() if scan is None else _stamp(scan),
            digest=self._digest(index, scan),
            frame=None if scan is None else scan.frame,
            box=(box.left, box.top, box.right, box.bottom),
            method=self.method,
            margin=self.margin,
            weights=self.weights,
            files=tuple(sorted(file.name for file in files[1:])),
        )

    def change(self, index: int, files: Sequence[Path]) -> str | None:
        """Why a case is to be done: in a word what changed since its mask was made, "" where there is none; else None.

        The image's bytes are read only where what the file system tells of its file differs. Raises ConfigError where
        one of the files, the mask's first, is not of this case or of nobody knows whom: replacing it would lose it.
        """
        mask = files[0]
        try:
            there = [file for file in files if is_there(file)]
        except OSError:  # a name that is too long, a folder that may not be read: writing says so
            return ""
        if not there:
            return ""
        before = read_origin(mask) if mask in there else None
        own = () if before is None else (mask.name, *before.files)
        foreign = [file for file in there if file.name not in own]
        if foreign:
            fault = "does not say what it was made from" if foreign[0] == mask else "was not written with a mask"
            raise ConfigError(
                f"{foreign[0]} is there and {fault}; choose another folder, or replace it with --overwrite"
            )
        assert before is not None
        change = self._change(before, index, mask)
        return None if not change and there == list(files) else change

    def _change(self, before: Origin, index: int, mask: Path) -> str:
        scan, entry = scan_of(self.source, index), self._entry(index)
        image = _seen_from(mask.parent, scan)
        try:
            is_same = self._is_same(before, index, scan, image)
        except (FlipError, OSError):
            return "image"  # it cannot be read: doing it again says why
        if not is_same and before.image != image:
            raise ConfigError(
                f"{mask} is the mask of {before.image or 'a case without a file'}, not of {image or 'this case'}; "
                "choose another folder, or replace it with --overwrite"
            )
        box = None if entry is None else (entry.box.left, entry.box.top, entry.box.right, entry.box.bottom)
        same = {
            "image": is_same and before.frame == (None if scan is None else scan.frame) and _fits(entry, mask),
            "box": box is None or before.box == box,
            "method": before.method == self.method,
            "margin": before.margin == self.margin,
            "weights": before.weights == self.weights,
            "mask, which is cut short": is_whole(mask),
        }
        return ", ".join(name for name, is_so in same.items() if not is_so)

    def _is_same(self, before: Origin, index: int, scan: Scan | None, image: str | None) -> bool:
        """Whether a mask's image, or its whole case where no box is known beforehand, is what it was."""
        if (
            scan is not None
            and self._entry(index) is not None
            and (before.image, before.stamp) == (image, _stamp(scan))
        ):
            return True
        return before.digest == self._digest(index, scan)

    def _digest(self, index: int, scan: Scan | None) -> str:
        if scan is None or self._entry(index) is None:
            return Unlabelled(self.source).fingerprint(index)
        return digest(scan.file)

    def _entry(self, index: int) -> FileCase | CocoCase | None:
        """The entry of a case that need not be read for its box."""
        entry = self.source.entries[index] if isinstance(self.source, ListedSource) else None
        return entry if isinstance(entry, FileCase | CocoCase) else None


def _stamp(scan: Scan) -> tuple[int, ...]:
    told = scan.file.stat()
    return told.st_size, told.st_mtime_ns, told.st_ctime_ns, told.st_ino


def _seen_from(folder: Path, scan: Scan | None) -> str | None:
    return None if scan is None else path_from(folder, scan.file)


def _fits(entry: FileCase | CocoCase | None, mask: Path) -> bool:
    """Whether the size that a COCO file tells of the image, if it does, is that of the mask."""
    if not isinstance(entry, CocoCase):
        return True
    with Image.open(mask) as picture:
        return all(told in (None, side) for told, side in zip(entry.size, (picture.height, picture.width), strict=True))
