"""Walk over a phantom by a fixed rule, without learning: python examples/erase_a_phantom.py

The rule: erase the superpixel if the centre of the agent's window is darker than the window's median.
"""

from pathlib import Path

import numpy as np
from PIL import Image

import flipenv
from flipenv.pictures.film import write_gif

case = flipenv.open_source("phantom:1?first=38").load(0)
env = flipenv.parallel_env(case, seed=0, render_mode="rgb_array")
observations, infos = env.reset()
frames = [env.render()]
while env.agents:
    windows = [observations[agent][index - len(env.agents)] for index, agent in enumerate(env.agents)]  # latest frame
    erase = [int(window[28:36, 28:36].mean() < np.median(window)) for window in windows]
    observations, rewards, terminated, truncated, infos = env.step(dict(zip(env.agents, erase, strict=True)))
    frames.append(env.render())

Path("out").mkdir(exist_ok=True)
write_gif("out/episode.gif", frames)
Image.fromarray(env.mask()).save("out/mask.png")
box, ellipse = (flipenv.CHANNELS[name](case.image, case.box) for name in ("box", "ellipse"))
for name, mask in (("filled box", box > 0), ("inscribed ellipse", ellipse < 128), ("erased", env.mask())):
    print(f"Dice of {name}: {2 * (mask & case.mask).sum() / (mask.sum() + case.mask.sum()):.3f}")
