"""Saves screenshots as small files."""

from __future__ import annotations

from pathlib import Path

from PIL import Image


def save(picture: Image.Image, path: Path) -> None:
    """Write a PNG with 256 colours and print its size."""
    # A palette takes a third of the bytes; this way of choosing it preserves rare colours.
    small = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    print(f"{path.name}: {picture.width}x{picture.height}, {path.stat().st_size // 1024} kB")
