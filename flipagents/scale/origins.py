"""Origins of masks, and whether existing masks are up to date."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from PIL import Image

from flipagents.compare.baselines import RULES
from flipagents.formats.scans import Scan, path_from, scan_of
from flipagents.segment.origin import Origin, Points, is_whole, read_origin
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

    source, method, weights, margin, points: as `flipagents.scale.worker.Work`. rated: what else qualities depend on.
    """

    def __init__(
        self,
        source: Source,
        method: str,
        weights: Path | None,
        margin: int,
        points: Points = (),
        rated: Sequence[Path | str] = (),
    ) -> None:
        self.source, self.method, self.margin, self.points = source, method, margin, points
        self._folder, self._rated = weights, rated

    @cached_property
    def weights(self) -> str:
        """Digest of the weights of the method and of the box locator, and of what rates the masks."""
        name, _, path = self.method.partition(":")
        if name in RULES and not self.margin:
            own = ""
        else:
            own = weights_digest(Path(path) if path else self._folder or SHIPPED.parent)
        return digest(own, *self._rated) if self._rated else own

    def of(self, index: int, files: Sequence[Path], box: Box) -> Origin:
        """Origin of the mask of one case, the first of `files`. Raises as `Source.fingerprint`."""
        scan = scan_of(self.source, index)
        return Origin(
            image=_relative(files[0].parent, scan),
            stamp=() if scan is None else _stamp(scan),
            digest=self._digest(index, scan),
            frame=None if scan is None else scan.frame,
            box=(box.left, box.top, box.right, box.bottom),
            method=self.method,
            margin=self.margin,
            weights=self.weights,
            files=tuple(sorted(file.name for file in files[1:])),
            points=self.points,
        )

    def change(self, index: int, files: Sequence[Path]) -> str | None:
        """Why a case must be done: what changed since its mask was made, "" if there is no mask; None if up to date.

        The image's bytes are read only if its file's metadata differ. Raises ConfigError if one of the files belongs to
        another case or has an unknown origin, or would replace a mask mended by a person, rather than overwriting it.
        """
        mask = files[0]
        try:
            there = [file for file in files if is_there(file)]
        except OSError:  # name too long, no access: writing reports it
            return ""
        if not there:
            return ""
        before = read_origin(mask) if mask in there else None
        own = () if before is None else (mask.name, *before.files)
        foreign = [file for file in there if file.name not in own]
        if foreign:
            fault = "does not record its origin" if foreign[0] == mask else "was not written with a mask"
            raise ConfigError(f"{foreign[0]} exists and {fault}; choose another folder, or replace it with --overwrite")
        assert before is not None
        change = self._change(before, index, mask)
        if not change and there == list(files):
            return None
        if before.is_by_hand:
            missing = ", ".join(file.name for file in files if file not in there)
            reason = f"other {change}" if change else f"no {missing}"
            raise ConfigError(
                f"{mask} was mended by a person and would be made again ({reason}); choose another "
                "folder, or replace it with --overwrite"
            )
        return change

    def _change(self, before: Origin, index: int, mask: Path) -> str:
        scan, entry = scan_of(self.source, index), self._entry(index)
        image = _relative(mask.parent, scan)
        try:
            is_same = self._is_same(before, index, scan, image)
        except (FlipError, OSError):
            return "image"  # unreadable: segmenting reports why
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
            "weights": before.is_by_hand or before.weights == self.weights,  # a person's mask outlives them
            "points": before.points == self.points,
            "mask, which is truncated": is_whole(mask),
        }
        return ", ".join(name for name, is_so in same.items() if not is_so)

    def _is_same(self, before: Origin, index: int, scan: Scan | None, image: str | None) -> bool:
        """Whether a mask's image, or its whole case if no box is known in advance, is unchanged."""
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
        """The entry of a case whose box is known without reading it."""
        entry = self.source.entries[index] if isinstance(self.source, ListedSource) else None
        return entry if isinstance(entry, FileCase | CocoCase) else None


def _stamp(scan: Scan) -> tuple[int, ...]:
    status = scan.file.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _relative(folder: Path, scan: Scan | None) -> str | None:
    return None if scan is None else path_from(folder, scan.file)


def _fits(entry: FileCase | CocoCase | None, mask: Path) -> bool:
    """Whether the image size in a COCO file, if given, equals the mask's."""
    if not isinstance(entry, CocoCase):
        return True
    with Image.open(mask) as picture:
        return all(
            given in (None, side) for given, side in zip(entry.size, (picture.height, picture.width), strict=True)
        )
