"""Layout and style of the page of `flip app`."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from flipagents.serve.page_actions import CORNERS, NO_MASK, NO_TRUTH, VIEWS, Session
from flipagents.serve.service import AGENTS, USUAL, available_methods

FORMATS = [".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm", ".nii", ".gz"]

HEAD = """# Flip Learning: box in, mask out
Agents walk over the superpixels of a boxed nodule and erase those that belong to it. The erased pixels are the mask.
Everything runs on this machine. Not a medical device."""
BOX = """### 2. Box
Drag a box around the nodule so that each side touches it; the next drag replaces it. Or type its corners. Arrow keys
move it, with Shift its right and lower sides."""
TOLERANCE = "The box is moved by up to this much onto the nodule; its size is kept."
STATUS = '<p role="status" aria-live="polite"><span>${value}</span></p>'
CAPTIONS = {
    "overlay": "**Overlay**: mask green, truth dashed",
    "outline": "**Outline**: mask green, truth yellow",
    "mask": "**Mask**",
    "erased": "**Erased**: the mask filled with background",
}
ALTERNATIVES = {
    "overlay": "The image with its box and the mask on it in green",
    "outline": "The image with the outline of the mask in green",
    "mask": "The mask, white on black",
    "erased": "The image with the mask filled with background",
    "cells": "The superpixels that the agents walk over",
    "film": "The agents' walk: image, superpixels, agents, erased pixels, and the erase curve",
    "curve": "The end of one walk, with its erase curve",
}
METHODS = dict(zip(USUAL, ("flip: the agents", "flip+student: faster", "polar: best edge", "GrabCut"), strict=True))
DRAWING = """
<div class="area">
  <p class="hint">Open an image, or make a phantom.</p>
  <div class="stage" tabindex="0" role="application" aria-roledescription="picture to draw a box on" hidden>
    <img alt="" draggable="false">
    <svg aria-hidden="true" preserveAspectRatio="none"><rect class="dark"/><rect class="bright"/></svg>
  </div>
