"""Templates and style of the page of `flip app`."""

from __future__ import annotations

STATUS = '<p role="status" aria-live="polite"><span>${value}</span></p>'
DRAWING = """
<div class="view" data-tool="box">
  <div class="bar" hidden>
    <span class="joined" role="group" aria-label="Tool">
      <button type="button" data-tool="box" title="Drag a box (B)">Box</button>
      <button type="button" data-tool="mend" title="Click to mend the mask (M)">Mend</button>
    </span>
    <span class="joined mending">
      <button type="button" data-ask="undo" title="Undo (Ctrl-Z)">Undo</button>
      <button type="button" data-ask="redo" title="Redo (Ctrl-Y)">Redo</button>
    </span>
    <label class="mending" title="How far a click spreads to what looks alike; 0: one superpixel">Spread
      <input type="range" name="reach" min="0" max="4" step="0.5" value="1"></label>
    <label class="mending" title="Size of the superpixels (Shift and wheel)">Finer
      <input type="range" name="size" min="0" max="3" step="1" value="2"></label>
    <label>Mask <input type="range" name="opacity" min="0" max="1" step="0.05" value="0.35"></label>
    <button type="button" class="reset" title="The whole image (0)">Reset view</button>
  </div>
  <div class="area">
    <p class="hint">Open images, or make a phantom.</p>
    <div class="stage" tabindex="0" role="application" aria-roledescription="picture with boxes and masks" hidden>
      <img class="photo" alt="" draggable="false">
      <img class="fill" alt="The mask" draggable="false" hidden>
      <svg aria-hidden="true" preserveAspectRatio="none">
        <path class="others"/><path class="truth"/><path class="edge"/><path class="preview"/>
        <rect class="drawn dark"/><rect class="drawn bright"/><circle style="display: none"/>
      </svg>
    </div>
  </div>
  <div class="foot" hidden>
    <span class="turning">
      <button type="button" data-by="-1" title="Previous image (P)" aria-label="Previous image">‹</button>
      <span class="count"></span>
      <button type="button" data-by="1" title="Next image (N)" aria-label="Next image">›</button>
    </span>
    <span class="boxes"></span>
    <span class="keys">
      <span class="boxing"><b>drag</b> box · <b>arrows</b> move it</span>
      <span class="mending"><b>click</b> add · <b>right click</b> remove · <b>drag</b> pan</span>
      · <b>wheel</b> zoom</span>
  </div>
</div>
"""
# The picture fills the area at its aspect ratio, with padding in which a drag may start and end.
DRAWING_CSS = """
.bar, .foot { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 14px; padding: 6px 0; min-height: 32px;
  font-size: 13px; color: var(--body-text-color); }
.bar[hidden], .foot[hidden], .turning[hidden] { display: none; }
.bar label { display: flex; align-items: center; gap: 6px; }
.bar input { width: 84px; accent-color: #059669; }
.bar .reset { margin-left: auto; }
.view[data-tool="box"] .mending, .view[data-tool="mend"] .boxing { display: none; }
button { padding: 3px 10px; border: 1px solid var(--border-color-primary); border-radius: 6px; cursor: pointer;
  background: var(--background-fill-primary); color: var(--body-text-color); font: inherit; }
button:disabled { opacity: 0.4; cursor: default; }
button[aria-pressed="true"] { background: #047857; border-color: #047857; color: #fff; }
.joined, .boxes > span { display: inline-flex; }
.joined button:first-child, .boxes > span button:first-child { border-radius: 6px 0 0 6px; }
.joined button:last-child, .boxes > span button:last-child { border-radius: 0 6px 6px 0; margin-left: -1px; }
.boxes { display: flex; flex-wrap: wrap; gap: 6px; }
.keys { margin-left: auto; color: var(--body-text-color-subdued); }
.area { padding: 24px; min-height: 420px; display: flex; justify-content: center; align-items: center;
  background: #0f172a; border-radius: 8px; touch-action: none; user-select: none; cursor: crosshair; overflow: hidden; }
.view[data-tool="mend"] .area { cursor: pointer; }
.hint { color: #cbd5e1; margin: 0; }
.stage { position: relative; aspect-ratio: var(--width) / var(--height);
  width: min(100%, calc(560px * var(--width) / var(--height))); }
.stage[hidden], .hint[hidden], .fill[hidden] { display: none; }
.stage:focus-visible { outline: 3px solid #34d399; outline-offset: 3px; }
.stage img, svg { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; pointer-events: none; }
.fill { opacity: var(--opacity); image-rendering: pixelated; }
svg { overflow: visible; }
rect, path, circle { fill: none; vector-effect: non-scaling-stroke; }
.dark { stroke: #000; stroke-width: 4px; opacity: 0.5; }
.bright { stroke: #fff; stroke-width: 1.5px; }
.edge { stroke: #34d399; stroke-width: 1.5px; }
.others { stroke: #7dd3fc; stroke-width: 1.5px; }
.truth { stroke: #fde047; stroke-width: 1.5px; stroke-dasharray: 5 4; }
.preview { stroke: #fff; stroke-width: 1px; stroke-dasharray: 2 2; }
circle { stroke: #fb923c; stroke-width: 2px; }
"""
# Gradio's own status on each part is hidden: the status line shows it once.
CSS = """
.gradio-container { max-width: 1500px !important; margin: 0 auto; }
#head h1 { margin: 0; font-size: 1.3em; }
#head p { margin: 2px 0 0; opacity: 0.75; }
h3 { margin: 4px 0 0 !important; }
#status { min-height: 2.6em; position: sticky; top: 4px; z-index: 5; pointer-events: none; }
[data-testid="status-tracker"] { display: none !important; }
#status p { margin: 0; padding: 6px 10px; border-radius: 8px; background: var(--background-fill-secondary); }
#status p:has(span:empty) { visibility: hidden; }
#status .refused { color: #b91c1c; font-weight: 600; }
.dark #status .refused { color: #fca5a5; }
#note p { margin: 0; padding: 6px 10px; border-radius: 8px; background: #fef3c7; color: #78350f; }
#note:not(:has(p)), #no_agents:not(:has(p)) { display: none; }
#card { padding: 10px 12px; border-radius: 8px; background: var(--background-fill-secondary); }
#card p { margin: 0 0 2px; }
#card table { width: 100%; border: 0; margin: 4px 0 0; }
#card tr { border: 0; }
#card th, #card td { border: 0; border-bottom: 1px solid var(--border-color-primary); padding: 3px 6px;
  white-space: nowrap; }
#card [align="right"] { text-align: right; }
#gif td:has(button) { display: none; }
#gif .file { font-size: var(--text-sm); }
#gif .filename { max-width: none; }
#gif .download { width: 90px; padding-left: 0; }
button:focus-visible, a:focus-visible, label:focus-within, input:focus-visible, [role="tab"]:focus-visible {
  outline: 3px solid #059669 !important; outline-offset: 2px; }
"""
