"""The pictures of one segmented case, written so that no file is ever half there."""

from __future__ import annotations

import dataclasses
import errno
import io
import math
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from flipagents.formats.coco import Scan, Voxels, nifti_bytes
from flipagents.formats.dicom_seg import seg_bytes
from flipagents.metrics import dice
from flipagents.segment.origin import KEY, Origin
from flipenv.batch import Batch, to_numpy
from flipenv.episode import mask_on_canvas
from flipenv.errors import FlipError
from flipenv.pictures.film import write_gif
from flipenv.pictures.render import Rgb, Scene, draw, overlay
from flipenv.pictures.viewer import Viewer
from flipenv.pool import EpisodePool
from flipenv.scorer import Scorer
from flipenv.types import Case

if TYPE_CHECKING:
    from flipagents.segment.segmenter import Segmenter

FRAMES = 80  # of a film, about; an episode has hundreds of steps

Mask: TypeAlias = NDArray[np.bool_]  # (height, width)


REMEDIES = {  # of what the system says when a file cannot be written
    errno.ENOSPC: "free space on that disk",
    errno.EDQUOT: "free space on that disk",
    errno.EFBIG: "free space on that disk",
    errno.ENAMETOOLONG: "give the case a shorter id",
}


class OutputError(FlipError):
    """A file that cannot be written."""

    def __init__(self, what: str, error: OSError | None = None) -> None:
        reason = "" if error is None else f" ({error.strerror or error}); {REMEDIES.get(error.errno or 0, _ELSEWHERE)}"
        super().__init__(f"cannot write {what}{reason}")
        self.is_for_all = error is None or error.errno != errno.ENAMETOOLONG  # whether the next file will fail too


_ELSEWHERE = "choose another folder"


@dataclass(frozen=True, eq=False)
class Recording:
    """One walk of the last stage."""

    scene: Scene  # at the end, with erased shares, and scores where there was a scorer, after each step
    frames: Sequence[Rgb]  # (h, w, 3) uint8; none unless asked for
    mask: Mask  # (height, width) of the image, what this walk erased


def scenes(
    segmenter: Segmenter, case: Case, *, scorer: Scorer | None = None, truth: Mask | None = None
) -> Iterator[Scene]:
    """Walk all stages on one case, the last as in the segmenter's first vote: about FRAMES scenes of the last stage.

    The first is before its first step, the last at its end. truth: (height, width) bool, shown, and compared with what
    is erased after each step, in pixels of the canvas.
    """
    for scene, _ in _walk(segmenter, case, scorer, truth):
        yield scene


def record(
    segmenter: Segmenter, case: Case, *, scorer: Scorer | None = None, film: bool = False, truth: Mask | None = None
) -> Recording:
    """Keep the last of the `scenes`, and with `film` a picture of each.

    The mask that is written has more votes behind it and is tidied; the recording shows what one walk erases.
    """
    walked = list(_walk(segmenter, case, scorer, truth))
    last, batch = walked[-1]
    return Recording(last, [draw(scene) for scene, _ in walked] if film else [], batch.mask(0))


def _walk(segmenter: Segmenter, case: Case, scorer: Scorer | None, truth: Mask | None) -> Iterator[tuple[Scene, Batch]]:
    """Yield `scenes`, each with the batch that walks."""
    from flipagents.segment.segmenter import walking  # noqa: PLC0415 - torch is slow to import

    agent = segmenter.stages[-1]
    seen = segmenter.before_last([segmenter.informed(case)])
    pool = EpisodePool(seen, walking(agent.env, **segmenter.recipe.votes[0]), cache=False)
    batch = Batch(pool, 1, scorer=scorer, device=agent.batch_device, progress=False)
    viewer = Viewer(batch, "rgb_array")
    batch.reset(cases=[0])
    shown = None if truth is None else mask_on_canvas(truth, pool.episode(0).geometry, pool.config.canvas)
    dices: list[float] = []

    def scene() -> Scene:
        return dataclasses.replace(viewer.scene(), truth=shown, dices=list(dices))

    def note() -> None:
        viewer.record()
        if shown is not None:
            dices.append(dice(to_numpy(batch.erased()[0]), shown))

    note()
    first = scene()
    yield first, batch
    every = math.ceil(first.steps / FRAMES)
    ended = False
    while not ended:
        state = batch.advance(agent.act(batch))
        note()
        ended = bool(state.terminated[0] | state.truncated[0])
        if ended or int(state.step[0]) % every == 0:
            yield scene(), batch


def output_paths(
    folder: Path,
    name: str,
    *,
    pictures: bool = True,
    curve: bool = False,
    gif: bool = False,
    nifti: bool = False,
    seg: bool = False,
) -> list[Path]:
    """Where the files of one case go: mask, overlay unless only masks are wanted, curve, film, NIfTI, DICOM."""
    wanted = {
        "_mask.png": True,
        "_overlay.png": pictures,
        "_curve.png": curve and pictures,
        ".gif": gif,
        "_mask.nii.gz": nifti,
        "_seg.dcm": seg,
    }
    return [folder / f"{name}{suffix}" for suffix, is_wanted in wanted.items() if is_wanted]


