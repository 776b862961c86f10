"""`flip app` and `flip serve`: what listens on a port."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

# What a command needs is imported where it runs: `flip --help` must not wait for torch, nor for OpenCV.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    pass

LOCAL = ("127.0.0.1", "localhost", "::1")  # hosts that this machine alone reaches


def app(options: argparse.Namespace) -> int:
    """Open a page in the browser where a box is drawn and the agents are watched; Ctrl-C ends it."""
    device = _listening(options, "use this page and see what is loaded into it")
    from flipagents.serve.page import serve

    serve(options.host, options.port, weights=options.weights, device=device, runtime=options.runtime)
    return 0


def serve(options: argparse.Namespace) -> int:
    """Answer Label Studio, which sends an image and a box and gets a brush mask; Ctrl-C ends it."""
    device = _listening(options, "send requests, and segment the images below --media-root")
    from flipagents.serve import http as server
    from flipagents.serve.label_studio import Backend
    from flipagents.serve.service import Desk

    desk = Desk(options.weights, device, options.runtime)
    server.serve(Backend(desk, options.media_root, options.method, options.margin), options.host, options.port)
    return 0


def _listening(options: argparse.Namespace, can: str) -> str:
    """Check what a server needs before anything slow is imported; return its device.

    can: what others on the network can do, said on stderr where more than this machine reaches the host.
    """
    from flipagents.machine.devices import check_device
    from flipagents.machine.ports import check_port

    device = check_device(options.device, runtime=options.runtime)
    check_port(options.host, options.port)
    if options.host not in LOCAL:
        who = f"flip {options.command}: {options.host} lets others on the network"
        print(f"{who} {can}; there is no password", file=sys.stderr)
    return device
