"""The page of `flip app`: event wiring and serving."""

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
from flipagents.serve.hosts import LOCAL_HOSTS
from flipagents.serve.page_actions import CORNERS, PICTURE, WALK, Actions
from flipagents.serve.page_guard import Guard, brief_errors, print_traceback
from flipagents.serve.page_layout import BEGIN, layout, page_script
from flipagents.serve.page_messages import Changes, refused
from flipagents.serve.page_saving import open_mask
from flipagents.serve.page_style import CSS
from flipagents.serve.page_turns import PictureChangedError
from flipagents.serve.page_weights import Choices
from flipenv.errors import FlipError
from flipenv.sources.extras import need

MAX_UPLOAD = "64mb"  # largest upload
LIFETIME = 24 * 3600  # s, of files and sessions
MAX_SESSIONS = 64  # least recently used ones are dropped


def serve(
    host: str = "127.0.0.1",
    port: int = 7860,
    *,
    weights: Path | None = None,
    device: str = "cpu",
    runtime: str = "auto",
    mend: Path | None = None,
) -> None:
    """Serve the page at http://HOST:PORT until Ctrl-C or SIGTERM; call it from the main thread.

    Uploads and results are in a temporary folder, deleted at the end. mend: a NAME_mask.png of `flip segment`, opened
    to be mended. Raises MissingDependencyError without Gradio, ConfigError if it cannot listen there, and as
    `flipagents.serve.page_saving.open_mask`.
    """
    check_port(host, port)
    if mend is not None:
        open_mask(mend)  # its errors belong on the command line
    # By default, SIGTERM would leave patients' images behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="flip-app-") as folder, suppress(KeyboardInterrupt):
        page = build(Choices(weights, device, runtime), Path(folder), mend)
        print(f"{launch(page, host, port)} (Ctrl-C to stop)", flush=True)
        page.block_thread()


def launch(page: Any, host: str, port: int) -> str:
    """Serve a page of `build` in a thread; return its address. Makes no outside connections."""
    gr = _gradio()
    middleware = need("starlette.middleware", extra="app", purpose="serving the page")
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        max_file_size=MAX_UPLOAD,
        allowed_paths=[],
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=False,
        footer_links=[],
        app_kwargs={"middleware": [middleware.Middleware(Guard, local_only=host in LOCAL_HOSTS)]},
        state_session_capacity=MAX_SESSIONS,
        theme=gr.themes.Base(primary_hue="emerald", neutral_hue="slate", radius_size="md", **fonts),
        css=CSS,
        head=page_script(),
    )
    return str(address)


def build(choices: Choices, folder: Path, mend: Path | None = None) -> Any:
    """The page, a gradio.Blocks, not yet served; its files go to `folder`. mend: as `serve`.

    Raises MissingDependencyError without Gradio.
    """
    gr = _gradio()
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    actions = Actions(choices, folder, mend, LIFETIME)
    actions.store.sweep_always()
    with brief_errors(gr.Blocks)(
        title="Flip Learning", analytics_enabled=False, delete_cache=(LIFETIME, LIFETIME)
    ) as page:
        parts = layout(gr, LIFETIME, choices, actions.preview)
        _connect(gr, page, parts, actions)

        def forget(request: Any) -> None:
            # Gradio would keep the session of a closed window for an hour.
            data = page.state_holder.session_data.pop(request.session_hash, None)
            page.state_holder.time_last_used.pop(request.session_hash, None)
            if data is not None:
                actions.store.leave(data[parts["session"]._id])

        forget.__annotations__["request"] = gr.Request  # tells Gradio to inject it
        page.unload(forget)
    return page


