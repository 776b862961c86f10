"""What a person does with the page in a browser, for its tests."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from flipagents.serve.page_weights import Choices

WAIT = 60_000  # ms; a busy machine takes its time to draw the page
CORNERS = ("x0", "y0", "x1", "y1")


@dataclass
class Served:
    """A page that runs."""

    page: Any
    choices: Choices
    address: str


def opened(browser: Any, address: str) -> Any:
    tab = browser.new_page()
    tab.goto(address)
    tab.wait_for_selector("#predict")
    tab.wait_for_selector("#drawing .hint")
    return tab


def upload(tab: Any, part: str, path: Path) -> None:
    with tab.expect_file_chooser() as chosen:
        tab.click(part)
    chosen.value.set_files(path)


def load(tab: Any, path: Path) -> None:
    """Open an image, and wait until it is there."""
    upload(tab, "#open", path)
    tab.wait_for_function(
        "name => { const photo = document.querySelector('#drawing .photo');"
        "return photo.alt === name && photo.complete && photo.naturalWidth > 0; }",
        arg=path.name,
    )
    tab.evaluate("window.scrollTo(0, 0)")


def drag(tab: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag from one point of the screen to another."""
    tab.mouse.move(*map(float, start))
    tab.mouse.down()
    tab.mouse.move(*map(float, end), steps=5)
    tab.mouse.up()


def shown(tab: Any) -> Any:
    """Where the picture is on the screen."""
    return tab.locator("#drawing .stage").bounding_box()


def expect_box(tab: Any, box: list[int]) -> None:
    """Wait until the four numbers say this."""
    tab.wait_for_function(
        "([names, box]) => names.every((name, i) => document.querySelector(`#${name} input`).value === String(box[i]))",
        arg=[CORNERS, box],
    )


def type_box(tab: Any, box: list[int]) -> None:
    for name, corner in zip(CORNERS, box, strict=True):
        tab.fill(f"#{name} input", str(corner))
    tab.press("#y1 input", "Enter")


def choose(tab: Any, method: str) -> None:
    tab.bring_to_front()  # browsers slow down windows in the background
    if not tab.is_visible("#method"):
        tab.click("text=Method and weights")
    choice = tab.locator(f"#method input[value='{method}'], #other input[value='{method}']")
    choice.check()
    # What the accordion held is drawn when it opens, and once more with its value.
    for _ in range(3):
        tab.wait_for_timeout(300)
        choice.check()


def expect_mask(tab: Any) -> None:
    """Wait until the chosen box has a mask, and nothing is going on."""
    tab.wait_for_selector("#drawing .fill:not([hidden])")
    expect_quiet(tab)


def expect_quiet(tab: Any) -> None:
    tab.wait_for_function("document.querySelector('#status').innerText.trim() === ''")


def taken(tab: Any, folder: Path) -> dict[str, Path]:
    """Save all; the files, by name."""
    with tab.expect_download() as loading:
        tab.click("#save")
    assert loading.value.suggested_filename == "masks.zip"
    with zipfile.ZipFile(loading.value.path()) as file:
        file.extractall(folder)
    return {path.name: path for path in folder.iterdir()}


def expect_status(tab: Any, text: str) -> str:
    tab.wait_for_function("text => document.querySelector('#status').innerText.includes(text)", arg=text)
    return str(tab.inner_text("#status"))


def picture(path: Path, height: int, width: int, lesion: tuple[int, int, int, int] | None = None) -> Path:
    """A dark image with a bright lesion of X0, Y0, X1, Y1, by default in the middle."""
    x0, y0, x1, y1 = lesion or (width // 3, height // 3, width * 2 // 3, height * 2 // 3)
    image = np.full((height, width), 40, np.uint8)
    image[y0:y1, x0:x1] = 255
    cv2.imwrite(str(path), image)
    return path
