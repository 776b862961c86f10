"""Whom a server that is meant for this machine alone answers."""

from __future__ import annotations

from urllib.parse import urlsplit

HERE = ("127.0.0.1", "localhost")


def foreign(host: str, origin: str | None) -> str | None:
    """Why a request to this machine alone is refused, by its headers Host and Origin; None for one of its own.

    A web site may give its own name this machine's address, and a browser tells in Host. It may also send from its own
    pages to this machine, and a browser tells in Origin; programs that are no browsers need not have one.
    """
    if _name(f"//{host}") not in HERE:
        return f"expected the host {' or '.join(HERE)}"
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        return "sent from a page of another origin"
    return None


def _name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:  # brackets that do not close
        return None
