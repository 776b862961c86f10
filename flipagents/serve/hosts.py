"""Host and origin checks of servers that answer only this machine."""

from __future__ import annotations

from urllib.parse import urlsplit

LOCAL_HOSTS = ("127.0.0.1", "localhost")


def refusal(host: str, origin: str | None) -> str | None:
    """Why a request to a local-only server is refused, from its Host and Origin headers; None if it is accepted.

    Host guards against DNS rebinding, Origin against requests from other sites' pages; non-browsers may omit Origin.
    """
    if _name(f"//{host}") not in LOCAL_HOSTS:
        return f"expected the host {' or '.join(LOCAL_HOSTS)}"
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        return "sent from a page of another origin"
    return None


def _name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:  # unbalanced brackets
        return None
