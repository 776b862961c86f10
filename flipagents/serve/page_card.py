"""The status card: what is known about the chosen mask, as Markdown."""

from __future__ import annotations

import dataclasses

from flipagents.formats.quality_csv import REASONS
from flipagents.segment.quality import Quality
from flipagents.serve import service
from flipagents.serve.page_state import Nodule, Sheet

NO_MASK = "No mask yet: draw a box and press 'Segment'."
NO_TRUTH = "Where the true mask is known, Dice and distances are shown here."


def card(sheet: Sheet, quality: Quality | None) -> str:
    """Quality, size, origin and corrections of the chosen mask, and its agreement with the true one, if known."""
    nodule, truth = sheet.nodule, sheet.picture.truth
    if nodule.result is None or nodule.given is None or nodule.mask is None:
        return NO_MASK if truth is None else f"{NO_MASK} The true mask is known, {truth.sum()} px."
    (given, margin, method, weights), found = nodule.given, nodule.result.case.box
    count = len(nodule.corrections)
    lines = [
        *([] if quality is None else [_quality(quality)]),
        f"**{nodule.mask.sum()} px**, {count or 'no'} correction{'s' * (count != 1)}",
        f"Made by {method}{f' ({weights})' if weights else ''}{f', box tolerance {margin} px' if margin else ''}",
    ]
    if found != given:
        lines.append(f"Box moved by {found.left - given.left:+d} px across, {found.top - given.top:+d} px down.")
    if truth is None:
        return "\n\n".join([*lines, NO_TRUTH])
    mended = dataclasses.replace(nodule.result, mask=nodule.mask)
    rows = ["| | Dice | HD, px | ASD, px |", "|---|---:|---:|---:|"]
    for name, overlap, largest, mean in service.compare(mended, truth):
        shown = f"**{'mended' if count else name}**" if name == method else name
        rows.append(f"| {shown} | {overlap:.3f} | {largest:.1f} | {mean:.2f} |")
    return "\n\n".join([*lines, "\n".join(rows)])


def _quality(quality: Quality) -> str:
    if quality.low is None or quality.high is None:
        first = f"Predicted Dice **{quality.value:.2f}**, not calibrated"
    else:
        first = f"Predicted Dice **{quality.value:.2f}**, 90%: {quality.low:.2f} to {quality.high:.2f}"
    return "; ".join([first, *(f"**{REASONS.get(reason, reason)}**" for reason in quality.reasons)])


def outdated(nodule: Nodule) -> str:
    """What a mask no longer fits, "" for one that does."""
    if nodule.given is None or nodule.box == nodule.given[0]:
        return ""
    return "Outdated: made with another box. Press 'Segment'."
