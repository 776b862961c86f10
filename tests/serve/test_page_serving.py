"""The page as a server: what it forgets, what it refuses, and the command."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.serve.browsing import (
    Served,
    opened,
)

pytest.importorskip("gradio", reason="the page needs the extra app")


def test_a_window_that_is_closed_is_forgotten(served: Served, browser: Any) -> None:
    """What was made in it is gone with it, so that a page that runs for days does not grow."""
    before = set(served.page.state_holder.session_data)
    tabs = [opened(browser, served.address) for _ in range(3)]
    for tab in tabs:
        tab.click("#phantom")
        tab.wait_for_function("document.querySelector('#x1 input').value > 0")
    assert len(set(served.page.state_holder.session_data) - before) == 3
    for tab in tabs:
        tab.close()
    deadline = time.monotonic() + 60
    while set(served.page.state_holder.session_data) - before and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not set(served.page.state_holder.session_data) - before


def test_files_of_the_machine_stay_there(address: str, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("mine")
    for path in (tmp_path / "secret.txt", Path(__file__), Path("setup.cfg").absolute()):
        for route in ("gradio_api/file=", "file=", "file/"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"{address}{route}{path}")
            assert refused.value.code in (403, 404)


def test_a_path_in_place_of_an_upload(address: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What speaks to the page without being a browser may name files of the disk; none is read, and a line says so."""
    cv2.imwrite(str(tmp_path / "scan.png"), np.full((30, 50), 90, np.uint8))
    config = json.loads(urllib.request.urlopen(f"{address}config").read())
    opens, drawn = (
        next(each for each in config["dependencies"] if [part, event] in each["targets"])
        for part, event in ((_part(config, "open"), "upload"), (_part(config, "drawing"), "drawn"))
    )
    bare = {"path": str(tmp_path / "scan.png"), "orig_name": "scan.png"}
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        other.setblocking(False)
        full = {**bare, "meta": {"_type": "gradio.FileData"}}
        inner = {**full, "path": f"http://127.0.0.1:{other.getsockname()[1]}/scan.png"}
        for file in (bare, full, inner):
            drawing = {"image": file, "box": [1, 2, 3, 4], "turn": 1}
            for action, given in ((opens, [None, [file]]), (drawn, [None, drawing])):
                answer = _ask(address, action["id"], given)
                assert answer["success"] is False or action is drawn, (action["id"], file)
                assert str(tmp_path) not in json.dumps(answer)
        with pytest.raises(BlockingIOError):
            other.accept()
    sent = {**full, "path": _upload(address, tmp_path / "scan.png")}
    assert _ask(address, opens["id"], [None, [sent]])["success"] is True
    logged = "".join(capfd.readouterr())
    assert "Traceback" not in logged
    assert str(tmp_path) not in logged
    assert 3 <= len(logged.splitlines()) <= 6


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


def test_only_its_own_pages_are_answered(address: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A web site that gives its own name this machine's address reads nothing, and its pages send nothing here."""
    own = address.removeprefix("http://").rstrip("/")
    port = own.partition(":")[2]
    for host, origin, code in (
        (own, None, 200),
        (f"localhost:{port}", None, 200),
        ("example.org:7860", None, 400),
        (f"example.org:{port}", f"http://example.org:{port}", 400),
        ("[", None, 400),
        (own, f"http://{own}", 200),
        (own, "http://example.org", 400),
        (own, "https://127.0.0.1.example.org", 400),
        (own, "http://localhost:1", 400),
        (own, "null", 400),
        (own, "", 400),
    ):
        capfd.readouterr()
        headers = {"Host": host} | ({} if origin is None else {"Origin": origin})
        for route in ("", "config", "gradio_api/upload"):
            body = b"x" if route.endswith("upload") else None
            try:
                answer = urllib.request.urlopen(urllib.request.Request(address + route, body, headers)).status
            except urllib.error.HTTPError as error:
                answer = error.code
            if body is None or code == 400:
                assert answer == code, (host, origin, route)
        logged = "".join(capfd.readouterr()).splitlines()
        assert len(logged) == (3 if code == 400 else 1), logged


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("gradio_api/queue/join", b"no json"),
        ("gradio_api/queue/join", b"{}"),
        ("gradio_api/queue/join", b'{"fn_index": 999, "data": [], "session_hash": "x"}'),
        ("gradio_api/queue/join", b'{"fn_index": "a", "data": 5, "session_hash": []}'),
        ("gradio_api/upload", b"no form"),
        ("gradio_api/run/predict", b'{"data": []}'),
        ("gradio_api/component_server", b'{"component_id": 3, "fn_name": "x", "data": 1, "session_hash": "x"}'),
    ],
)
def test_a_refused_call_leaves_one_line(
    address: str, route: str, body: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    sent = urllib.request.Request(f"{address}{route}", body, {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(sent)
    assert 400 <= refused.value.code < 500
    logged = "".join(capfd.readouterr())
    assert "Traceback" not in logged
    assert len(logged.splitlines()) == (0 if refused.value.code == 404 else 1)


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
