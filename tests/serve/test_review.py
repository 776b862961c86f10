"""The contact sheet: the order, what a card says and shows, and the page in a browser."""

from __future__ import annotations

import dataclasses
import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from flipagents.cli import main
from flipagents.formats.quality_csv import NAME, Quality, read_quality, write_quality
from flipagents.segment.origin import read_origin
from flipagents.segment.outputs import mask_bytes
from flipagents.serve.review import VIEW, card, listing, picture
from flipagents.serve.review_page import command, sheet
from flipenv.errors import SourceError
from flipenv.types import Box, Case

DICES = {"bad": 0.42, "fair <b>": 0.85, "far & off": 0.93, "good": 0.96}


@pytest.fixture
def out(tmp_path: Path, phantoms: list[Case], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The output of `flip segment` on four images, with a quality.csv: `far & off` is marked."""
    lines = ["image,id,x0,y0,x1,y1"]
    for index, (name, case) in enumerate(zip(DICES, phantoms, strict=False)):
        cv2.imwrite(str(tmp_path / f"{index}.png"), case.image)
        box = case.box
        lines.append(f"{index}.png,{name},{box.left},{box.top},{box.right},{box.bottom}")
    (tmp_path / "cases.csv").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    assert main(["segment", "cases.csv", "-o", "out", "--method", "ellipse", "-q", "--only-masks"]) == 0
    write_quality(tmp_path / "out" / NAME, [row(tmp_path / "out", name) for name in DICES])
    return tmp_path / "out"


def mask_of(folder: Path, name: str) -> Path:
    return folder / f"{re.sub('[<>&]', '_', name)}_mask.png"


def row(folder: Path, name: str, **changes: Any) -> Quality:
    mask, dice = mask_of(folder, name), DICES[name]
    origin = read_origin(mask)
    assert origin is not None
    about = Quality(
        mask=mask.name,
        image=name,
        box=Box.from_xyxy(*origin.box),
        method=origin.method,
        area_px=int((np.asarray(Image.open(mask)) > 0).sum()),
        quality=dice,
        low=dice - 0.2,
        high=dice + 0.02,
        calibrated=True,
        reasons=("box-off", "new-code") if name == "far & off" else (),
    )
    return dataclasses.replace(about, **changes)


def names(folder: Path) -> list[str]:
    return [each.name for each in listing(folder).masks]


def card_of(folder: Path, name: str) -> Any:
    return card(next(each for each in listing(folder).masks if each.path == mask_of(folder, name)))


def test_marked_masks_come_first_then_the_least_sure(out: Path) -> None:
    assert names(out) == ["far _ off", "bad", "fair _b_", "good"]
    assert [each.is_marked for each in listing(out).masks] == [True, False, False, False]
    rows = [row(out, "bad"), row(out, "fair <b>", quality=None, low=None, high=None), row(out, "far & off")]
    write_quality(out / NAME, rows)
    assert names(out) == ["far _ off", "fair _b_", "good", "bad"]


def test_without_a_table_the_names_order(out: Path) -> None:
    (out / NAME).unlink()
    found = listing(out)
    assert (names(out), found.is_rated) == (["bad", "fair _b_", "far _ off", "good"], False)
    page = sheet(found, [card(each) for each in found.masks])
    assert "no quality.csv here, so no quality is known" in page
    assert "data-quality" not in page
    assert page.count('<div class="bar"') == 0
    assert page.count('<path class="mask"') == 4


def test_a_row_about_another_mask_is_not_believed(out: Path) -> None:
    """A mask that was mended is not marked any more, and has no quality."""
    path = mask_of(out, "far & off")
    origin, mask = read_origin(path), np.asarray(Image.open(path)) > 0
    mask = mask & (np.arange(mask.shape[1]) < np.argwhere(mask)[:, 1].mean())
    path.write_bytes(mask_bytes(mask, origin))
    rows = [*read_quality(out / NAME), dataclasses.replace(row(out, "bad"), mask="lost_mask.png")]
    write_quality(out / NAME, rows)
    found = listing(out)
    assert (names(out), found.missing) == (["far _ off", "bad", "fair _b_", "good"], 1)
    assert not found.masks[0].is_marked
    shown = card(found.masks[0])
    assert (shown.area_px, shown.notes) == (
        mask.sum(),
        ("changed since quality.csv was written, so its quality is unknown",),
    )
    page = sheet(found, [shown])
    for told in ("0 marked", "1 of unknown quality", "1 row of quality.csv without a mask", "the first 1 shown"):
        assert told in page
    write_quality(out / NAME, [dataclasses.replace(row(out, "bad"), box=Box(1, 2, 3, 4))])
    assert all(each.row is None for each in listing(out).masks)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("gone", "mask alone: 0.png: no such file"),
        ("resized", "mask alone: its image is 20x30, the mask "),
        ("no picture", "mask alone: 0.png: "),
        ("no origin", "mask alone: the mask does not record its image"),
        ("no file", "mask alone: its image was not read from a file of its own"),
    ],
)
def test_without_its_image_a_mask_is_shown_alone(out: Path, fault: str, told: str) -> None:
    path, image = mask_of(out, "bad"), out.parent / "0.png"
    origin, mask = read_origin(path), np.asarray(Image.open(path)) > 0
    assert origin is not None
    if fault == "gone":
        image.unlink()
    elif fault == "resized":
        Image.fromarray(np.zeros((20, 30), np.uint8)).save(image)
    elif fault == "no picture":
        image.write_text("no picture")
    else:
        path.write_bytes(mask_bytes(mask, None if fault == "no origin" else dataclasses.replace(origin, image=None)))
    shown = card_of(out, "bad")
    assert shown.notes[0].startswith(told)
    assert str(out.parent) not in shown.notes[0]
    assert shown.picture.jpeg is None
    assert shown.picture.box is not None
    page = sheet(listing(out), [shown])
    assert '<svg viewBox="0 0 400 300" class=alone' in page
    assert "<image" not in page
    assert '<path class="mask"' in page


def test_a_mask_that_cannot_be_read_is_said(out: Path) -> None:
    path = mask_of(out, "good")
    path.write_bytes(path.read_bytes()[:-200])
    shown = card_of(out, "good")
    assert shown.picture is None
    assert shown.notes[0].startswith("good_mask.png: is damaged or truncated")
    assert "cannot be shown" in sheet(listing(out), [shown])


def test_a_foreign_mask_whose_row_has_a_box_elsewhere(out: Path) -> None:
    Image.fromarray(np.zeros((40, 50), np.uint8)).save(out / "foreign.png")
    elsewhere = dataclasses.replace(row(out, "bad"), mask="foreign.png", box=Box(100, 100, 120, 130), area_px=0)
    write_quality(out / NAME, [elsewhere])
    shown = card(next(each for each in listing(out).masks if each.name == "foreign"))
    assert shown.box is None
    assert "reaches outside its image" in shown.notes[0]
    assert shown.notes[1] == "the mask is empty"
    assert "<svg" in sheet(listing(out), [shown])


def test_a_folder_without_masks(tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SourceError, match=r"holds no NAME_mask\.png; expected the output folder of `flip segment`"):
        listing(tmp_path)
    (out / NAME).write_text((out / NAME).read_text().replace("0.42", "4.2"))
    assert main(["review", str(out)]) == 2
    told = capsys.readouterr().err
    assert f"flip review: {out / NAME} line 2: quality=4.2; expected a Dice between 0 and 1" in told
    assert not (out / "review.html").exists()


@pytest.mark.parametrize("size", [(300, 420), (60, 90)], ids=["shrunk", "enlarged"])
def test_box_outline_and_image_lie_on_each_other(size: tuple[int, int]) -> None:
    """The outline, filled on the picture, is the mask cut out and resized; a bright box is where the box is drawn."""
    height, width = size
    box = Box(height // 10, width // 2, height // 2, width - 3)
    rows, columns = np.mgrid[:height, :width]
    middle = ((box.top + box.bottom) / 2, (box.left + box.right) / 2)
    mask = ((rows - middle[0]) / box.height) ** 2 + ((columns - middle[1]) / box.width) ** 2 < 0.2
    mask[box.top + box.height // 2 :, box.left + box.width // 2 :] = False
    image = np.where((rows >= box.top) & (rows < box.bottom) & (columns >= box.left) & (columns < box.right), 220, 30)
    shown = picture(image.astype(np.uint8), mask, box)
    assert shown.jpeg is not None
    assert shown.box is not None
    x, y, across, down = shown.place
    scale = shown.box[2] / box.width
    canvas = np.zeros(VIEW[::-1])
    pixels = np.asarray(Image.open(io.BytesIO(shown.jpeg)))
    pixels = cv2.resize(pixels, (round(across), round(down)), interpolation=cv2.INTER_LINEAR)
    canvas[round(y) : round(y) + pixels.shape[0], round(x) : round(x) + pixels.shape[1]] = pixels[
        : VIEW[1] - round(y), : VIEW[0] - round(x)
    ]
    left, top, wide, high = shown.box
    drawn = np.zeros(canvas.shape, bool)
    drawn[round(top) : round(top + high), round(left) : round(left + wide)] = True
    assert overlap(drawn, canvas > 125) > 0.97
    filled = np.zeros(canvas.shape, np.uint8)
    points = [
        np.array([[float(number) for number in point.split()] for point in piece.split("L")])
        for piece in re.findall(r"M([^Z]+)Z", shown.outline)
    ]
    cv2.fillPoly(filled, [np.rint(piece).astype(np.int32) for piece in points], 1)
    across_view, down_view = np.meshgrid(np.arange(VIEW[0]) + 0.5, np.arange(VIEW[1]) + 0.5)
    at = (
        np.floor(box.top + (down_view - top) / scale).astype(int).clip(-1, height),
        np.floor(box.left + (across_view - left) / scale).astype(int).clip(-1, width),
    )
    truth = np.pad(mask, 1)[at[0] + 1, at[1] + 1]
    assert overlap(filled > 0, truth) > 0.97
    assert left >= 0
    assert left + wide <= VIEW[0]


def overlap(one: Any, other: Any) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def test_a_nodule_that_may_be_elsewhere_is_shown_with_more_around(out: Path) -> None:
    far = card_of(out, "far & off").picture
    rows = [dataclasses.replace(each, reasons=("outline-unsure",)) for each in read_quality(out / NAME)]
    write_quality(out / NAME, rows)
    near = card_of(out, "far & off").picture
    assert far.box[2] < 0.7 * near.box[2]


def test_masks_outside_the_box_and_empty_ones_are_shown() -> None:
    image, box = np.full((80, 120), 90, np.uint8), Box(10, 10, 30, 40)
    empty = picture(image, np.zeros((80, 120), bool), box)
    assert empty.outline == ""
    mask = np.zeros((80, 120), bool)
    mask[60:79, 90:119] = True
    shown = picture(image, mask, box)
    numbers = np.array([float(number) for number in re.findall(r"[\d.]+", shown.outline)]).reshape(-1, 2)
    assert (numbers > 0).all()
    assert (numbers < VIEW).all()
    assert shown.box is not None
    assert shown.box[2] < VIEW[0] / 3
    nothing = picture(None, np.zeros((80, 120), bool), None)
    assert (nothing.jpeg, nothing.box, nothing.outline) == (None, None, "")


def test_the_page_fetches_nothing_and_takes_names_as_text(out: Path) -> None:
    found = listing(out)
    page = sheet(found, [card(dataclasses.replace(each, path=out / "a<i>'&_mask.png")) for each in found.masks[:1]])
    assert "<i>'" not in page
    assert "a&lt;i&gt;&#x27;&amp;" in page
    assert not re.search(r"(src|href)\s*=\s*[\"']?(?!data:)", page)
    assert "http" not in re.sub("<meta http-equiv", "", page)
    assert "@" not in re.sub(r"data:[^\"]+|@media|@font", "", page)


def test_the_command_to_mend_is_as_typed(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(out.parent)
    assert command(card(listing(Path("out")).masks[0])) == "flip app --mend 'out/far _ off_mask.png'"


def test_command_line(out: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["review", str(out)]) == 0
    assert re.fullmatch(r"4 of 4 masks, 1 marked in \S+/out/review\.html \(0\.\d MB\)\n", capsys.readouterr().out)
    page = (out / "review.html").read_text("utf-8")
    assert page.count("<article") == page.count("data:image/jpeg;base64,") == 4
    assert [float(value) for value in re.findall(r'data-quality="([\d.]+)"', page)] == [0.93, 0.42, 0.85, 0.96]
    assert "new-code" in page
    assert "the box may be beside the nodule" in page
    assert main(["review", str(out), "-o", str(tmp_path / "two" / "page.html"), "--first", "2", "-q"]) == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "two" / "page.html").read_text("utf-8").count("<article") == 2


@pytest.fixture
def tab(out: Path) -> Iterator[Any]:
    """The page in a browser, without a network."""
    api = pytest.importorskip("playwright.sync_api", reason="nothing here drives a browser")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on the path")
    assert main(["review", str(out), "-q"]) == 0
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_context(offline=True).new_page()
        faults: list[str] = []
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto((out / "review.html").as_uri())
        yield page
        assert faults == []
        browser.close()


def seen(tab: Any) -> list[str]:
    found: list[str] = tab.evaluate("[...document.querySelectorAll('.card:not([hidden])')].map((c) => c.dataset.name)")
    assert tab.inner_text("#shown") == f"{len(found)} of 4 shown"
    return found


def test_in_a_browser(tab: Any) -> None:
    assert seen(tab) == ["far _ off", "bad", "fair _b_", "good"]
    assert tab.evaluate("[...document.querySelectorAll('image')].length") == 4
    tab.check("#marked")
    assert seen(tab) == ["far _ off"]
    tab.uncheck("#marked")
    tab.fill("#most", "90")
    assert seen(tab) == ["bad", "fair _b_"]
    assert tab.inner_text("#limit") == "predicted Dice up to 0.90"
    tab.fill("#most", "100")
    tab.press("body", "/")
    tab.keyboard.type("FA jk")
    assert seen(tab) == []
    tab.fill("#search", "fa")
    assert seen(tab) == ["far _ off", "fair _b_"]
    tab.keyboard.press("Escape")

    def at() -> str:
        return str(tab.evaluate("document.activeElement.dataset.name"))

    walked = []
    for key in "jjjkk":
        tab.keyboard.press(key)
        walked.append(at())
    assert walked == ["far _ off", "fair _b_", "fair _b_", "far _ off", "far _ off"]
    tab.keyboard.press("o")
    assert tab.evaluate("getComputedStyle(document.querySelector('.mask')).visibility") == "hidden"
    tab.keyboard.press("o")
    assert tab.evaluate("getComputedStyle(document.querySelector('.mask')).visibility") == "visible"
    tab.keyboard.press("c")
    tab.wait_for_function("document.activeElement.querySelector('button').textContent === 'Copied'")
    tab.fill("#search", "")
    tab.focus("#search")
    tab.keyboard.press("Control+v")
    assert tab.input_value("#search").startswith("flip app --mend ")
