"""`flip app` and `flip serve`: the servers."""

from __future__ import annotations

import argparse
import sys

# What a command needs is imported where it runs: `flip --help` must not wait for torch, nor for OpenCV.
# ruff: noqa: PLC0415

LOCAL = ("127.0.0.1", "localhost", "::1")  # hosts reachable only from this machine


def app(options: argparse.Namespace) -> int:
    """Open the page for drawing boxes and mending masks in the browser; Ctrl-C stops it."""
    device = _listening(options, "use this page and see images loaded into it")
    from flipagents.serve.page import serve

    weights, runtime = options.weights, options.runtime
    serve(options.host, options.port, weights=weights, device=device, runtime=runtime, mend=options.mend)
    return 0


def serve(options: argparse.Namespace) -> int:
    """Serve Label Studio, which sends an image and a box and gets a brush mask; Ctrl-C stops it."""
    device = _listening(options, "send requests, and segment the images below --media-root")
    from flipagents.compare.methods import default_method
    from flipagents.serve import http as server
    from flipagents.serve.label_studio import Backend
    from flipagents.serve.service import SegmentationService

    method = options.method or default_method(options.weights)
    service = SegmentationService(options.weights, device, options.runtime)
    server.serve(Backend(service, options.media_root, method, options.margin), options.host, options.port)
    return 0


def _listening(options: argparse.Namespace, can: str) -> str:
    """Check what a server needs before anything slow is imported; return its device.

    can: what others on the network can do, printed to stderr if the host is reachable from other machines.
    """
    from flipagents.machine.devices import check_device
    from flipagents.machine.ports import check_port

    device = check_device(options.device, runtime=options.runtime)
    check_port(options.host, options.port)
    if options.host not in LOCAL:
        who = f"flip {options.command}: {options.host} lets others on the network"
        print(f"{who} {can}; there is no password", file=sys.stderr)
    return device
