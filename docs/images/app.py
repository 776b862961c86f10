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
from flipagents.serve.service import SegmentationService

HERE = Path(__file__).parent
SIZE = {"width": 1360, "height": 860}
TIMEOUT = 300_000  # ms
PORT = 7861
SETTLE = 1500  # ms until images are drawn and buttons have faded


def main() -> None:
    """Write the screenshots beside this file."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        page = build(SegmentationService(), Path(folder))
        address = launch(page, "127.0.0.1", PORT)
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport=SIZE)
        tab.set_default_timeout(TIMEOUT)
        tab.goto(address)
        tab.click("#phantom")
        tab.wait_for_function("document.querySelector('#x1 input').value > 0")
        keep(tab, "app-box")
        tab.click("#watch")
        tab.wait_for_function("document.querySelector('#step input[type=number]')?.value >= 45")
        tab.click("#stop")
        keep(tab, "app-walk")
        tab.click("#predict")
        tab.wait_for_selector("#table table")
        keep(tab, "app-mask", whole=True)
        browser.close()
        page.close()


def keep(tab: Any, name: str, *, whole: bool = False) -> None:
    """Save a screenshot of the tab; whole: of the full page."""
    tab.mouse.move(0, 0)
    tab.wait_for_timeout(SETTLE)
    save(Image.open(io.BytesIO(tab.screenshot(full_page=whole))), HERE / f"{name}.png")


if __name__ == "__main__":
    main()
