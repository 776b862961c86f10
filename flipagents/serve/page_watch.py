"""Watching the agents on the page: their superpixels, and a walk that can be replayed."""

from __future__ import annotations

from collections.abc import Iterator

from flipagents.serve import service
from flipagents.serve.page_messages import Changes, doing, in_status
from flipagents.serve.page_state import Session
from flipagents.serve.page_store import Store
from flipagents.serve.page_turns import Turns
from flipagents.serve.page_weights import Choices
from flipenv.errors import EpisodeError
from flipenv.pictures.render import draw


class Watching:
    """Actions on the walk of a window's image, as `flipagents.serve.page_actions.Actions`, whose parts these are."""

    def __init__(self, choices: Choices, store: Store, turns: Turns) -> None:
        self.choices, self.store, self._turns = choices, store, turns

    def superpixels(self, session: Session, weights: str, *corners: float | None) -> Iterator[Changes]:
        """Show the superpixels that the agents visit."""
        picture = session.shown().picture
        box = service.box_of(picture, corners)
        used = self.choices.of(weights).service
        shown, count = yield from in_status(
            self._turns.take(session.visit, "Cutting superpixels …", lambda: used.superpixels(picture, box))
        )
        text = f"{count} superpixels, visited by the agents of the last stage."
        yield {
            "cells": {"value": shown},
            "count": {"value": text},
            "tabs": {"selected": "cells"},
            "status": {"value": ""},
        }

    def watch(self, session: Session, weights: str, margin: int, *corners: float | None) -> Iterator[Changes]:
        """Show the agents' walk scene by scene; it can be replayed afterwards."""
        picture = session.shown().picture
        box = service.box_of(picture, corners)
        yield {"tabs": {"selected": "agents"}, "film": {"value": None}, "gif": {"visible": False}}
        session.walked, session.walk_of = (), None
        walk = self.choices.of(weights).service.walk(picture, box, margin)
        what = said = "The agents walk …"
        yield {"status": {"value": doing(what)}}
        while (
            scene := (yield from in_status(self._turns.take(session.visit, what, lambda: next(walk, None), said)))
        ) is not None:
            session.walked = (*session.walked, scene)
            last = len(session.walked) - 1
            yield {
                "film": {"value": draw(scene)},
                "step": {"maximum": max(last, 1), "value": last, "interactive": last > 0},
            }
        session.walk_of = (box, margin, weights)
        yield {"status": {"value": ""}}

    def stopped(self) -> Changes:
        """Clear the message of a stopped action."""
        return {}

    def step(self, session: Session, number: int) -> Changes:
        """Show one scene of the walk again."""
        return {"film": {"value": draw(session.walked[number])}} if number < len(session.walked) else {}

    def gif(self, session: Session) -> Changes:
        """Make the GIF of the walk, for playing and downloading."""
        if not session.walked:
            raise EpisodeError("there is no walk yet; press 'Watch' first")
        folder = self.store.new_file(session, "").parent
        path = service.write_film(folder, session.shown().picture, session.walked)
        return {"film": {"value": str(path)}, "gif": {"value": str(path), "visible": True}}
