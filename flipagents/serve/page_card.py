"""The status card: what is known about the chosen mask, as Markdown."""

from __future__ import annotations

import dataclasses

from flipagents.serve import service
from flipagents.serve.page_state import Nodule, Sheet

NO_MASK = "No mask yet: draw a box and press 'Segment'."
NO_TRUTH = "Where the true mask is known, Dice and distances are shown here."


def card(sheet: Sheet) -> str:
    """Size, origin and corrections of the chosen mask, and its agreement with the true one, if known."""
    nodule, truth = sheet.nodule, sheet.picture.truth
    if nodule.result is None or nodule.given is None or nodule.mask is None:
        return NO_MASK if truth is None else f"{NO_MASK} The true mask is known, {truth.sum()} px."
    (given, margin, method, weights), found = nodule.given, nodule.result.case.box
    count = len(nodule.corrections)
    lines = [
        f"**{nodule.mask.sum()} px**, {count or 'no'} correction{'s' * (count != 1)}",
        f"Made by {method}{f' ({weights})' if weights else ''}{f', box tolerance {margin} px' if margin else ''}",
    ]
    # A predicted quality of the mask, made again after each click, would be a line here.
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


def outdated(nodule: Nodule) -> str:
    """What a mask no longer fits, "" for one that does."""
    if nodule.given is None or nodule.box == nodule.given[0]:
        return ""
    return "Outdated: made with another box. Press 'Segment'."
