"""Take the screenshots of docs/app.md in headless Chromium: python docs/images/app.py

Needs the extra `app`, Playwright, and chromium on the path.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright
from saving import save

from flipagents.serve.page import build, launch
from flipagents.serve.page_weights import Choices

HERE = Path(__file__).parent
SIZE = {"width": 1360, "height": 860}
TIMEOUT = 300_000  # ms
PORT = 7861
CLICK = 0.121, 0.239  # share of width and height of the image, in the mask but outside the nodule
SETTLE = 1500  # ms until images are drawn and buttons have faded


def main() -> None:
    """Write the screenshots beside this file."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        page = build(Choices(), Path(folder))
        address = launch(page, "127.0.0.1", PORT)
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport=SIZE)
        tab.set_default_timeout(TIMEOUT)
        tab.goto(address)
        tab.click("#phantom")
        tab.wait_for_function("document.querySelector('#x1 input').value > 0")
        tab.click("#predict")
        tab.wait_for_selector("#card table")
        at = tab.locator("#drawing .stage").bounding_box()
        x, y = at["x"] + CLICK[0] * at["width"], at["y"] + CLICK[1] * at["height"]
        tab.mouse.click(x, y, button="right")
        tab.wait_for_function("document.querySelector('#card').innerText.includes('1 correction')")
        keep(tab, "app-mask")
        tab.click("text=Watch the agents")
        tab.click("#watch")
        tab.wait_for_function("document.querySelector('#step input[type=number]')?.value >= 45")
        tab.click("#stop")
        keep(tab, "app-walk")
        browser.close()
        page.close()


def keep(tab: Any, name: str) -> None:
    """Save a screenshot of the tab."""
    tab.mouse.move(0, 0)
    tab.wait_for_timeout(SETTLE)
    save(Image.open(io.BytesIO(tab.screenshot())), HERE / f"{name}.png")


if __name__ == "__main__":
    main()