def write_outputs(
    paths: Sequence[Path],
    case: Case,
    mask: Mask,
    recording: Recording | None = None,
    *,
    truth: Mask | None = None,
    voxels: Voxels | None = None,
    scan: Scan | None = None,
    spacing_mm: tuple[float, float] | None = None,
    origin: Origin | None = None,
) -> None:
    """Write the files that `output_paths` named.

    NAME_mask.png is (height, width) of the image, 0 and 255, with its `origin` as text and its resolution where
    `spacing_mm`, (down, across) mm a pixel, is known; NAME_overlay.png the mask and box on the image, dashed the
    `truth` where one is given; NAME_curve.png the end of the recorded walk with its erased share (and score) after each
    step; NAME.gif the walk; NAME_mask.nii.gz the mask on `voxels`, see `flipagents.formats.coco.nifti_bytes`;
    NAME_seg.dcm the mask as a Segmentation of the DICOM image `scan`, see `flipagents.formats.dicom_seg`. Raises
    OutputError, with none of them changed, where the disk is full or refuses. Files of an earlier run go before the
    first new one comes, so that after a kill no picture stands beside another run's mask.
    """
    with replacing(paths, together=True) as parts:
        for path, part in parts.items():
            if path.suffix == ".gif":
                assert recording is not None
                write_gif(part, recording.frames, fps=12)
            elif path.suffix == ".gz":
                part.write_bytes(nifti_bytes(mask, voxels, spacing_mm))
            elif path.suffix == ".dcm":
                part.write_bytes(seg_bytes(mask, scan))
            elif path.name.endswith("_curve.png"):
                assert recording is not None
                part.write_bytes(png_bytes(draw(recording.scene)))
            elif path.name.endswith("_overlay.png"):
                part.write_bytes(png_bytes(overlay(case.image, mask, case.box, truth)))
            else:
                part.write_bytes(mask_bytes(mask, origin, spacing_mm))


def write_texts(texts: Mapping[Path, str]) -> None:
    """Write text files, all or none; OutputError as `write_outputs`."""
    with replacing(list(texts)) as parts:
        for path, part in parts.items():
            part.write_text(texts[path], encoding="utf-8", newline="")


def check_writable(folder: Path) -> None:
    """Prove that files can be written into a folder, there or not yet; leave no trace. OutputError says why not."""
    probe = folder / f".{secrets.token_hex(6)}.part"
    try:
        missing = [each for each in (folder, *folder.parents) if not is_there(each)]
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
        for each in missing:
            each.rmdir()
    except OSError as error:
        raise OutputError(f"into {folder}", error) from error


@contextmanager
def replacing(paths: Sequence[Path], *, together: bool = False) -> Iterator[dict[Path, Path]]:
    """Lend a temporary name for each path, and rename them all once everything is on the disk.

    together: files that are there go before the first new one comes, so that a kill leaves no old beside a new one.
    Folders are made. An OSError inside becomes an OutputError; the paths are then as they were.
    """
    parts = {path: path.with_name(f".{secrets.token_hex(6)}.part{path.suffix}") for path in paths}
    try:
        for folder in {path.parent for path in paths}:
            folder.mkdir(parents=True, exist_ok=True)
        there = [path for path in paths if is_there(path)]
        yield parts
        for part in parts.values():
            with part.open("rb") as file:
                os.fsync(file.fileno())
        for path in there if together else ():
            path.unlink()
        for path, part in parts.items():
            part.replace(path)
    except OSError as error:
        raise OutputError(", ".join(map(str, paths)), error) from error
    finally:
        for part in parts.values():
            try:
                part.unlink(missing_ok=True)
            except OSError:  # its folder could not be made
                continue


def is_there(path: Path) -> bool:
    """As `Path.exists`, but that a name that is too long is an OSError in each version of Python."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def file_names(ids: Sequence[str]) -> list[str]:
    """A file name for each id, none twice, the same for the same ids: what may not stand in one becomes `_`."""
    taken: set[str] = set()
    names = []
    for each in ids:
        plain = name = re.sub(r"[^\w .()#+=-]", "_", each).strip(" .") or "case"
        count = 1
        while name.casefold() in taken:
            count += 1
            name = f"{plain}~{count}"
        taken.add(name.casefold())
        names.append(name)
    return names


def png_bytes(picture: NDArray[np.uint8]) -> bytes:
    """A grey (h, w) or RGB (h, w, 3) picture as PNG; in memory, because OpenCV does not say why writing failed."""
    ordered = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".png", ordered)
    return data.tobytes()


def mask_bytes(mask: Mask, origin: Origin | None = None, spacing_mm: tuple[float, float] | None = None) -> bytes:
    """A mask as grey PNG, 0 and 255, with what is known of where it comes from and how large its pixels are."""
    told = PngImagePlugin.PngInfo()
    if origin is not None:
        told.add_text(KEY, origin.text())
    resolution = {} if spacing_mm is None else {"dpi": (25.4 / spacing_mm[1], 25.4 / spacing_mm[0])}
    file = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(file, "PNG", pnginfo=told, **resolution)
    return file.getvalue()
