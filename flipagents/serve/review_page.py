"""The contact sheet of `flip review`: one HTML file with all pictures in it, which fetches nothing."""

from __future__ import annotations

import base64
import os
import shlex
import subprocess
from collections.abc import Iterable
from html import escape
from importlib.resources import files

from flipagents.formats.quality_csv import NAME, REASONS, Quality
from flipagents.serve.review import VIEW, Card, Listing, Picture

GOOD, FAIR = 0.9, 0.8  # predicted Dice from which on a mask is green, and yellow; the number says the same


def sheet(found: Listing, cards: Iterable[Card]) -> str:
    """The page of these cards, in their order; `found` is what they were chosen from."""
    shown = [_card(card) for card in cards]
    template = (files("flipagents") / "serve" / "review.html").read_text(encoding="utf-8")
    parts = {
        "title": f"Masks to check: {escape(found.folder.resolve().name)}",
        "summary": escape(_summary(found, len(shown))),
        "unrated": "" if found.is_rated else "hidden",
        "good": str(GOOD),
        "fair": str(FAIR),
        "footer": escape(_footer(found)),
    }
    for name, text in parts.items():
        template = template.replace(f"@{name}@", text)
    before, _, after = template.partition("@cards@")
    return before + "\n".join(shown) + after


def command(card: Card) -> str:
    """The command that opens a mask for mending, as one types it."""
    words = ["flip", "app", "--mend", str(card.listed.path)]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def _summary(found: Listing, shown: int) -> str:
    masks = found.masks
    parts = [_count(len(masks), "mask")]
    if found.is_rated:
        parts += [f"{sum(each.is_marked for each in masks)} marked", "marked first, then least sure first"]
        rated = [each.row for each in masks if each.row is not None and each.row.quality is not None]
        parts += [f"{len(masks) - len(rated)} of unknown quality"] if len(rated) < len(masks) else []
        rough = sum(not row.calibrated for row in rated)
        parts += [f"{'' if rough == len(rated) else f'{rough} '}not calibrated on true masks"] if rough else []
        parts += [f"{_count(found.missing, 'row')} of {NAME} without a mask"] if found.missing else []
    else:
        parts.append(f"no {NAME} here, so no quality is known: in the order of their names")
    parts += [f"the first {shown} shown"] if shown < len(masks) else []
    return " · ".join(parts)


def _footer(found: Listing) -> str:
    return "The number is the predicted Dice, the hatched part of its bar the 90% interval." if found.is_rated else ""


def _card(card: Card) -> str:
    listed, row = card.listed, card.listed.row
    quality = None if row is None else row.quality
    name = escape(listed.name)
    data = f'data-name="{name}"' + ("" if quality is None else f' data-quality="{quality:.4f}"')
    data += " data-marked" if listed.is_marked else ""
    tags = "".join(f"<li>{escape(REASONS.get(code, code))}</li>" for code in (row.reasons if row else ()))
    tags += "".join(f'<li class="note">{escape(note)}</li>' for note in card.notes)
    return f"""<article class="card {_grade(quality)}" tabindex="-1" {data}>
{_drawn(card.picture, name)}
<div class="about">
<div class="line"><h2 title="{name}">{name}</h2>{_figure(quality)}</div>
{_bar(row)}{f'<ul class="reasons">{tags}</ul>' if tags else ""}
<p class="facts">{escape(_facts(card))}</p>
<div class="mend"><code title="{escape(command(card))}">{escape(command(card))}</code><button>Copy</button></div>
</div>
</article>"""


def _grade(quality: float | None) -> str:
    if quality is None:
        return "unknown"
    shown = round(quality, 2)
    return "good" if shown >= GOOD else "fair" if shown >= FAIR else "poor"


def _figure(quality: float | None) -> str:
    return "" if quality is None else f'<span class="figure" title="predicted Dice">{quality:.2f}</span>'


def _bar(row: Quality | None) -> str:
    """Bar and interval of a predicted Dice; nothing without one."""
    if row is None or row.quality is None:
        return ""
    style, text = f"--quality: {row.quality:.1%}", "predicted Dice"
    interval = ""
    if row.low is not None and row.high is not None:
        style += f"; --low: {row.low:.1%}; --high: {row.high:.1%}"
        text += f" · 90%: {row.low:.2f} to {row.high:.2f}"
        interval = "<b></b>"
    return f'<div class="bar" style="{style}"><i></i>{interval}</div><p class="facts">{text}</p>\n'


def _facts(card: Card) -> str:
    facts = [card.method] if card.method else []
    facts += [] if card.area_px is None else [f"{card.area_px:,} px"]
    facts += [] if card.box is None else [f"box {card.box.width} × {card.box.height}"]
    return " · ".join(facts)


def _drawn(picture: Picture | None, name: str) -> str:
    if picture is None:
        return '<div class="nothing">cannot be shown</div>'
    alone = picture.jpeg is None
    title = f"The mask of {name}, without its image" if alone else f"{name}: its box and mask on the image"
    inside = [] if picture.jpeg is None else [_image(picture.jpeg, picture.place)]
    inside += [] if picture.box is None else [f'<rect class="box" {_rectangle(picture.box)}/>']
    inside += [f'<path class="mask" d="{picture.outline}"/>'] if picture.outline else []
    shape = f'viewBox="0 0 {VIEW[0]} {VIEW[1]}"'
    return f'<svg {shape}{" class=alone" * alone} role="img" aria-label="{title}">{"".join(inside)}</svg>'


def _image(jpeg: bytes, place: tuple[float, float, float, float]) -> str:
    data = base64.b64encode(jpeg).decode("ascii")
    return f'<image {_rectangle(place)} preserveAspectRatio="none" href="data:image/jpeg;base64,{data}"/>'


def _rectangle(place: tuple[float, float, float, float]) -> str:
    return " ".join(f'{name}="{value:.1f}"' for name, value in zip(("x", "y", "width", "height"), place, strict=True))


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
