"""The page of `flip app`: draw a box, watch the agents erase, download the mask. Event wiring and serving."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from inspect import isgeneratorfunction
from pathlib import Path
from typing import Any

from flipagents.machine.ports import check_port
from flipagents.serve.hosts import HERE
from flipagents.serve.page_actions import CORNERS, VIEWS, Actions, Changes
from flipagents.serve.page_guard import Guard, broken, quiet
from flipagents.serve.page_layout import CSS, layout, page_script
from flipagents.serve.page_messages import refused
from flipagents.serve.page_turns import LeftError
from flipagents.serve.service import Desk
from flipenv.errors import FlipError
from flipenv.sources.extras import need

UPLOAD = "64mb"  # largest upload
KEPT = 24 * 3600  # s, after which files and sessions of a running page are dropped
WINDOWS = 64  # most sessions kept, the last used ones


def serve(
    host: str = "127.0.0.1",
    port: int = 7860,
    *,
    weights: Path | None = None,
    device: str = "cpu",
    runtime: str = "auto",
) -> None:
    """Show the page at http://HOST:PORT until Ctrl-C or SIGTERM; call it from the main thread.

    Uploads and results are in a temporary folder that is deleted when the process ends. Raises MissingDependencyError
    without Gradio, ConfigError if it cannot listen there.
    """
    check_port(host, port)
    # By default SIGTERM, which service managers send, would leave patients' images behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="flip-app-") as folder, suppress(KeyboardInterrupt):
        page = build(Desk(weights, device, runtime), Path(folder))
        print(f"{launch(page, host, port)} (Ctrl-C to stop)", flush=True)
        page.block_thread()


def launch(page: Any, host: str, port: int) -> str:
    """Serve a page made by `build` in a thread, and return its address; makes no outside connections."""
    gr = _gradio()
    middleware = need("starlette.middleware", extra="app", purpose="serving the page")
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        max_file_size=UPLOAD,
        allowed_paths=[],
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=False,
        footer_links=[],
        app_kwargs={"middleware": [middleware.Middleware(Guard, alone=host in HERE)]},
        state_session_capacity=WINDOWS,
        theme=gr.themes.Base(primary_hue="emerald", neutral_hue="slate", radius_size="md", **fonts),
        css=CSS,
        head=page_script(),
    )
    return str(address)


def build(work: Desk, folder: Path) -> Any:
    """The page, a gradio.Blocks, not yet served; all its files go to `folder`.

    Raises MissingDependencyError without Gradio.
    """
    gr = _gradio()
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    with quiet(gr.Blocks)(title="Flip Learning", analytics_enabled=False, delete_cache=(KEPT, KEPT)) as page:
        _connect(gr, layout(gr, KEPT), Actions(work, folder))

        def forget(request: Any) -> None:
            # By default Gradio keeps the session of a closed window for an hour.
            page.state_holder.session_data.pop(request.session_hash, None)
            page.state_holder.time_last_used.pop(request.session_hash, None)

        forget.__annotations__["request"] = gr.Request  # tells Gradio to inject it
        page.unload(forget)
    return page


def _connect(gr: Any, parts: dict[str, Any], actions: Actions) -> None:
    """Connect each part to its action."""

    def on(
        event: Any,
        action: Callable[..., Any],
        inputs: Sequence[str],
        outputs: Sequence[str],
        answers: bool = True,
        **options: Any,
    ) -> Any:
        # answers: whether somebody asked for it, so that it says whether it was done
        def shown(changes: Changes) -> Any:
            return {
                parts[name]: value if name == "session" else gr.update(**value) for name, value in changes.items()
            } or gr.skip()

        def failed(error: Exception) -> Any:
            if not isinstance(error, FlipError):
                broken()
                error = FlipError("something went wrong; see the terminal that runs the page")
            return shown({"status": {"value": refused(error)}})

        def once(*values: Any) -> Any:
            try:
                return shown({"status": {"value": ""}, **action(*values)} if answers else action(*values))
            except Exception as error:
                return failed(error)

        def one_by_one(*values: Any) -> Iterator[Any]:
            try:
                yield from map(shown, action(*values))
            except LeftError:
                yield gr.skip()  # Gradio shows what comes last once more
            except Exception as error:
                yield failed(error)

        return event(
            one_by_one if isgeneratorfunction(action) else once,
            [parts[name] for name in inputs],
            [parts[name] for name in (*outputs, "status")],
            api_visibility="private",
            show_progress="hidden",  # the status says it, and Gradio calls a walk that was stopped an error
            **options,
        )

    corners, choice = list(CORNERS), ["method", "other", "margin"]
    picture = [
        "session",
        "drawing",
        "frame",
        "film",
        "gif",
        "step",
        "cells",
        "count",
        "curve",
        "files",
        "table",
        "tabs",
    ]
    picture += [*corners, *VIEWS, "views", "walk", "note", "old"]
    made = ["session", *VIEWS, "views", "walk", "curve", "files", "table", "tabs"]
    # They queue by themselves, with a message.
    heavy: dict[str, Any] = {"concurrency_limit": WINDOWS, "concurrency_id": "networks"}
    again: dict[str, Any] = {"trigger_mode": "always_last"}

    walk = on(
        parts["watch"].click,
        actions.watch,
        ["session", "margin", *corners],
        ["session", "film", "gif", "step", "tabs"],
        **heavy,
    )
    predict = on(parts["predict"].click, actions.segment, ["session", *choice, *corners], made, **heavy)
    cut = on(parts["cut"].click, actions.superpixels, ["session", *corners], ["cells", "count", "tabs"], **heavy)
    # Otherwise results for one picture could be shown beside the next.
    ends: dict[str, Any] = {"cancels": [walk, predict, cut]}
    on(parts["open"].upload, actions.open, ["session", "open"], picture, **ends)
    on(parts["phantom"].click, actions.phantom, ["session"], picture, **ends)
    on(parts["frame"].input, actions.frame, ["session", "frame"], picture, **ends, **again)
    on(parts["compare"].upload, actions.truth, ["session", "compare"], ["session", "table", *VIEWS], cancels=[walk])
    on(parts["stop"].click, actions.stopped, [], [], cancels=[walk])

    on(parts["drawing"].drawn, actions.drawn, ["session", "drawing"], ["drawing", *corners], trigger_mode="multiple")
    marks: dict[str, Any] = {"inputs": ["session", *choice, *corners], "outputs": ["note", "old"], "answers": False}
    for name in CORNERS:
        on(parts[name].input, actions.typing, ["session", "drawing", *corners], ["drawing"], answers=False, **again)
        for event in (parts[name].submit, parts[name].blur):
            on(event, actions.typed, ["session", "drawing", *corners], ["drawing"])
    for name in (*CORNERS, "margin", "method", "other"):
        on(parts[name].change, actions.changed, **marks, **again)
    on(predict.then, actions.changed, **marks)
    for name, rival in (("method", "other"), ("other", "method")):
        parts[name].input(lambda: None, None, parts[rival], api_visibility="private", show_progress="hidden")

    on(parts["step"].input, actions.step, ["session", "step"], ["film"], **again)
    on(parts["make"].click, actions.gif, ["session"], ["film", "gif"])


def _gradio() -> Any:
    # Read at import: disables Gradio's telemetry.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    return need("gradio", extra="app", purpose="the page of `flip app`")