def _connect(gr: Any, page: Any, parts: dict[str, Any], actions: Actions) -> None:
    """Connect the parts to their actions."""

    def on(
        event: Any,
        action: Callable[..., Any],
        inputs: Sequence[str],
        outputs: Sequence[str],
        answers: bool = True,
        **options: Any,
    ) -> Any:
        # answers: whether it updates the status line on success
        def shown(changes: Changes) -> Any:
            return {parts[name]: gr.update(**value) for name, value in changes.items()} or gr.skip()

        def failed(error: Exception) -> Any:
            if not isinstance(error, FlipError):
                print_traceback()
                error = FlipError("internal error; see the terminal that runs the page")
            return shown({"status": {"value": refused(error)}})

        def once(*values: Any) -> Any:
            try:
                return shown({"status": {"value": ""}, **action(*values)} if answers else action(*values))
            except Exception as error:
                return failed(error)

        def one_by_one(*values: Any) -> Iterator[Any]:
            try:
                yield from map(shown, action(*values))
            except PictureChangedError:
                yield gr.skip()  # Gradio repeats the last update
            except Exception as error:
                yield failed(error)

        return event(
            one_by_one if isgeneratorfunction(action) else once,
            [parts[name] for name in inputs],
            [parts[name] for name in (*outputs, "status")],
            api_visibility="private",
            show_progress="hidden",  # the status line shows it, and Gradio would show a stopped walk as an error
            **options,
        )

    boxed, numbers = ["session", "drawing"], ["session", "drawing", *CORNERS]
    image, walked = list(PICTURE), [*PICTURE, *WALK]
    # `Turns` queues them, with a message.
    heavy: dict[str, Any] = {"concurrency_limit": MAX_SESSIONS, "concurrency_id": "networks"}
    again: dict[str, Any] = {"trigger_mode": "always_last"}
    each: dict[str, Any] = {"trigger_mode": "multiple"}

    watched = ["session", "weights", "margin", *CORNERS]
    walk = on(parts["watch"].click, actions.watching.watch, watched, ["film", "gif", "step", "tabs"], **heavy)
    given = ["session", "weights", "method", "other", "margin", *CORNERS]
    predict = on(parts["predict"].click, actions.segment, given, [*image, "tabs"], **heavy)
    superpixels = ["session", "weights", *CORNERS]
    cut = on(parts["cut"].click, actions.watching.superpixels, superpixels, ["cells", "count", "tabs"], **heavy)
    # Otherwise results of one picture could appear beside the next.
    ends: dict[str, Any] = {"cancels": [walk, predict, cut]}
    on(page.load, actions.begin, boxed, walked, js=BEGIN)
    for name in ("open", "folder"):
        on(parts[name].upload, actions.open, ["session", name], walked, **ends)
    on(parts["phantom"].click, actions.phantom, ["session"], walked, **ends)
    on(parts["frame"].input, actions.frame, ["session", "frame"], walked, **ends, **again)
    on(parts["drawing"].turned, actions.turned, boxed, walked, **ends, **each)
    on(parts["sort"].click, actions.sort, ["session"], walked, **ends)
    on(parts["clear"].click, actions.clear, ["session"], walked, **ends)
    on(parts["compare"].upload, actions.truth, ["session", "compare"], image)
    on(parts["stop"].click, actions.watching.stopped, [], [], cancels=[walk])

    on(parts["drawing"].drawn, actions.drawn, boxed, image, **each)
    on(parts["drawing"].asked, actions.asked, boxed, image, **each)
    for name in CORNERS:
        on(parts[name].input, actions.typing, numbers, image, answers=False, **again)
        for event in (parts[name].submit, parts[name].blur):
            on(event, actions.typed, numbers, image)
    on(parts["weights"].input, actions.chosen, ["weights"], ["method", "other", "agents", "no_agents"])
    for name, rival in (("method", "other"), ("other", "method")):
        parts[name].input(lambda: None, None, parts[rival], api_visibility="private", show_progress="hidden")

    on(parts["step"].input, actions.watching.step, ["session", "step"], ["film"], **again)
    on(parts["make"].click, actions.watching.gif, ["session"], ["film", "gif"])
    on(parts["erasing"].select, actions.erased, ["session"], ["erased"])
    on(parts["save"].click, actions.save, ["session"], ["drawing"])
    on(parts["back"].click, actions.back, ["session"], [])


def _gradio() -> Any:
    # Read at import: disables Gradio's telemetry.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    return need("gradio", extra="app", purpose="the page of `flip app`")
