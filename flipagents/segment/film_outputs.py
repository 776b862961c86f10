"""Output files of a followed film, written all or none."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flipagents.formats.dicom_seg import film_seg_bytes
from flipagents.formats.nifti import film_bytes, read_voxels
from flipagents.formats.scans import Scan, path_from
from flipagents.segment.film_pictures import film_frames, follow_figure
from flipagents.segment.follow import Followed
from flipagents.segment.origin import Origin
from flipagents.segment.outputs import mask_bytes
from flipagents.store.files import replacing
from flipenv.pictures.film import write_gif, write_mp4

TABLE = "_follow.csv"
FPS = 10  # of the animation
COLUMNS = (
    *("number", "id", "image", "frame", "axis", "x0", "y0", "x1", "y1", "kept", "area_px", "area_mm2"),
    *("contrast", "agreement", "score", "reason"),
)


@dataclass(frozen=True, eq=False)
class FilmOutput:
    """A followed film, as it is written."""

    folder: Path
    name: str  # of the film
    frames: NDArray[np.uint8]  # (T, height, width), all of them
    scans: Sequence[Scan]  # where each is read from
    ids: Sequence[str]  # of each frame, from which its mask is named
    start: int  # the frame with the box
    spacing_mm: tuple[float, float] | None = None  # down, across

    def mask(self, frame: int) -> Path:
        """Path of a frame's mask."""
        return self.folder / f"{self.ids[frame]}_mask.png"

    @property
    def table(self) -> Path:
        """Path of the table."""
        return self.folder / f"{self.name}{TABLE}"

    def paths(self, kinds: Sequence[str]) -> dict[str, Path]:
        """Paths by kind, of `plot`, `gif`, `mp4`, `nifti` and `seg`, and the table's."""
        ends = {"plot": "_follow.png", "gif": ".gif", "mp4": ".mp4", "nifti": "_masks.nii.gz", "seg": "_seg.dcm"}
        return {"table": self.table, **{kind: self.folder / f"{self.name}{ends[kind]}" for kind in kinds}}

    @property
    def pixel_mm2(self) -> float | None:
        """Area of a pixel."""
        return None if self.spacing_mm is None else self.spacing_mm[0] * self.spacing_mm[1]


def write_film_outputs(
    film: FilmOutput, steps: Sequence[Followed], origins: Mapping[int, Origin], kinds: Sequence[str]
) -> None:
    """Write the masks of all kept frames, the table, and the `kinds` of files named in `FilmOutput.paths`.

    steps: as `flipagents.segment.follow.follow` yields them. origins: of the masks, by frame.

    The masks are those of `flipagents.segment.outputs.write_outputs`, with the origin of each; NAME_masks.nii.gz has
    the geometry of a NIfTI volume. The table has a row for each frame that was looked at; its rows with kept = yes are
    a source (`csv:NAME_follow.csv?kept=yes`). Masks that an earlier run's table names and this one does not keep are
    deleted. Raises OutputError, leaving all files unchanged, if the disk is full or not writable; as `film_bytes` and
    `film_seg_bytes`.
    """
    ordered = sorted(steps, key=lambda step: step.frame)
    kept = {step.frame: step.mask for step in ordered if not step.gone}
    masks = {frame: film.mask(frame) for frame in kept}
    paths = film.paths(kinds)
    stale = [path for path in masks_of(film) if path not in masks.values()]
    scan = film.scans[film.start]
    with replacing([*masks.values(), *paths.values()], together=True, stale=stale) as parts:
        for frame, path in masks.items():
            parts[path].write_bytes(mask_bytes(kept[frame], origins[frame], film.spacing_mm))
        parts[paths["table"]].write_text(_table(film, ordered), encoding="utf-8", newline="")
        for kind, path in paths.items():
            part = parts[path]
            if kind == "plot":
                follow_figure(ordered, film.start, film.pixel_mm2).savefig(part, dpi=120, format="png")
            elif kind in ("gif", "mp4"):
                pictures = film_frames(film.frames, {step.frame: step for step in ordered})
                (write_gif if kind == "gif" else write_mp4)(part, pictures, fps=FPS)
            elif kind == "nifti":
                voxels = read_voxels(scan.file)
                count = len(film.frames)
                part.write_bytes(film_bytes(kept, voxels, film.spacing_mm, count=count, axis=scan.axis))
            elif kind == "seg":
                part.write_bytes(film_seg_bytes(kept, scan))


def masks_of(film: FilmOutput) -> list[Path]:
    """The masks that the table of an earlier run names as kept; empty without one, or where it is another's file."""
    try:
        rows = list(csv.DictReader(io.StringIO(film.table.read_text(encoding="utf-8"), newline="")))
        frames = [int(row["number"]) for row in rows if row["kept"] == "yes"]
    except (OSError, ValueError, KeyError, csv.Error):
        return []
    return [film.mask(frame) for frame in frames if 0 <= frame < len(film.ids)]


def _table(film: FilmOutput, steps: Sequence[Followed]) -> str:
    file = io.StringIO(newline="")
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(COLUMNS)
    for step in steps:
        scan, area = film.scans[step.frame], int(step.mask.sum())
        mm2 = None if film.pixel_mm2 is None else round(area * film.pixel_mm2, 4)
        seen, score = step.measures, step.measures.score
        rows.writerow(
            [
                *(step.frame, film.ids[step.frame], path_from(film.folder, scan.file)),
                *("" if scan.frame is None else scan.frame, scan.axis or ""),
                *(step.box.left, step.box.top, step.box.right, step.box.bottom),
                *("no" if step.gone else "yes", area, "" if mm2 is None else mm2),
                *(f"{seen.contrast:.2f}", f"{seen.agreement:.4f}", "" if score is None else f"{score:.4f}", step.gone),
            ]
        )
    return file.getvalue()
