"""Draw the pictures of `flip play` in docs/environment.md: python docs/images/play.py

Needs onnxruntime or torch for the rivals; opens no window.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from saving import save

from flipagents.compare.methods import make_method, run_method
from flipagents.compare.ours import Flip
from flipagents.serve.play import Game
from flipenv import COARSE, EnvConfig, EpisodePool
from flipenv.episode import mask_on_canvas

HERE = Path(__file__).parent
PHANTOM = "phantom:1?first=1000001"
SHOWN = 0.6  # of the walk, at which the first picture is taken


def main() -> None:
    """Write play.png beside this file: a step, and how the episode ended."""
    flip, contour = Flip(), make_method("contour")
    pool = EpisodePool(PHANTOM, EnvConfig(n_agents=1, cell_area=COARSE, traversals=1), cache=False)
    rivals = {"flip": lambda case: run_method(flip, [case])[0], "contour": lambda case: run_method(contour, [case])[0]}
    game = Game(pool, flip.scorer() or "contrast", rivals, seed=0)
    episode = pool.episode(0)
    # A hand that knows the nodule roughly: the ellipse of the box.
    rows, columns = np.mgrid[: game.case.image.shape[0], : game.case.image.shape[1]]
    box = game.case.box
    down = (rows + 0.5 - (box.top + box.bottom) / 2) / box.height
    across = (columns + 0.5 - (box.left + box.right) / 2) / box.width
    seen = mask_on_canvas(down**2 + across**2 < 0.25, episode.geometry, pool.config.canvas)
    frames = [game.render()]
    for at in episode.order[0]:
        if game.act(int(seen[episode.labels == at].mean() > 0.5)):
            break
        frames.append(game.render())
    save(Image.fromarray(np.concatenate([frames[int(SHOWN * len(frames))], game.render()])), HERE / "play.png")


if __name__ == "__main__":
    main()
