"""The page as a browser has it: headless Chromium, where it and the extra `app` are there; nothing is downloaded."""

from __future__ import annotations

import shutil
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flipagents.desk import Desk

pytest.importorskip("gradio", reason="the page needs the extra app")
pytest.importorskip("gradio_image_annotation", reason="the page needs the extra app")

WAIT = 120_000  # ms; a busy machine takes its time to draw the page


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from flipagents.app import build, launch

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    page = build(Desk(), tmp_path_factory.mktemp("page"))
    yield launch(page, "127.0.0.1", port)
    page.close()


@pytest.fixture
def tab(address: str) -> Iterator[Any]:
    """An open page; it must not ask anything of any other address."""
    api = pytest.importorskip("playwright.sync_api", reason="nothing here drives a browser")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on the path")
    asked: list[str] = []
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1360, "height": 900})
        tab.set_default_timeout(WAIT)
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(address)
        tab.wait_for_selector("#predict")
        yield tab
        browser.close()
    assert asked
    assert not [url for url in asked if not url.startswith((address, "data:", "blob:"))]


def test_a_phantom_from_box_to_dice(tab: Any) -> None:
    tab.click("#predict")
    tab.wait_for_selector("text=there is no picture yet")
    tab.click("#phantom")
    tab.wait_for_function("document.querySelector('#x1 input').value > 0")
    tab.fill("#x1 input", "9999")
    tab.press("#x1 input", "Enter")
    tab.wait_for_selector("text=reaches outside its image")
    tab.click("#drawing button[title*=Create]")
    canvas = tab.locator("#drawing canvas").bounding_box()
    left, top = canvas["x"] + canvas["width"] / 4, canvas["y"] + canvas["height"] / 4
    tab.mouse.move(left, top)
    tab.mouse.down()
    tab.mouse.move(left + canvas["width"] / 3, top + canvas["height"] / 3, steps=5)
    tab.mouse.up()
    tab.wait_for_function("document.querySelector('#x1 input').value < 448")
    numbers = [float(tab.input_value(f"#{name} input")) for name in ("x0", "y0", "x1", "y1")]
    assert numbers[2] - numbers[0] == pytest.approx(448 / 3, rel=0.1)
    assert numbers[3] - numbers[1] == pytest.approx(320 / 3, rel=0.1)
    tab.click("#method input")
    tab.click("role=option[name=polar]")
    tab.click("#predict")
    tab.wait_for_selector("#table table")
    told = tab.inner_text("#table")
    assert told.split()[:5] == ["Dice", "HD,", "px", "ASD,", "px"]
    assert 0.1 < float(told.split("polar")[1].split()[0]) < 1
    tab.wait_for_selector("#mask img")
    assert tab.locator("#files a").count() == 4


def test_files_of_the_machine_stay_there(address: str, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("mine")
    for path in (tmp_path / "secret.txt", Path(__file__), Path("setup.cfg").absolute()):
        for route in ("gradio_api/file=", "file=", "file/"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"{address}{route}{path}")
            assert refused.value.code in (403, 404)


def test_nothing_is_told_to_anybody(address: str) -> None:
    import os

    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert address.startswith("http://127.0.0.1:")
    page = urllib.request.urlopen(address).read().decode()
    assert "fonts.googleapis" not in page
    assert '"analytics_enabled":false' in page.replace(" ", "")
