"""The page of `flip app`: draw a box, watch the agents erase, see and take the mask. Layout and serving alone."""

from __future__ import annotations

import html
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from inspect import isgeneratorfunction
from pathlib import Path
from typing import Any

from flipagents.desk import AGENTS, Desk, offered
from flipagents.page_actions import CORNERS, NO_TRUTH, VIEWS, Actions, Changes, Session
from flipagents.ports import check_port
from flipenv.errors import FlipError
from flipenv.sources.extras import need

UPLOAD = "64mb"  # the largest file that is taken
HERE = ("127.0.0.1", "localhost")
KEPT = 24 * 3600  # s, after which files and sessions of a page that runs on are dropped
FORMATS = [".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm", ".nii", ".gz"]

HEAD = """# Flip Learning: box in, mask out
Agents walk over the superpixels of a boxed nodule and erase what belongs to it. What they erased is the mask.
All of it happens on this machine. Not a medical device."""
CAPTIONS = {
    "overlay": "**Overlay**: green the mask, dashed the truth",
    "outline": "**Outline**: green the mask, yellow the truth",
    "mask": "**Mask**",
    "erased": "**Erased**: the mask filled with background",
}
CSS = """
.gradio-container { max-width: 1360px !important; margin: 0 auto; }
#head h1 { margin-bottom: 2px; }
#head p { opacity: 0.75; }
#drawing button[title*="Rotate"] { display: none; }
#table table { width: 100%; border: 0; }
#table tr { border: 0; }
#table th, #table td { border: 0; border-bottom: 1px solid var(--border-color-primary); padding: 4px 8px; }
#table [align="right"] { text-align: right; }
#files td:has(button) { display: none; }
#files .file, #gif .file { font-size: var(--text-sm); }
#files .filename, #gif .filename { max-width: none; }
#files .download, #gif .download { width: 90px; padding-left: 0; }
"""


def serve(host: str = "127.0.0.1", port: int = 7860, *, weights: Path | None = None, device: str = "cpu") -> None:
    """Show the page at http://HOST:PORT until Ctrl-C or SIGTERM; call it from the main thread.

    What is uploaded or made lies in a folder of this process, which goes when it ends. Raises MissingDependencyError
    without Gradio, ConfigError where it cannot listen there.
    """
    check_port(host, port)
    # By itself SIGTERM, which service managers send, would leave patients' images behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="flip-app-") as folder, suppress(KeyboardInterrupt):
        page = build(Desk(weights, device), Path(folder))
        print(f"{launch(page, host, port)} (Ctrl-C ends it)", flush=True)
        page.block_thread()


def launch(page: Any, host: str, port: int) -> str:
    """Serve a page that `build` made, in a thread, and return its address; nothing is shared or fetched."""
    gr = _gradio()
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
        app_kwargs={"middleware": [_only_for(HERE if host in HERE else ("*",))]},
        theme=gr.themes.Base(primary_hue="emerald", neutral_hue="slate", radius_size="md", **fonts),
        css=CSS,
    )
    return str(address)


def build(work: Desk, folder: Path) -> Any:
    """The page, a gradio.Blocks, not yet served; all its files will lie in `folder`.

    Raises MissingDependencyError without Gradio or its box drawing.
    """
    gr = _gradio()
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    with gr.Blocks(title="Flip Learning", analytics_enabled=False, delete_cache=(KEPT, KEPT)) as page:
        _connect(gr, _layout(gr), Actions(work, folder))
    return page


def _layout(gr: Any) -> dict[str, Any]:
    """The parts of the page, by name; a part's name is also its id in the page."""
    annotator = need("gradio_image_annotation", extra="app", purpose="drawing a box").image_annotator
    parts: dict[str, Any] = {"session": gr.State(Session(), time_to_live=KEPT)}

    def add(name: str, kind: Any, *values: Any, **options: Any) -> None:
        parts[name] = kind(*values, elem_id=name, **options)

    def show(name: str, **options: Any) -> None:
        add(name, gr.Image, show_label=False, interactive=False, buttons=["download", "fullscreen"], **options)

    gr.Markdown(HEAD, elem_id="head")
    with gr.Row():
        with gr.Column(scale=8), gr.Tabs() as parts["tabs"]:
            with gr.Tab("Picture", id="picture"):
                add(
                    "drawing",
                    annotator,
                    show_label=False,
                    single_box=True,
                    disable_edit_boxes=True,
                    box_min_size=2,
                    boxes_alpha=0.05,
                    sources=[],
                    show_download_button=False,
                    show_clear_button=False,
                    show_remove_button=False,
                )
                with gr.Row():
                    for name in CORNERS:
                        add(name, gr.Number, label=name.upper(), value=None, precision=0, min_width=60)
            with gr.Tab("Superpixels", id="cells"):
                add("count", gr.Markdown)
                show("cells")
            with gr.Tab("Agents", id="agents"):
                show("film")
                with gr.Row():
                    add("step", gr.Slider, 0, 1, 0, step=1, label="Moment", interactive=False, scale=3)
                    add("stop", gr.Button, "Stop", min_width=90)
                    add("make", gr.Button, "Make a GIF", min_width=120)
                add("gif", gr.File, label="Take the GIF", interactive=False, visible=False)
            with gr.Tab("Mask", id="mask"):
                for pair in (VIEWS[:2], VIEWS[2:]):
                    with gr.Row():
                        for name in pair:
                            with gr.Column(min_width=200):
                                gr.Markdown(CAPTIONS[name])
                                show(name, format="png")
                gr.Markdown("**Erase curve**, and the end of one walk (method flip)")
                show("curve")
        with gr.Column(scale=4, min_width=320):
            gr.Markdown("### 1. Picture")
            with gr.Row():
                add("open", gr.UploadButton, "Open an image", file_types=FORMATS, min_width=120)
                add("phantom", gr.Button, "Make a phantom", min_width=120)
            add("frame", gr.Slider, 0, 1, 0, step=1, label="Frame of the film", visible=False)
            gr.Markdown("### 2. Box\nDrag one around the nodule so that each side touches it, or type its corners.")
            add("margin", gr.Slider, 0, 60, 0, step=1, label="It may be off by so many px")
            gr.Markdown("### 3. Agents")
            with gr.Row():
                add("cut", gr.Button, "Superpixels", min_width=120)
                add("watch", gr.Button, "Watch", min_width=120)
            gr.Markdown("### 4. Mask")
            add("method", gr.Dropdown, offered(), value=AGENTS, label="Method")
            add("predict", gr.Button, "Segment", variant="primary")
            add("compare", gr.UploadButton, "Compare with a true mask", file_types=FORMATS)
            add("table", gr.Markdown, NO_TRUTH)
            add("files", gr.Files, label="Take the mask: PNG, NIfTI, COCO", interactive=False, visible=False)
    return parts


