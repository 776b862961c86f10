"""The pygame window of `render_mode='human'`."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from flipenv.errors import FlipError
from flipenv.sources.extras import need


class Window:
    """Shows frames; the first one opens it.

    After the user closes it, further frames are ignored and the episode continues. After `close`, the next frame opens
    it again. pygame has a single display, so a second Window draws over the first.
    """

    def __init__(self, title: str = "Flip Learning") -> None:
        self.title = title
        self._pygame: Any = None
        self._screen: Any = None
        self._dismissed = False

    @property
    def is_open(self) -> bool:
        """Whether the window is open."""
        return self._screen is not None

    def show(self, frame: npt.NDArray[np.uint8]) -> None:
        """Show a (h, w, 3) uint8 RGB frame and handle window events.

        Raises MissingDependencyError without pygame, FlipError if no window can be opened.
        """
        if self._dismissed:
            return
        if self._pygame is None:
            self._pygame = _pygame()
        size = (frame.shape[1], frame.shape[0])
        if self._screen is None or self._screen.get_size() != size:
            self._open(size)
        # pygame uses (x, y)
        self._pygame.surfarray.blit_array(self._screen, frame.swapaxes(0, 1))
        self._pygame.display.flip()
        if any(event.type == self._pygame.QUIT for event in self._pygame.event.get()):
            self.close()
            self._dismissed = True

    def close(self) -> None:
        """Close the window, if any."""
        if self._screen is not None:
            self._screen = None
            self._pygame.display.quit()
        self._dismissed = False

    def _open(self, size: tuple[int, int]) -> None:
        try:
            self._pygame.display.init()
            self._screen = self._pygame.display.set_mode(size)
            self._pygame.display.set_caption(self.title)
        except self._pygame.error as error:
            raise FlipError(f"cannot open a window ({error}); without a screen, use render_mode='rgb_array'") from error


def _pygame() -> Any:
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    return need("pygame", extra="render", purpose="render_mode='human'")
