"""What a server cannot listen on is told at once."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from flipagents.machine.ports import check_port
from flipenv.errors import ConfigError


def test_free_ports_are_left_free() -> None:
    check_port("127.0.0.1", 0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    check_port("127.0.0.1", port)
    check_port("localhost", port)
    with socket.socket() as after:
        after.bind(("127.0.0.1", port))


@pytest.mark.parametrize(
    ("host", "port", "fault"),
    [
        ("127.0.0.1", 80_000, "port 80000 does not exist; expected 1 to 65535"),
        ("127.0.0.1", -1, "port -1 does not exist"),
        ("no such host", 7860, "host 'no such host' is not an address"),
        ("a" * 300, 7860, "is not an address"),
        ("192.0.2.1", 7860, r"cannot listen on 192\.0\.2\.1:7860"),  # of nobody, RFC 5737
    ],
)
def test_what_cannot_be_listened_on(host: str, port: int, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        check_port(host, port)


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} is taken by another program"):
            check_port("127.0.0.1", port)


def test_nothing_heavy_is_imported() -> None:
    asked = (
        "import sys; import flipagents.machine.ports; "
        "print([m for m in ('torch', 'gradio', 'monai') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "[]"
