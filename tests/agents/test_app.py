"""The page as a browser has it: headless Chromium, where it and the extra `app` are there; nothing is downloaded."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

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
    tab.wait_for_timeout(3000)  # until the drawing has told its box, too
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
    for low, high, side in (("x0", "x1", 448), ("y0", "y1", 320)):  # a third of each side; one tells while it grows
        length = " - ".join(f"Number(document.querySelector('#{name} input').value)" for name in (high, low))
        tab.wait_for_function(f"Math.abs({length} - {side / 3}) < {side / 30}")
    tab.click("#method input")
    tab.click("role=option[name=polar]")
    tab.click("#predict")
    tab.wait_for_selector("#table table")
    told = tab.inner_text("#table")
    assert told.split()[:5] == ["Dice", "HD,", "px", "ASD,", "px"]
    assert 0.1 < float(told.split("polar")[1].split()[0]) < 1
    tab.wait_for_selector("#mask img")
    assert tab.locator("#files a").count() == 4


def test_a_film(tab: Any, tmp_path: Path) -> None:
    first, second = (Image.fromarray(np.full((60, 90), grey, np.uint8)) for grey in (90, 40))
    first.save(tmp_path / "film.tif", save_all=True, append_images=[second])
    with tab.expect_file_chooser() as chosen:
        tab.click("#open")
    chosen.value.set_files(tmp_path / "film.tif")
    tab.wait_for_selector("#frame input[type=number]")
    tab.fill("#frame input[type=number]", "1")
    tab.wait_for_timeout(3000)  # until the frame is there, and the drawing has told that it has no box
    for name, corner in (("x0", 10), ("y0", 10), ("x1", 60), ("y1", 50)):
        tab.fill(f"#{name} input", str(corner))
    tab.press("#y1 input", "Enter")
    tab.click("#method input")
    tab.click("role=option[name=box]")
    tab.click("#predict")
    tab.wait_for_selector("#files >> text=film-frame1_mask")
    truth = np.zeros((60, 90), np.uint8)
    truth[10:50, 10:60] = 255
    Image.fromarray(truth).save(tmp_path / "truth.png")
    with tab.expect_file_chooser() as chosen:
        tab.click("#compare")
    chosen.value.set_files(tmp_path / "truth.png")
    tab.wait_for_selector("#table table")
    assert tab.inner_text("#table").split("box")[1].split()[0] == "1.000"


def test_agents_from_superpixels_to_files(tab: Any) -> None:
    pytest.importorskip("torch", reason="the agents need torch")
    pytest.importorskip("monai", reason="the shipped pipeline has networks of MONAI's")
    tab.click("#phantom")
    tab.wait_for_function("document.querySelector('#x1 input').value > 0")
    tab.click("#cut")
    tab.wait_for_selector("#cells img")
    assert int(tab.inner_text("#count").split()[0]) > 50
    moment = "Number(document.querySelector('#step input[type=number]')?.value)"
    tab.click("#watch")
    tab.wait_for_function(f"{moment} > 3")
    tab.click("#stop")
    tab.wait_for_timeout(2000)
    stopped = tab.evaluate(moment)
    tab.wait_for_timeout(2000)
    assert tab.evaluate(moment) == stopped
    tab.click("#make")
    tab.wait_for_selector("#gif a")
    tab.click("#predict")
    tab.wait_for_selector("#table table")
    tab.wait_for_selector("#curve img")
    assert float(tab.inner_text("#table").split("flip")[1].split()[0]) > 0.8
    starts = {
        "gif": b"GIF8",
        "_overlay.png": b"\x89PNG",
        "_mask.png": b"\x89PNG",
        ".nii.gz": b"\x1f\x8b",
        ".json": b"{",
    }
    links = tab.locator("#files a, #gif a")
    for index in range(links.count()):
        with tab.expect_download() as loading:
            links.nth(index).evaluate("link => link.click()")
        data = loading.value.path().read_bytes()
        name = next(end for end in starts if loading.value.suggested_filename.endswith(end))
        assert data.startswith(starts.pop(name))
    assert not starts


def test_files_of_the_machine_stay_there(address: str, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("mine")
    for path in (tmp_path / "secret.txt", Path(__file__), Path("setup.cfg").absolute()):
        for route in ("gradio_api/file=", "file=", "file/"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"{address}{route}{path}")
            assert refused.value.code in (403, 404)


def test_a_path_in_place_of_an_upload(address: str, tmp_path: Path) -> None:
    """What speaks to the page without being a browser may name files of the disk; none is read."""
    cv2.imwrite(str(tmp_path / "scan.png"), np.full((30, 50), 90, np.uint8))
    config = json.loads(urllib.request.urlopen(f"{address}config").read())
    opens, typed = (
        next(each for each in config["dependencies"] if [part, event] in each["targets"])
        for part, event in ((_part(config, "open"), "upload"), (_part(config, "drawing"), "change"))
    )
    bare = {"path": str(tmp_path / "scan.png"), "orig_name": "scan.png"}
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        other.setblocking(False)
        full = {**bare, "meta": {"_type": "gradio.FileData"}}
        inner = {**full, "path": f"http://127.0.0.1:{other.getsockname()[1]}/scan.png"}
        for file in (bare, full, inner):
            drawing = {"image": file, "boxes": [], "orientation": 0}
            for action, given in ((opens, [None, file]), (typed, [None, drawing])):
                answer = _ask(address, action["id"], given)
                assert answer["success"] is False, (action["id"], file)
                assert str(tmp_path) not in json.dumps(answer)
        with pytest.raises(BlockingIOError):
            other.accept()
    sent = {**full, "path": _upload(address, tmp_path / "scan.png")}
    assert _ask(address, opens["id"], [None, sent])["success"] is True


def _part(config: dict[str, Any], name: str) -> int:
    return next(int(each["id"]) for each in config["components"] if each["props"].get("elem_id") == name)


def _upload(address: str, path: Path) -> str:
    """Send a file; where the page keeps it."""
    head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{path.name}"\r\n\r\n'
    body = head.encode() + path.read_bytes() + b"\r\n--x--\r\n"
    sent = urllib.request.Request(
        f"{address}gradio_api/upload", body, {"Content-Type": "multipart/form-data; boundary=x"}
    )
    return str(json.loads(urllib.request.urlopen(sent).read())[0])


def _ask(address: str, action: int, data: list[Any]) -> dict[str, Any]:
    """Put an action into the page's queue as its own script does, and wait for what comes of it."""
    body = json.dumps({"data": data, "fn_index": action, "session_hash": "tester"}).encode()
    asked = urllib.request.Request(f"{address}gradio_api/queue/join", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(asked).close()
    with urllib.request.urlopen(f"{address}gradio_api/queue/data?session_hash=tester") as lines:
        told = (json.loads(line[5:]) for line in lines if line.startswith(b"data:"))
        return next(each for each in told if each["msg"] == "process_completed")


def test_only_its_own_names_are_answered(address: str) -> None:
    """A web site that gives its own name this machine's address reads nothing."""
    for name, code in (("localhost", 200), ("127.0.0.1", 200), ("example.org", 400)):
        try:
            answer = urllib.request.urlopen(urllib.request.Request(address, headers={"Host": f"{name}:7860"})).status
        except urllib.error.HTTPError as error:
            answer = error.code
        assert answer == code, name


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_command(tmp_path: Path, end: signal.Signals) -> None:
    """It says where the page is, refuses a port that is taken, and leaves nothing behind."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        words = [sys.executable, "-m", "flipagents", "app", "--port", port]
        refused = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert refused.returncode == 2
    assert refused.stderr.startswith("flip app: ")
    assert port in refused.stderr
    # Where these tests run in the background, Ctrl-C is ignored, and a child would take that over.
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    started = f"{heeding}; from flipagents.cli import main; raise SystemExit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", started, *words[3:]],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as running:
        try:
            assert running.stdout is not None
            assert f"http://127.0.0.1:{port}/" in running.stdout.readline()
            assert list(tmp_path.glob("flip-app-*"))
            running.send_signal(end)
            assert running.wait(60) == 0
        finally:
            running.kill()
    assert not list(tmp_path.glob("flip-app-*"))


def test_nothing_is_told_to_anybody(address: str) -> None:
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert address.startswith("http://127.0.0.1:")
    page = urllib.request.urlopen(address).read().decode()
    assert "fonts.googleapis" not in page
    assert '"analytics_enabled":false' in page.replace(" ", "")
