"""Take the screenshot of docs/review.md in headless Chromium, on phantoms: python docs/images/review.py

Needs onnxruntime or torch, Playwright, and chromium on the path.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright
from saving import save

import flipenv
from flipagents.cli import main as flip

HERE = Path(__file__).parent
PHANTOMS = "phantom:40?first=1000000"
SIZE = {"width": 1360, "height": 880}
EVERY = 6  # one box in so many is off, by a third of its sides


def main() -> None:
    """Write review.png beside this file."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        segment_phantoms()
        flip(["review", "masks"])
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            tab = browser.new_page(viewport=SIZE)
            tab.goto((Path(folder) / "masks" / "review.html").as_uri())
            save(Image.open(io.BytesIO(tab.screenshot())), HERE / "review.png")
            browser.close()


def segment_phantoms() -> None:
    """Write phantoms and their masks; some boxes are off."""
    source = flipenv.open_source(PHANTOMS)
    cases = [source.load(index) for index in range(len(source))]
    cases = [case if index % EVERY else shifted(case) for index, case in enumerate(cases)]
    with Path("cases.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "top", "left", "bottom", "right"])
        for case in cases:
            Image.fromarray(case.image).save(f"{case.id}.png")
            writer.writerow([f"{case.id}.png", *case.box])
    flip(["segment", "cases.csv", "-o", "masks", "--only-masks", "--check-boxes", "-q"])


def shifted(case: flipenv.Case) -> flipenv.Case:
    """The case with its box moved down and right as far as the image allows, by a third of its sides at most."""
    box, (height, width) = case.box, case.image.shape
    down, right = min(box.height // 3, height - box.bottom), min(box.width // 3, width - box.right)
    moved = flipenv.Box(box.top + down, box.left + right, box.bottom + down, box.right + right)
    return dataclasses.replace(case, box=moved)


if __name__ == "__main__":
    main()
