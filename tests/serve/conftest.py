"""The page in headless Chromium, and napari in a window, where they are there; nothing is downloaded."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from flipagents.serve.page_weights import Choices
from tests.serve.browsing import WAIT, Served, opened

LOCAL = "http://127.0.0.1:"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    pytest.importorskip("gradio", reason="the page needs the extra app")
    from flipagents.serve.page import build, launch

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    choices = Choices()
    page = build(choices, tmp_path_factory.mktemp("page"))
    yield Served(page, choices, launch(page, "127.0.0.1", port))
    page.close()


@pytest.fixture
def address(served: Served) -> str:
    return served.address


@pytest.fixture
def browser() -> Iterator[Any]:
    """A browser; its pages must not ask anything of any other machine."""
    api = pytest.importorskip("playwright.sync_api", reason="nothing here drives a browser")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on the path")
    asked: list[str] = []
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1360, "height": 900})
        context.set_default_timeout(WAIT)
        context.on("request", lambda request: asked.append(request.url))
        yield context
        browser.close()
    assert asked
    assert not [url for url in asked if not url.startswith((LOCAL, "data:", "blob:"))]


@pytest.fixture
def tab(browser: Any, address: str) -> Any:
    """An open page."""
    return opened(browser, address)


@pytest.fixture
def napari_window(request: pytest.FixtureRequest) -> Any:
    """A napari viewer in a real window."""
    pytest.importorskip("pytestqt", reason="pytest-qt is not installed")
    pytest.importorskip("qtpy.QtWidgets", reason="no Qt is installed", exc_type=Exception)
    if not os.environ.get("DISPLAY"):
        pytest.skip("no display; run under xvfb-run (QT_QPA_PLATFORM=offscreen has no OpenGL)")
    return request.getfixturevalue("make_napari_viewer")(show=True)
