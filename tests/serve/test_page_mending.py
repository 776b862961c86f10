"""Mending in the browser: by mouse and by keys, over several boxes and images, over a reload, and back to disk."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from flipagents.cli import main
from flipagents.segment.corrections import read_corrections
from flipagents.segment.mend import Mender
from flipagents.serve.page_weights import Choices
from flipenv.sources import read_mask
from flipenv.types import Box
from tests.serve.browsing import (
    choose,
    drag,
    expect_box,
    expect_mask,
    expect_quiet,
    expect_status,
    load,
    opened,
    picture,
    shown,
    taken,
    type_box,
)

pytest.importorskip("gradio", reason="the page needs the extra app")

SIZE = (100, 150)  # height and width of the images
BOX = [40, 30, 110, 70]


def noisy(path: Path, seed: int = 1) -> Path:
    """A dark disc in noise, so that superpixels follow something."""
    rows, columns = np.ogrid[: SIZE[0], : SIZE[1]]
    disc = ((rows - 50) / 18) ** 2 + ((columns - 75) / 32) ** 2 < 1
    image = np.random.default_rng(seed).normal(np.where(disc, 70, 150), 12)
    cv2.imwrite(str(path), np.clip(image, 0, 255).astype(np.uint8))
    return path


def segmented(tab: Any, path: Path, method: str = "ellipse") -> int:
    """Open an image and segment its box; pixels of the mask."""
    load(tab, path)
    type_box(tab, BOX)
    choose(tab, method)
    tab.click("#predict")
    expect_mask(tab)
    tab.evaluate("window.scrollTo(0, 0)")
    return pixels(tab)


def pixels(tab: Any) -> int:
    return int(tab.inner_text("#card").split()[0])


def corrections(tab: Any, count: int) -> int:
    """Wait until the card counts this many corrections; pixels of the mask."""
    text = f"{count or 'no'} correction{'s' * (count != 1)}\n"
    tab.wait_for_function("text => document.querySelector('#card').innerText.includes(text)", arg=text)
    expect_quiet(tab)
    return pixels(tab)


def point(tab: Any, x: float, y: float) -> tuple[float, float]:
    """Where a point of the image is on the screen."""
    at = shown(tab)
    return at["x"] + x * at["width"] / SIZE[1], at["y"] + y * at["height"] / SIZE[0]


def set_range(tab: Any, name: str, value: float) -> None:
    tab.locator(f"#drawing [name={name}]").evaluate(
        "(range, value) => { range.value = value; range.dispatchEvent(new Event('input', {bubbles: true})); }", value
    )


def test_clicks_add_and_take_away(tab: Any, tmp_path: Path) -> None:
    path = noisy(tmp_path / "scan.png")
    first = segmented(tab, path)
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    ellipse = Mender(image, Box.from_xyxy(*BOX), read_mask(taken(tab, tmp_path / "0")["scan_mask.png"], SIZE))
    expect_status(tab, "1 mask saved")
    undo, redo = (tab.locator(f"#drawing [data-ask={name}]") for name in ("undo", "redo"))
    assert (undo.is_disabled(), redo.is_disabled()) == (True, True)

    set_range(tab, "reach", 0)
    tab.mouse.click(*point(tab, 42.5, 32.5))
    one = corrections(tab, 1)
    ellipse.click(32, 42, "erase", 0)
    assert first < one == ellipse.mask.sum()
    set_range(tab, "reach", 1.5)
    tab.mouse.click(*point(tab, 106.5, 50.5), button="right")
    two = corrections(tab, 2)
    ellipse.click(50, 106, "pass", 1.5)
    assert two == ellipse.mask.sum() < one
    tab.keyboard.down("Shift")
    tab.mouse.click(*point(tab, 75.5, 66.5))
    tab.keyboard.up("Shift")
    three = corrections(tab, 3)
    ellipse.click(66, 75, "pass", 1.5)
    assert three == ellipse.mask.sum() < two

    for key, count, expected in (
        ("Control+z", 2, two),
        ("Control+z", 1, one),
        ("Control+Shift+z", 2, two),
        ("Control+y", 3, three),
    ):
        tab.keyboard.press(key)
        assert corrections(tab, count) == expected
    undo.click()
    assert corrections(tab, 2) == two
    assert (undo.is_disabled(), redo.is_disabled()) == (False, False)

    files = taken(tab, tmp_path / "1")
    again = Mender(image, Box.from_xyxy(*BOX), read_mask(files["scan_unmended.png"], SIZE))
    assert again.replay(read_corrections(files["scan_corrections.json"], again.subject)).sum() == two
    np.testing.assert_array_equal(read_mask(files["scan_mask.png"], SIZE), again.mask)


def test_zoom_pan_and_finer(tab: Any, tmp_path: Path) -> None:
    first = segmented(tab, noisy(tmp_path / "scan.png"))
    whole = shown(tab)
    tab.mouse.move(*point(tab, 42.5, 32.5))
    tab.wait_for_function("document.querySelector('#drawing path.preview').getAttribute('d') !== ''")
    tab.mouse.wheel(0, -400)
    tab.wait_for_function("document.querySelector('#drawing .stage').style.transform !== ''")
    near = shown(tab)
    assert near["width"] > 1.2 * whole["width"]
    kept = point(tab, 42.5, 32.5)
    tab.mouse.click(*kept)
    one = corrections(tab, 1)
    assert one > first, "a click hits what is under it"
    drag(tab, kept, (kept[0] + 40, kept[1] + 25))
    moved = shown(tab)
    assert (moved["x"] - near["x"], moved["y"] - near["y"]) == pytest.approx((40, 25), abs=2)
    expect_box(tab, BOX)
    tab.keyboard.press("0")
    assert shown(tab) == whole

    set_range(tab, "opacity", 0.8)
    assert tab.locator("#drawing .fill").evaluate("fill => getComputedStyle(fill).opacity") == "0.8"
    before = tab.input_value("#drawing [name=size]")
    tab.keyboard.down("Shift")
    tab.mouse.wheel(0, -100)
    tab.keyboard.up("Shift")
    tab.wait_for_function(
        "before => document.querySelector('#drawing [name=size]').value === String(Number(before) + 1)", arg=before
    )
    assert shown(tab) == whole
    tab.keyboard.press("Control+z")
    corrections(tab, 0)
    set_range(tab, "reach", 0)
    set_range(tab, "size", 0)
    tab.mouse.click(*point(tab, 42.5, 32.5))
    coarse = corrections(tab, 1) - first
    tab.keyboard.press("Control+z")
    corrections(tab, 0)
    set_range(tab, "size", 3)
    tab.mouse.click(*point(tab, 42.5, 32.5))
    assert 0 < corrections(tab, 1) - first < coarse


def test_mending_without_a_mouse(tab: Any, tmp_path: Path) -> None:
    first = segmented(tab, noisy(tmp_path / "scan.png"))
    tab.focus("#drawing .stage")
    for key in ["ArrowLeft"] * 8 + ["ArrowUp"] * 4:
        tab.keyboard.press(key)
    assert "cursor at 43, 34" in tab.get_attribute("#drawing .stage", "aria-label")
    tab.keyboard.press("Enter")
    one = corrections(tab, 1)
    assert one > first
    tab.keyboard.press("Shift+Enter")
    assert corrections(tab, 2) < one
    tab.keyboard.press("b")
    tab.keyboard.press("ArrowDown")
    expect_box(tab, [40, 31, 110, 71])
    assert tab.is_visible("#note")


def test_boxes_and_images(tab: Any, tmp_path: Path) -> None:
    paths = [noisy(tmp_path / f"{name}.png", seed) for seed, name in enumerate("bac")]
    (tmp_path / "notes.txt").write_text("no image")
    with tab.expect_file_chooser() as chosen:
        tab.click("#open")
    chosen.value.set_files([*paths, tmp_path / "notes.txt"])
    expect_status(tab, "1 of 4 files are left out: notes.txt")

    def expect_image(name: str, count: str) -> None:
        tab.wait_for_function("name => document.querySelector('#drawing .photo').alt === name", arg=name)
        assert tab.inner_text("#drawing .count") == count

    expect_image("a.png", "1 of 3")
    type_box(tab, BOX)
    choose(tab, "ellipse")
    tab.click("#predict")
    expect_mask(tab)
    ellipse = pixels(tab)
    tab.click("#drawing button[aria-label='Another box']")
    tab.wait_for_selector("#drawing .fill", state="hidden")
    tab.evaluate("window.scrollTo(0, 0)")
    drag(tab, point(tab, 10, 10), point(tab, 30, 25))
    expect_box(tab, [10, 10, 30, 25])
    choose(tab, "box")
    tab.click("#predict")
    expect_mask(tab)
    assert pixels(tab) == 300
    tab.evaluate("window.scrollTo(0, 0)")
    tab.click("#drawing button[aria-label='Box 1']")
    expect_box(tab, BOX)
    assert pixels(tab) == ellipse

    tab.evaluate("document.activeElement.blur()")
    for key, name, count in (("n", "b.png", "2 of 3"), ("n", "c.png", "3 of 3"), ("p", "b.png", "2 of 3")):
        tab.keyboard.press(key)
        expect_image(name, count)
    assert not tab.is_visible("#drawing .fill")
    tab.click("#drawing button[aria-label='Previous image']")
    expect_image("a.png", "1 of 3")
    expect_box(tab, BOX)
    files = taken(tab, tmp_path / "taken")
    assert {"a_mask.png", "a~2_mask.png", "coco.json"} < set(files)
    assert not any(name.startswith(("b", "c_")) for name in files)
    tab.click("#drawing button[aria-label='Delete box 1']")
    expect_box(tab, [10, 10, 30, 25])
    tab.click("#clear")
    tab.wait_for_selector("#drawing .hint")


def test_a_reload_loses_nothing(browser: Any, tab: Any, address: str, tmp_path: Path) -> None:
    segmented(tab, noisy(tmp_path / "scan.png"))
    tab.mouse.click(*point(tab, 42.5, 32.5))
    mended = corrections(tab, 1)
    tab.reload()
    expect_mask(tab)
    assert corrections(tab, 1) == mended
    expect_box(tab, BOX)
    other = opened(browser, address)  # a second window has work of its own
    load(other, picture(tmp_path / "other.png", *SIZE))
    other.close()
    tab.reload()
    expect_mask(tab)
    tab.keyboard.press("Control+z")
    assert corrections(tab, 0) < mended
    key = tab.evaluate("sessionStorage.getItem('flip-app')")
    assert re.fullmatch("[0-9a-f]{32}", key)


def test_a_mask_on_disk_is_mended(browser: Any, tmp_path: Path) -> None:
    """`flip app --mend`: opened with its box and mask, written back where it lies."""
    from flipagents.serve.page import build, launch

    noisy(tmp_path / "scan.png")
    out = tmp_path / "out"
    box = list(map(str, BOX))
    assert main(["segment", str(tmp_path / "scan.png"), "--box", *box, "--method", "ellipse", "-o", str(out)]) == 0
    first = read_mask(out / "scan_mask.png", SIZE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    page = build(Choices(), tmp_path / "page", out / "scan_mask.png")
    own = launch(page, "127.0.0.1", port)
    try:
        tab = browser.new_page()
        tab.goto(own)
        expect_mask(tab)
        expect_box(tab, BOX)
        assert pixels(tab) == first.sum()
        tab.mouse.click(*point(tab, 42.5, 32.5))
        mended = corrections(tab, 1)
        tab.click("#back")
        expect_status(tab, "scan_mask.png written with 1 correction")
        assert read_mask(out / "scan_mask.png", SIZE).sum() == mended != first.sum()
        assert (out / "scan_corrections.json").exists()
    finally:
        page.close()
