"""What the masks of a run are made from, and whether one that is there was made from the same."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from flipagents.compare.baselines import RULES
from flipagents.formats.scans import Scan, path_from, scan_of
from flipagents.segment.origin import Origin, read_origin
from flipagents.store.checkpoint import SHIPPED
from flipagents.store.provenance import weights_digest
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

    def of(self, index: int, folder: Path, box: Box) -> Origin:
        """Origin of the mask of one case in `folder`. Raises as `Source.fingerprint`."""
        scan = scan_of(self.source, index)
        size, modified = (0, 0) if scan is None else _stamp(scan)
        return Origin(
            image=_seen_from(folder, scan),
            size=size,
            modified_ns=modified,
            digest=self._digest(index, scan),
            frame=None if scan is None else scan.frame,
            box=(box.left, box.top, box.right, box.bottom),
            method=self.method,
            margin=self.margin,
            weights=self.weights,
        )

    def change(self, index: int, mask: Path) -> str:
        """What is another thing now than when `mask` was made, in a word; "" for the same work.

        The image's bytes are read only where its size or time of change differ. Raises ConfigError where the mask is
        that of another image file, or does not say what it was made from: to replace it would lose it.
        """
        before = read_origin(mask)
        if before is None:
            raise ConfigError(
                f"{mask} is there and does not say what it was made from; choose another folder, or replace it with "
                "--overwrite"
            )
        scan, box = scan_of(self.source, index), self._box(index)
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
        told = {
            "image": is_same and before.frame == (None if scan is None else scan.frame),
            "box": box is None or before.box == (box.left, box.top, box.right, box.bottom),
            "method": before.method == self.method,
            "margin": before.margin == self.margin,
            "weights": before.weights == self.weights,
        }
        return ", ".join(name for name, same in told.items() if not same)

    def _is_same(self, before: Origin, index: int, scan: Scan | None, image: str | None) -> bool:
        """Whether a mask's image, or its whole case where no box is known beforehand, is what it was."""
        stored = scan is not None and self._box(index) is not None and before.image == image
        if stored and scan is not None and (before.size, before.modified_ns) == _stamp(scan):
            return True
        return before.digest == self._digest(index, scan)

    def _digest(self, index: int, scan: Scan | None) -> str:
        return (
            Unlabelled(self.source).fingerprint(index)
            if scan is None or self._box(index) is None
            else digest(scan.file)
        )

    def _box(self, index: int) -> Box | None:
        """The box of a case that need not be read for it."""
        entry = self.source.entries[index] if isinstance(self.source, ListedSource) else None
        return entry.box if isinstance(entry, FileCase | CocoCase) else None


def _stamp(scan: Scan) -> tuple[int, int]:
    told = scan.file.stat()
    return told.st_size, told.st_mtime_ns


def _seen_from(folder: Path, scan: Scan | None) -> str | None:
    return None if scan is None else path_from(folder, scan.file)
