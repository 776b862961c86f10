"""The window of `flip play`: Gymnasium's, with one step for each press of a key."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from flipagents.serve.play import Game, Result
from flipenv.errors import FlipError
from flipenv.sources.extras import need

REPEAT = (400, 80)  # ms until a key that is held acts again, and between its further steps


def find_pygame() -> Any:
    """The package that opens the window; MissingDependencyError without it."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    return need("pygame", extra="render", purpose="flip play")


def show(game: Game, on_end: Callable[[Sequence[Result]], None]) -> None:
    """Play until the window is closed. on_end: called with the results of each episode.

    `gymnasium.utils.play.play` takes a step in each frame in which a key is down, so one press is several steps, and it
    starts the next episode before one has seen how this one ended. Its window is used, its loop is not.
    Raises MissingDependencyError without pygame, FlipError if no window can be opened.
    """
    pygame = find_pygame()
    gymnasium: Any = import_module("gymnasium.utils.play")  # itself needs pygame
    actions = {ord(key): action for (key,), action in game.keys.items()} | {pygame.K_RIGHT: 0}
    try:
        window = gymnasium.PlayableGame(game, {(key,): action for key, action in actions.items()})
        pygame.display.set_caption("Flip Learning")
        pygame.key.set_repeat(*REPEAT)
        _draw(pygame, gymnasium, window)
        while window.running:
            event = pygame.event.wait()
            window.process_event(event)
            if event.type == pygame.KEYDOWN and event.key in actions:
                if game.act(actions[event.key]):
                    on_end(game.results)
            elif event.type == pygame.KEYDOWN and event.key == pygame.K_r:
                game.again()
            elif event.type == pygame.KEYDOWN and event.key == pygame.K_n:
                game.another()
            _draw(pygame, gymnasium, window)
    except pygame.error as error:
        raise FlipError(f"cannot open a window ({error}); flip play needs a screen") from error
    finally:
        pygame.quit()


def _draw(pygame: Any, gymnasium: Any, window: Any) -> None:
    gymnasium.display_arr(window.screen, window.env.render(), video_size=window.video_size, transpose=True)
    pygame.display.flip()
