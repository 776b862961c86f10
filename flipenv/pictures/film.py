"""An episode as a film: GIF or MP4 of frames that `flipenv.pictures.render.draw` made."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from flipenv.atomic import replacing
from flipenv.errors import ConfigError, ImageError, MissingDependencyError
from flipenv.pictures.render import FilePath, Rgb


def write_gif(path: FilePath, frames: Iterable[Rgb], fps: float = 10, hold: float = 1.0) -> None:
    """Write (h, w, 3) uint8 frames as a looping GIF with one palette fitted to all of them.

    The last frame is held for `hold` seconds. GIF delays are in hundredths of a second, and a repeated frame only
    extends the previous one. The file is written atomically.
    Raises ImageError for no frames or frames of different sizes, ConfigError for fps <= 0, OSError if writing fails.
    """
    pictures = [Image.fromarray(frame) for frame in _checked(frames, fps)]
    sample = pictures[:: math.ceil(len(pictures) / 8)] + pictures[-1:]
    strip = Image.fromarray(np.concatenate([np.asarray(picture) for picture in sample]))
    palette = strip.quantize(256, method=Image.Quantize.FASTOCTREE)
    first, *rest = (picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures)
    each = max(20, 10 * round(100 / fps))  # viewers slow down anything faster than 20 ms
    durations = [each] * len(rest) + [max(each, 10 * round(100 * hold))]
    with replacing([Path(path)]) as parts:
        first.save(parts[Path(path)], format="GIF", save_all=True, append_images=rest, duration=durations, loop=0)


def write_mp4(path: FilePath, frames: Iterable[Rgb], fps: float = 10) -> None:
    """Write (h, w, 3) uint8 frames as an MPEG-4 video; odd sides are padded by one pixel, as the codec requires.

    The file is written atomically. Raises ImageError for no frames or frames of different sizes, ConfigError for
    fps <= 0 or a name without .mp4, MissingDependencyError if OpenCV lacks the mp4v codec, OSError if writing fails.
    """
    pictures = _checked(frames, fps)
    rows, columns = pictures[0].shape[:2]
    path = Path(path)
    if path.suffix.lower() != ".mp4":  # OpenCV picks the format by suffix
        raise ConfigError(f"{path}: expected a name ending in .mp4")
    with replacing([path]) as parts:
        scratch = parts[path]
        size = (columns + columns % 2, rows + rows % 2)
        writer = cv2.VideoWriter(str(scratch), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
        if not writer.isOpened():
            raise MissingDependencyError(
                f"cannot write {path}: OpenCV {cv2.__version__} here has no mp4v codec; write a GIF, or pip install "
                "opencv-contrib-python from PyPI, which includes it"
            )
        for picture in pictures:
            even = cv2.copyMakeBorder(picture, 0, rows % 2, 0, columns % 2, cv2.BORDER_REPLICATE)
            writer.write(cv2.cvtColor(even, cv2.COLOR_RGB2BGR))
        writer.release()
        # OpenCV reports no error on a full disk, so count the frames.
        video = cv2.VideoCapture(str(scratch))
        written = max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT)))
        video.release()
        if written != len(pictures):
            raise OSError(f"cannot write {path}: {written} of {len(pictures)} frames were written")


def _checked(frames: Iterable[Rgb], fps: float) -> list[Rgb]:
    if not 0 < fps < math.inf:
        raise ConfigError(f"fps={fps!r}; expected frames per second > 0")
    pictures = [np.ascontiguousarray(frame) for frame in frames]
    if not pictures:
        raise ImageError("no frames to write; expected at least one (h, w, 3) uint8 array")
    for index, picture in enumerate(pictures):
        shape = picture.shape
        if picture.dtype != np.uint8 or picture.ndim != 3 or shape[2] != 3 or shape != pictures[0].shape:
            raise ImageError(
                f"frame {index} is {shape} {picture.dtype}, the first {pictures[0].shape} {pictures[0].dtype}; "
                "expected (h, w, 3) uint8 RGB frames of the same size"
            )
    return pictures
