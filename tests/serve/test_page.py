"""The page as a person has it in a browser."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from flipenv.sources import open_source, read_mask
from tests.serve.browsing import (
    CORNERS,
    Served,
    choose,
    drag,
    expect_box,
    expect_mask,
    expect_status,
    load,
    opened,
    picture,
    shown,
    taken,
    type_box,
    upload,
)

pytest.importorskip("gradio", reason="the page needs the extra app")


def test_a_phantom_from_box_to_dice(tab: Any) -> None:
    tab.click("#predict")
    expect_status(tab, "There is no picture yet")
    tab.click("#phantom")
    tab.wait_for_function("document.querySelector('#x1 input').value > 0")
    tab.evaluate("window.scrollTo(0, 0)")
    at = shown(tab)
    left, top = at["x"] + at["width"] / 4, at["y"] + at["height"] / 4
    drag(tab, (left, top), (left + at["width"] / 2, top + at["height"] / 2))
    expect_box(tab, [112, 80, 336, 240])
    choose(tab, "polar")
    tab.click("#predict")
    tab.wait_for_selector("#card table")
    told = tab.inner_text("#card table")
    assert told.split()[:5] == ["Dice", "HD,", "px", "ASD,", "px"]
    assert 0 < float(told.split("polar")[1].split()[0]) < 1
    tab.click("role=tab[name=Erased]")
    tab.wait_for_selector("#erased img")


def test_a_drag_always_draws(tab: Any, tmp_path: Path) -> None:
    """On the next image, and over the box that is there, without a word to any button."""
    choose(tab, "polar")
    for name, height, width in (("one.png", 180, 300), ("two.png", 180, 300), ("three.png", 240, 200)):
        load(tab, picture(tmp_path / name, height, width))
        at = shown(tab)
        scale = at["width"] / width
        for x0, y0, x1, y1 in ((30, 40, 150, 120), (60, 20, 190, 170), (190, 150, 61, 21), (62, 22, 130, 160)):
            drag(tab, (at["x"] + x0 * scale, at["y"] + y0 * scale), (at["x"] + x1 * scale, at["y"] + y1 * scale))
            expect_box(tab, [min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)])
        tab.mouse.click(at["x"] + 5, at["y"] + 5)
        expect_box(tab, [62, 22, 130, 160])
        tab.click("#predict")
        expect_mask(tab)


@pytest.mark.parametrize("boxed", [False, True], ids=["no box before", "box before"])
def test_portrait_after_landscape_and_back(tab: Any, tmp_path: Path, boxed: bool) -> None:
    """The bright lesion is found on the screen and dragged around: its own corners come out, wherever it lies."""
    sizes = ((218, 328), (328, 218), (218, 328), (60, 40), (900, 1500), (1500, 300))
    for number, (height, width) in enumerate(sizes):
        lesion = (width // 8, height // 4, width * 5 // 8, height * 7 // 8)
        load(tab, picture(tmp_path / f"{number}.png", height, width, lesion))
        at = shown(tab)
        area = tab.locator("#drawing .area").bounding_box()
        assert at["width"] / at["height"] == pytest.approx(width / height, rel=0.01)
        assert at["x"] + at["width"] / 2 == pytest.approx(area["x"] + area["width"] / 2, abs=1)
        for low, length in (("x", "width"), ("y", "height")):
            assert area[low] <= at[low]
            assert at[low] + at[length] <= area[low] + area[length]
        screen = cv2.imdecode(np.frombuffer(tab.screenshot(), np.uint8), cv2.IMREAD_COLOR)
        seen = screen[int(at["y"]) : int(at["y"] + at["height"]), int(at["x"]) : int(at["x"] + at["width"])]
        rows, columns = np.nonzero((seen > 200).all(axis=2))
        start = int(at["x"]) + columns.min(), int(at["y"]) + rows.min()
        end = int(at["x"]) + columns.max() + 1, int(at["y"]) + rows.max() + 1
        drag(tab, start, end)
        slack = max(1, math.ceil(width / at["width"]))  # px of the image in one of the screen
        tab.wait_for_function(
            "([names, box, slack]) => names.every((name, i) =>"
            "Math.abs(Number(document.querySelector(`#${name} input`).value) - box[i]) <= slack)",
            arg=[CORNERS, list(lesion), slack],
        )
        if not boxed:
            tab.click("#phantom")  # whose picture has another size
            tab.wait_for_function("document.querySelector('#drawing .photo').alt.startsWith('phantom')")


def test_drags_at_and_beyond_all_four_edges(tab: Any, tmp_path: Path) -> None:
    """A box never leaves the image, wherever a drag begins and ends."""
    for name, height, width in (("wide.png", 218, 328), ("high.png", 328, 218), ("back.png", 218, 328)):
        load(tab, picture(tmp_path / name, height, width))
        at = shown(tab)
        scale = at["width"] / width

        def point(x: float, y: float, at: Any = at, scale: float = scale) -> tuple[float, float]:
            return at["x"] + x * scale, at["y"] + y * scale

        out = 15 / scale  # beyond the edge, on the dark frame
        far = 2000 / scale  # beyond the window
        for start, end, box in (
            ((0, 0), (width, height), [0, 0, width, height]),
            ((-out, 50), (100, 90), [0, 50, 100, 90]),
            ((100, 50), (-out, 90), [0, 50, 100, 90]),
            ((width + out, 60), (120, 100), [120, 60, width, 100]),
            ((120, 60), (width + far, 100), [120, 60, width, 100]),
            ((50, -out), (90, 100), [50, 0, 90, 100]),
            ((50, 100), (90, -far), [50, 0, 90, 100]),
            ((60, height + out), (110, 120), [60, 120, 110, height]),
            ((60, 120), (110, height + far), [60, 120, 110, height]),
            ((-out, -out), (width + out, height + out), [0, 0, width, height]),
            ((40, 40), (40, 90), [40, 40, 41, 90]),
            ((-out, 30), (-far, 60), [0, 30, 1, 60]),
            ((width + out, 30), (width + far, 60), [width - 1, 30, width, 60]),
        ):
            drag(tab, point(*start), point(*end))
            expect_box(tab, box)


def test_numbers_and_keys_move_the_box(tab: Any, tmp_path: Path) -> None:
    load(tab, picture(tmp_path / "scan.png", 100, 150))
    type_box(tab, [20, 30, 60, 80])
    tab.wait_for_function("document.querySelector('#drawing rect').getAttribute('x') === '20'")
    for corner, typed in (("x0", "-59"), ("x1", "9999"), ("y1", "101"), ("y0", "-1")):
        before = tab.input_value(f"#{corner} input")
        tab.fill(f"#{corner} input", typed)
        tab.press(f"#{corner} input", "Enter")
        expect_status(tab, "The box leaves the image; X goes from 0 to 150, Y from 0 to 100")
        tab.click("#predict")
        expect_status(tab, "The box leaves the image")
        assert not tab.is_visible("#drawing .fill")
        tab.fill(f"#{corner} input", before)
        tab.press(f"#{corner} input", "Enter")
        tab.wait_for_function("document.querySelector('#status').innerText.trim() === ''")
    tab.fill("#x1 input", "10")
    tab.press("#x1 input", "Enter")
    expect_status(tab, "The box is empty")
    tab.fill("#x1 input", "60")
    tab.press("#x1 input", "Enter")
    tab.wait_for_function("document.querySelector('#status').innerText.trim() === ''")
    tab.focus("#drawing .stage")
    for key in ("ArrowLeft", "ArrowLeft", "ArrowDown", "Shift+ArrowRight", "Shift+ArrowUp"):
        tab.keyboard.press(key)
    expect_box(tab, [18, 31, 59, 80])
    for _ in range(25):
        tab.keyboard.press("ArrowLeft")
    expect_box(tab, [0, 31, 41, 80])
    assert "box X0 0, Y0 31, X1 41, Y1 80" in tab.get_attribute("#drawing .stage", "aria-label")


def test_what_a_changed_box_makes_old(tab: Any, tmp_path: Path) -> None:
    load(tab, picture(tmp_path / "scan.png", 100, 150))
    assert "No mask yet: draw a box and press 'Segment'." in tab.inner_text("#card")
    type_box(tab, [40, 30, 110, 70])
    choose(tab, "polar")
    tab.click("#predict")
    expect_mask(tab)
    assert not tab.is_visible("#note")

    def expect_old(text: str) -> None:
        tab.wait_for_function("text => document.querySelector('#note').textContent.trim() === text", arg=text)

    tab.evaluate("window.scrollTo(0, 0)")
    tab.click("#drawing button[data-tool=box]")
    at = shown(tab)
    drag(tab, (at["x"] + 20, at["y"] + 20), (at["x"] + 350, at["y"] + 300))
    expect_old("Outdated: made with another box. Press 'Segment'.")
    assert tab.is_visible("#note")
    tab.click("#predict")
    expect_old("")
    tab.fill("#x1 input", "90")
    expect_old("Outdated: made with another box. Press 'Segment'.")


def test_a_second_window_says_that_it_waits(
    served: Served, browser: Any, tab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = threading.Event(), threading.Event()
    service = served.choices.first.service
    segment = service.segment

    def slow(*values: Any) -> Any:
        began.set()
        assert go_on.wait(120)
        return segment(*values)

    monkeypatch.setattr(service, "segment", slow)
    other = opened(browser, served.address)
    for each in (tab, other):
        load(each, picture(tmp_path / "scan.png", 100, 150))
        type_box(each, [40, 30, 110, 70])
        choose(each, "polar")
    tab.click("#predict")
    assert began.wait(60)
    expect_status(tab, "Segmenting with polar")
    other.click("#predict")
    expect_status(other, "Another window is computing. Yours is next")
    other.click("text=Watch the agents")
    other.click("#cut")  # waits as well, and does not keep the page from answering
    load(other, picture(tmp_path / "next.png", 120, 90))
    other.wait_for_function("document.querySelector('#status').innerText.trim() === ''")
    go_on.set()
    expect_mask(tab)
    type_box(other, [20, 30, 60, 80])
    other.click("#predict")
    expect_mask(other)
    assert set(taken(other, tmp_path / "taken")) == {
        "coco.json",
        *(f"next_{end}" for end in ("mask.png", "overlay.png", "mask.nii.gz")),
    }


def test_refusals_are_short_and_in_nobodys_way(tab: Any, tmp_path: Path) -> None:
    image = np.full((30, 50), 90, np.uint8)
    colour = np.repeat(image[..., None], 3, axis=2)
    colour[..., 0] = 10
    faults = {
        "colour.png": cv2.imencode(".png", colour)[1].tobytes(),
        "deep.png": cv2.imencode(".png", image.astype(np.uint16) * 256)[1].tobytes(),
        "text.png": b"hello",
        "empty": b"",
    }
    for name, data in faults.items():
        (tmp_path / name).write_bytes(data)
        upload(tab, "#open", tmp_path / name)
        told = expect_status(tab, f"{name}: ")
        assert len(told) < 250
        assert not {"Image.open", "astype", "numpy", "Pillow", "(x"} & {
            word for word in ("Image.open", "astype", "numpy", "Pillow", "(x") if word in told
        }
    tab.click("text=Watch the agents")
    for _ in range(5):
        tab.click("#predict")
        tab.click("#watch")
    expect_status(tab, "There is no picture yet")
    assert tab.locator(".toast-wrap > *, .toast-body").count() == 0
    status = tab.locator("#status").bounding_box()
    for button in tab.locator("button:visible").all():
        at = button.bounding_box()
        apart = (
            at["x"] + at["width"] <= status["x"]
            or status["x"] + status["width"] <= at["x"]
            or at["y"] + at["height"] <= status["y"]
            or status["y"] + status["height"] <= at["y"]
        )
        assert apart, button.inner_text()


def test_without_a_mouse(tab: Any, tmp_path: Path) -> None:
    """Tab goes through everything, leaves nothing open, shows where it is; all of it has a name."""
    load(tab, picture(tmp_path / "scan.png", 100, 150))
    type_box(tab, [40, 30, 110, 70])
    choose(tab, "polar")
    tab.click("#predict")
    expect_mask(tab)
    tab.focus("#method input[value=polar]")
    tab.keyboard.press("ArrowDown")
    tab.wait_for_function("document.activeElement.value === 'grabcut-fair' && document.activeElement.checked")
    tab.keyboard.press("Tab")
    assert not tab.evaluate("document.querySelector('#method').contains(document.activeElement)")
    assert tab.locator("[role=listbox]:visible, [role=option]:visible").count() == 0
    tab.check("#other input[value=otsu]")
    tab.wait_for_function("!document.querySelector('#method input:checked')")
    choose(tab, "polar")
    tab.wait_for_function("!document.querySelector('#other input:checked')")
    for selected in ("Picture", "Superpixels", "Agents", "Erased"):
        tab.click(f"role=tab[name={selected}]")
        nameless = tab.evaluate(
            """() => {
              const seen = each => each.checkVisibility({visibilityProperty: true}) && each.getClientRects().length;
              const named = each => each.getAttribute('aria-label') || each.title || each.innerText?.trim()
                || [...(each.labels || [])].some(label => label.innerText.trim())
                || each.closest('label')?.innerText.trim() || each.querySelector('img')?.alt;
              const parts = [...document.querySelectorAll('input, button, textarea, select, [tabindex="0"]')];
              const pictures = [...document.querySelectorAll('img')].filter(each => seen(each) && !each.alt);
              return [...parts.filter(each => seen(each) && each.type !== 'file' && !named(each)), ...pictures]
                .map(each => each.outerHTML.slice(0, 200));
            }"""
        )
        assert nameless == []
    tab.click("role=tab[name=Picture]")
    tab.evaluate("document.activeElement.blur()")
    reached = set()
    tab.click("text=Watch the agents")
    tab.evaluate("document.activeElement.blur()")
    for _ in range(60):
        tab.keyboard.press("Tab")
        part, lined = tab.evaluate(
            """() => {
              const lined = each => {
                const style = getComputedStyle(each);
                return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0;
              };
              const parts = [];
              let each = document.activeElement;
              for (; each && each !== document.body; each = each.parentElement) parts.push(each);
              return [parts.map(each => each.id), parts.length === 0 || parts.some(lined)];
            }"""
        )
        assert lined, part
        reached |= set(part)
    controls = {"open", "folder", "phantom", "predict", "save", "compare", "clear", "weights", "method", "margin"}
    assert {"drawing", *CORNERS, *controls, "cut", "watch"} <= reached


def test_a_film(tab: Any, tmp_path: Path) -> None:
    levels = np.random.default_rng(3).integers(0, 256, (2, 60, 90), np.uint8)
    first, second = map(Image.fromarray, levels)
    first.save(tmp_path / "film.tif", save_all=True, append_images=[second])
    load(tab, tmp_path / "film.tif")
    tab.wait_for_selector("#frame input[type=number]")
    before = tab.get_attribute("#drawing .photo", "src")
    tab.fill("#frame input[type=number]", "1")
    tab.wait_for_function(
        "before => document.querySelector('#drawing .photo').getAttribute('src') !== before", arg=before
    )
    type_box(tab, [10, 10, 60, 50])
    choose(tab, "box")
    tab.click("#predict")
    expect_mask(tab)
    assert "film-frame1_mask.png" in taken(tab, tmp_path / "taken")
    truth = np.zeros((60, 90), np.uint8)
    truth[10:50, 10:60] = 255
    Image.fromarray(truth).save(tmp_path / "truth.png")
    upload(tab, "#compare", tmp_path / "truth.png")
    tab.wait_for_selector("#card table")
    assert tab.inner_text("#card table").split("box")[1].split()[0] == "1.000"


def test_what_was_taken_is_segmented_again(tab: Any, tmp_path: Path) -> None:
    load(tab, picture(tmp_path / "1.2.840.7.png", 100, 150))
    type_box(tab, [40, 30, 110, 70])
    choose(tab, "polar")
    tab.click("#predict")
    expect_mask(tab)
    files = taken(tab, tmp_path)
    assert {f"1.2.840.7{end}" for end in ("_mask.png", "_overlay.png", "_mask.nii.gz")} < set(files)
    case = open_source(f"coco:{files['coco.json']}").load(0)
    assert case.box == (30, 40, 70, 110)
    np.testing.assert_array_equal(case.image, cv2.imread(str(tmp_path / "1.2.840.7.png"), cv2.IMREAD_GRAYSCALE))
    np.testing.assert_array_equal(case.mask, read_mask(files["1.2.840.7_mask.png"], case.image.shape))


def test_agents_from_superpixels_to_files(tab: Any) -> None:
    pytest.importorskip("torch", reason="the agents need torch")
    pytest.importorskip("monai", reason="the shipped pipeline has networks of MONAI's")
    tab.click("#phantom")
    tab.wait_for_function("document.querySelector('#x1 input').value > 0")
    tab.click("text=Watch the agents")
    tab.click("#cut")
    tab.wait_for_selector("#cells img")
    assert int(tab.inner_text("#count").split()[0]) > 50
    moment = "Number(document.querySelector('#step input[type=number]')?.value)"
    tab.click("#watch")
    tab.wait_for_function(f"{moment} > 3")
    tab.click("#stop")
    stopped = -1
    while (now := tab.evaluate(moment)) != stopped:  # what was under way on a busy machine
        stopped = now
        tab.wait_for_timeout(4000)
    assert stopped < 50, "the walk went on to its end"
    assert tab.inner_text("#status").strip() == ""
    tab.click("#make")
    with tab.expect_download() as loading:
        tab.locator("#gif a").first.evaluate("link => link.click()")
    assert loading.value.path().read_bytes().startswith(b"GIF8")
    choose(tab, "flip")
    tab.click("#predict")
    tab.wait_for_selector("#card table")
    assert float(tab.inner_text("#card table").split("flip")[1].split()[0]) > 0.8
