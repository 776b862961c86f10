"""Refused requests of the page, logged in one line, without a traceback."""

from __future__ import annotations

import sys
import traceback
from typing import Any

from flipagents.serve.hosts import refusal


class Guard:
    """ASGI middleware: answers 400 to other hosts and origins, and to requests Gradio fails on.

    local_only: serve only this machine; otherwise every host and origin is accepted.
    """

    def __init__(self, app: Any, *, local_only: bool) -> None:
        self.app, self.local_only = app, local_only

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Refuse the request, or pass it to the page."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        reason = refusal(headers.get("host", ""), headers.get("origin")) if self.local_only else None
        if reason is not None:
            log(scope["method"], 400, reason)
            await _answer(send, reason)
            return
        begun = False

        async def seen(message: Any) -> None:
            nonlocal begun
            begun = True
            if message["type"] == "http.response.start" and message["status"] >= 400 and message["status"] != 404:
                log(scope["method"], message["status"], "refused")
            await send(message)

        try:
            await self.app(scope, receive, seen)
        except Exception as error:
            log(scope["method"], 400, type(error).__name__)
            if not begun:
                await _answer(send, "not a valid request of the page")


def brief_errors(blocks: type) -> type:
    """A subclass of gradio.Blocks that logs calls rejected by Gradio in one line."""
    import gradio as gr  # noqa: PLC0415 - optional, and slow to import

    class Page(blocks):  # type: ignore[misc]
        async def process_api(self, *values: Any, **options: Any) -> Any:
            try:
                return await super().process_api(*values, **options)
            except gr.Error as error:
                error.print_exception = False
                raise
            # Actions handle their own errors, so the request is invalid.
            except Exception as error:
                log("call", 400, type(error).__name__)
                raise gr.Error("Not a valid request of the page.", print_exception=False) from None

    return Page


def print_traceback() -> None:
    """Print the traceback of an internal error; call it in the except block."""
    traceback.print_exc()


def log(what: str, status: int, reason: str) -> None:
    """Log a refused call in one line, without paths or contents, which are private."""
    print(f"{what}: {status} {reason}", file=sys.stderr, flush=True)


async def _answer(send: Any, reason: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": reason.encode()})