</div>
"""
# The picture fills the area at its aspect ratio, with padding in which a drag may start and end.
DRAWING_CSS = """
.area { padding: 24px; min-height: 300px; display: flex; justify-content: center; align-items: center;
  background: #0f172a; border-radius: 8px; touch-action: none; user-select: none; cursor: crosshair; overflow: hidden; }
.hint { color: #cbd5e1; margin: 0; }
.stage { position: relative; aspect-ratio: var(--width) / var(--height);
  width: min(100%, calc(540px * var(--width) / var(--height))); }
.stage[hidden], .hint[hidden] { display: none; }
.stage:focus-visible { outline: 3px solid #34d399; outline-offset: 3px; }
img, svg { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; pointer-events: none; }
svg { overflow: visible; }
rect { fill: none; vector-effect: non-scaling-stroke; }
.dark { stroke: #000; stroke-width: 4px; opacity: 0.5; }
.bright { stroke: #34d399; stroke-width: 2px; }
"""
# Gradio's own status on each part is hidden: the status line shows it once.
CSS = """
.gradio-container { max-width: 1360px !important; margin: 0 auto; }
#head h1 { margin-bottom: 2px; font-size: 1.5em; }
#head p { opacity: 0.75; }
h3 { margin: 4px 0 0 !important; }
h3 + p { margin-top: 2px !important; }
#status { min-height: 2.6em; position: sticky; top: 4px; z-index: 5; pointer-events: none; }
[data-testid="status-tracker"] { display: none !important; }
#status p { margin: 0; padding: 6px 10px; border-radius: 8px; background: var(--background-fill-secondary); }
#status p:has(span:empty) { visibility: hidden; }
#status .refused { color: #b91c1c; font-weight: 600; }
.dark #status .refused { color: #fca5a5; }
#note p, #old p { margin: 0; padding: 6px 10px; border-radius: 8px; background: #fef3c7; color: #78350f; }
#note:not(:has(p)), #old:not(:has(p)) { display: none; }
#table table { width: 100%; border: 0; }
#table tr { border: 0; }
#table th, #table td { border: 0; border-bottom: 1px solid var(--border-color-primary); padding: 4px 8px; }
#table [align="right"] { text-align: right; }
#files td:has(button) { display: none; }
#files .file, #gif .file { font-size: var(--text-sm); }
#files .filename, #gif .filename { max-width: none; }
#files .download, #gif .download { width: 90px; padding-left: 0; }
button:focus-visible, a:focus-visible, label:focus-within, input:focus-visible, [role="tab"]:focus-visible {
  outline: 3px solid #059669 !important; outline-offset: 2px; }
"""


def page_script() -> str:
    """The page's script, as HTML for the head."""
    given = {"ALTERNATIVES": ALTERNATIVES, "CHOICES": ["method", "other"]}
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


def layout(gr: Any, kept: int) -> Parts:
    """Lay out the page; kept: s, lifetime of a page's state."""
    parts = Parts(gr)
    parts["session"] = gr.State(Session(), time_to_live=kept)
    gr.Markdown(HEAD, elem_id="head")
    with gr.Row():
        with gr.Column(scale=8), gr.Tabs() as parts["tabs"]:
            _outputs(gr, parts)
        with gr.Column(scale=4, min_width=320):
            _controls(gr, parts)
    return parts


def _outputs(gr: Any, parts: Parts) -> None:
    """The output parts."""
    with gr.Tab("Picture", id="picture"):
        script = _script("drawing.js")
        drawing = {"html_template": DRAWING, "css_template": DRAWING_CSS, "js_on_load": script}
        parts.add("drawing", gr.HTML, apply_default_css=False, **drawing)
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
    with gr.Tab("Mask", id="mask"):
        parts.add("note", gr.Markdown, NO_MASK)
        with parts.add("views", gr.Column, visible=False):
            for pair in (VIEWS[:2], VIEWS[2:]):
                with gr.Row():
                    for name in pair:
                        with gr.Column(min_width=200):
                            gr.Markdown(CAPTIONS[name])
                            parts.show(name, format="png")
        with parts.add("walk", gr.Column, visible=False):
            gr.Markdown("**Erase curve**, and the end of one walk")
            parts.show("curve")


def _controls(gr: Any, parts: Parts) -> None:
    """The controls, from top to bottom."""
    parts.add("status", gr.HTML, "", html_template=STATUS, apply_default_css=False)
    gr.Markdown("### 1. Picture")
    with gr.Row():
        parts.add("open", gr.UploadButton, "Open an image", min_width=120)
        parts.add("phantom", gr.Button, "Make a phantom", min_width=120)
    parts.add("frame", gr.Slider, 0, 1, 0, step=1, label="Frame of the film", visible=False)
    gr.Markdown(BOX)
    parts.add("margin", gr.Slider, 0, 60, 0, step=1, label="Box tolerance (px)", info=TOLERANCE)
    gr.Markdown("### 3. Agents")
    with gr.Row():
        parts.add("cut", gr.Button, "Superpixels", min_width=120)
        parts.add("watch", gr.Button, "Watch", min_width=120)
    gr.Markdown("### 4. Mask")
    parts.add("method", gr.Radio, [(METHODS[name], name) for name in USUAL], value=AGENTS, label="Method")
    with gr.Accordion("Compare with", open=False):
        others = [name for name in available_methods() if name not in USUAL]
        parts.add("other", gr.Radio, others, value=None, label="Other methods")
    parts.add("predict", gr.Button, "Segment", variant="primary")
    parts.add("compare", gr.UploadButton, "Compare with a true mask", file_types=FORMATS)
    parts.add("old", gr.Markdown)
    parts.add("table", gr.Markdown, NO_TRUTH)
    parts.add("files", gr.Files, label="Download the mask: PNG, NIfTI, COCO", interactive=False, visible=False)


def _script(name: str) -> str:
    return (files("flipagents") / "serve" / name).read_text("utf-8")
