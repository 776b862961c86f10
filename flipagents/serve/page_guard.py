"""Requests that the page refuses, logged in one line each, never as a traceback."""

from __future__ import annotations

import sys
import traceback
from typing import Any

from flipagents.serve.hosts import foreign


class Guard:
    """ASGI middleware: refuses other hosts and origins with 400, and what Gradio cannot make anything of.

    alone: whether only this machine is served; otherwise every host and origin is accepted.
    """

    def __init__(self, app: Any, *, alone: bool) -> None:
        self.app, self.alone = app, alone

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Refuse the request, or pass it to the page."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        reason = foreign(headers.get("host", ""), headers.get("origin")) if self.alone else None
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
                await _answer(send, "this is no call of the page")


def quiet(blocks: type) -> type:
    """A subclass of gradio.Blocks that logs calls refused by Gradio in one line: files never uploaded, ..."""
    import gradio as gr  # noqa: PLC0415 - optional, and slow to import

    class Page(blocks):  # type: ignore[misc]
        async def process_api(self, *values: Any, **options: Any) -> Any:
            try:
                return await super().process_api(*values, **options)
            except gr.Error as error:
                error.print_exception = False
                raise
            # The actions of the page keep their own errors, so this is about what was sent.
            except Exception as error:
                log("call", 400, type(error).__name__)
                raise gr.Error("Not done: this is no call of the page.", print_exception=False) from None

    return Page


def broken() -> None:
    """Print the traceback of an internal error; call it in the except block."""
    traceback.print_exc()


def log(what: str, status: int, reason: str) -> None:
    """Log a refused call in one line, without paths and contents, which are private."""
    print(f"{what}: {status} {reason}", file=sys.stderr, flush=True)


async def _answer(send: Any, reason: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": reason.encode()})