def _connect(gr: Any, parts: dict[str, Any], actions: Actions) -> None:
    """Tell each button what it does."""
    page = ["session", "drawing", "frame", "film", "gif", "step", "cells", "count", "curve", "files", "table", "tabs"]
    page += [*CORNERS, *VIEWS]

    def on(event: Any, action: Callable[..., Any], inputs: list[str], outputs: list[str], **options: Any) -> Any:
        def shown(changes: Changes) -> Any:
            return {
                parts[name]: value if name == "session" else gr.update(**value) for name, value in changes.items()
            } or gr.skip()

        def told(error: FlipError) -> Any:
            gr.Warning(html.escape(str(error)), duration=30, title="Not done")
            return gr.skip()

        def once(*values: Any) -> Any:
            try:
                return shown(action(*values))
            except FlipError as error:
                return told(error)

        def one_by_one(*values: Any) -> Iterator[Any]:
            try:
                yield from map(shown, action(*values))
            except FlipError as error:
                yield told(error)

        return event(
            one_by_one if isgeneratorfunction(action) else once,
            [parts[name] for name in inputs],
            [parts[name] for name in outputs],
            api_visibility="private",
            **options,
        )

    heavy = {"concurrency_limit": 1, "concurrency_id": "networks"}
    corners = list(CORNERS)
    walk = on(
        parts["watch"].click,
        actions.watch,
        ["session", "margin", *corners],
        ["session", "film", "gif", "step", "tabs"],
        show_progress="hidden",  # the film is the progress, and Gradio calls a walk that was stopped an error
        **heavy,
    )
    # A walk that goes on would bring its own picture back.
    ends = {"cancels": [walk], "show_progress": "hidden"}
    on(parts["open"].upload, actions.open, ["session", "open"], page, **ends)
    on(parts["phantom"].click, actions.phantom, ["session"], page, **ends)
    again = {"trigger_mode": "always_last", "show_progress": "hidden"}
    on(parts["frame"].input, actions.frame, ["session", "frame"], page, cancels=[walk], **again)
    parts["stop"].click(None, cancels=[walk], api_visibility="private")
    on(parts["drawing"].change, actions.drawn, ["session", "drawing"], corners, show_progress="hidden")
    for name in CORNERS:
        for event in (parts[name].submit, parts[name].blur):
            on(event, actions.typed, ["session", *corners], ["drawing"], show_progress="hidden")
    on(parts["cut"].click, actions.superpixels, ["session", *corners], ["cells", "count", "tabs"], **heavy)
    on(parts["step"].input, actions.step, ["session", "step"], ["film"], **again)
    on(parts["make"].click, actions.gif, ["session"], ["film", "gif"], show_progress_on=parts["gif"])
    made = ["session", *VIEWS, "curve", "files", "table", "tabs"]
    on(
        parts["predict"].click,
        actions.segment,
        ["session", "method", "margin", *corners],
        made,
        show_progress_on=[parts[name] for name in (*VIEWS, "curve")],
        **heavy,
    )
    on(parts["compare"].upload, actions.truth, ["session", "compare"], ["session", "table", *VIEWS], **ends)


def _only_for(hosts: Sequence[str]) -> Any:
    """Refuse what a browser asks of another name: a site may give its own name this machine's address."""
    middleware = need("starlette.middleware", extra="app", purpose="serving the page")
    trusted = need("starlette.middleware.trustedhost", extra="app", purpose="serving the page")
    return middleware.Middleware(trusted.TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)


def _gradio() -> Any:
    # Read when it is imported: without this it tells its makers that it was started.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    return need("gradio", extra="app", purpose="the page of `flip app`")
