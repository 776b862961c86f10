"""Layout of the page of `flip app`."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from flipagents.serve.page_actions import CORNERS
from flipagents.serve.page_card import NO_MASK
from flipagents.serve.page_state import Session
from flipagents.serve.page_style import DRAWING, DRAWING_CSS, STATUS
from flipagents.serve.page_weights import NO_AGENTS, Choices

FORMATS = [".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm", ".nii", ".gz"]

HEAD = """# Flip Learning: box in, mask out
Drag a box around a nodule, segment it, mend the mask by clicks. Runs on this machine alone. Not a medical device."""
TOLERANCE = "The box is moved by up to this much onto the nodule; its size is kept."
ALTERNATIVES = {
    "erased": "The image with the mask filled with background",
    "cells": "The superpixels that the agents walk over",
    "film": "The agents' walk: image, superpixels, agents, erased pixels, and the erase curve",
}
# For `Actions.begin`: the id of the work that this window showed before it was reloaded, or of the latest.
BEGIN = """(session, drawing) => {
  const own = sessionStorage.getItem("flip-app");
  return [session, {...drawing, ask: {key: own || localStorage.getItem("flip-app"), own: Boolean(own)}}];
}"""


def page_script() -> str:
    """The page's script, as HTML for the head."""
    given = {"ALTERNATIVES": ALTERNATIVES, "CHOICES": ["weights", "method", "other"]}
    constants = "\n".join(f"const {name} = {json.dumps(value)};" for name, value in given.items())
    return f"<script>(() => {{\n{constants}\n{_script('page.js')}\n}})();</script>"


class Parts(dict[str, Any]):
    """The parts of the page, by name; the name is also the element's id."""

    def __init__(self, gr: Any) -> None:
        super().__init__()
        self.gr = gr

    def add(self, name: str, kind: Any, *values: Any, **options: Any) -> Any:
        """Add a part at the current place."""
        self[name] = kind(*values, elem_id=name, **options)
        return self[name]

    def show(self, name: str, **options: Any) -> None:
        """Add a picture."""
        buttons = ["download", "fullscreen"]
        self.add(name, self.gr.Image, label=name, show_label=False, interactive=False, buttons=buttons, **options)


def layout(gr: Any, kept: int, choices: Choices, preview: Callable[..., str]) -> Parts:
    """Lay out the page; kept: s, lifetime of a page's state; preview: see `Actions.preview`."""
    parts = Parts(gr)
    parts["session"] = gr.State(Session(), time_to_live=kept)
    gr.Markdown(HEAD, elem_id="head")
    with gr.Row():
        with gr.Column(scale=9), gr.Tabs() as parts["tabs"]:
            _outputs(gr, parts, preview)
        with gr.Column(scale=3, min_width=300):
            _controls(gr, parts, choices)
    return parts


def _outputs(gr: Any, parts: Parts, previewed: Callable[..., str]) -> None:
    """The output parts."""

    def preview(asked: dict[str, Any]) -> str:  # not a method, as Gradio marks it
        return previewed(asked)

    with gr.Tab("Picture", id="picture"):
        script = _script("zooming.js") + _script("drawing.js")
        drawing = {"html_template": DRAWING, "css_template": DRAWING_CSS, "js_on_load": script}
        parts.add("drawing", gr.HTML, apply_default_css=False, server_functions=[preview], **drawing)
        with gr.Row():
            for name in CORNERS:
                parts.add(name, gr.Number, label=name.upper(), value=None, precision=0, min_width=60)
    with gr.Tab("Superpixels", id="cells"):
        parts.add("count", gr.Markdown)
        parts.show("cells")
    with gr.Tab("Agents", id="agents"):
        parts.show("film")
        with gr.Row():
            parts.add("step", gr.Slider, 0, 1, 0, step=1, label="Moment", interactive=False, scale=3)
            parts.add("stop", gr.Button, "Stop", min_width=90)
            parts.add("make", gr.Button, "Make a GIF", min_width=120)
        parts.add("gif", gr.File, label="Download the GIF", interactive=False, visible=False)
    with gr.Tab("Erased", id="erased") as parts["erasing"]:
        gr.Markdown("The image with the mask filled with background, as the agents see it.")
        parts.show("erased", format="png")


def _controls(gr: Any, parts: Parts, choices: Choices) -> None:
    """The controls, from top to bottom."""
    first = choices.first
    parts.add("status", gr.HTML, "", html_template=STATUS, apply_default_css=False)
    with gr.Row():
        parts.add("open", gr.UploadButton, "Open", file_count="multiple", size="sm", min_width=80)
        parts.add("folder", gr.UploadButton, "Folder", file_count="directory", size="sm", min_width=80)
        parts.add("phantom", gr.Button, "Phantom", size="sm", min_width=80)
    parts.add("frame", gr.Slider, 0, 1, 0, step=1, label="Frame of the film", visible=False)
    parts.add("predict", gr.Button, "Segment", variant="primary")
    parts.add("note", gr.Markdown)
    parts.add("card", gr.Markdown, NO_MASK)
    with gr.Row():
        parts.add("save", gr.Button, "Save all", size="sm", min_width=80)
        truth = {"file_types": FORMATS, "size": "sm", "min_width": 80}
        parts.add("compare", gr.UploadButton, "True mask", **truth)
        parts.add("sort", gr.Button, "Least sure first", size="sm", min_width=110)
        parts.add("clear", gr.Button, "Close all", size="sm", min_width=80)
    parts.add("back", gr.Button, "Write the mask back", variant="primary", visible=False)
    with gr.Accordion("Method and weights", open=False):
        named = [(each.label, name) for name, each in choices.all.items()]
        parts.add("weights", gr.Radio, named, value=first.name, label="Weights")
        parts.add("method", gr.Radio, first.usual, value=first.method, label="Method")
        parts.add("other", gr.Radio, first.others, value=None, label="For comparison")
        parts.add("margin", gr.Slider, 0, 60, 0, step=1, label="Box tolerance (px)", info=TOLERANCE)
    with gr.Accordion("Watch the agents", open=False):
        parts.add("no_agents", gr.Markdown, "" if first.has_agents else NO_AGENTS)
        with parts.add("agents", gr.Row, visible=first.has_agents):
            parts.add("cut", gr.Button, "Superpixels", size="sm", min_width=80)
            parts.add("watch", gr.Button, "Watch", size="sm", min_width=80)


def _script(name: str) -> str:
    return (files("flipagents") / "serve" / name).read_text("utf-8")
