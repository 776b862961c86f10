"""Draw the figures of the documentation, on phantoms: python docs/images/make.py"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

import flipenv
from flipenv.episode import mask_on_canvas, prepare
from flipenv.pictures.film import write_gif
from flipenv.pictures.render import BACKDROP, BOX, ERASED, TEXT, Scene, draw
from flipenv.pictures.viewer import Viewer

HERE = Path(__file__).parent
LOBED = 38  # seed of a phantom with room beside its box; the contrast scorer's tag flips on it
WIDE = 21  # seed of a phantom with less than its box's width on either side
SCALE = 2  # figure px per canvas px
GAP = 12  # px
TITLE = 22  # px above each tile

Rgb = npt.NDArray[np.uint8]


def main() -> None:
    """Write both figures beside this file."""
    episode_film(HERE / "episode.gif")
    parts_sheet(HERE / "parts.png")


def episode_film(path: Path) -> None:
    """One traversal of two agents that erase every superpixel more than half nodule by the phantom's mask."""
    case = phantom(LOBED)
    batch = flipenv.Batch(case, traversals=1, cache=False)
    viewer = Viewer(batch, "rgb_array")
    batch.reset()
    episode = batch.pool.episode(0)
    truth = mask_on_canvas(case.mask, episode.geometry, batch.config.canvas)
    inside = episode.labels >= 0
    pixels = np.bincount(episode.labels[inside])
    erase = np.bincount(episode.labels[inside], truth[inside]) > pixels / 2
    dices: list[float] = []

    def frame() -> Rgb:
        viewer.record()
        erased = batch.erased()[0]
        dices.append(float(2 * (erased & truth).sum() / (erased.sum() + truth.sum())))
        scene: Scene = dataclasses.replace(viewer.scene(), truth=truth, dices=list(dices))
        return draw(scene, scale=3)

    frames = [frame()]
    while not (batch.state.terminated[0] or batch.state.truncated[0]):
        batch.step(erase[batch.state.here].astype(np.int64))
        frames.append(frame())
    write_gif(path, frames, fps=8, hold=4)
    print(f"{path.name}: {len(pixels)} superpixels, {len(frames) - 1} steps, Dice on the canvas {dices[-1]:.2f}")


def parts_sheet(path: Path) -> None:
    """Backgrounds with much and with little room beside the box; superpixels by method and size."""
    rows = []
    for seed, about in ((LOBED, "image and box, room beside it"), (WIDE, "image and box, little room")):
        case = phantom(seed)
        tiles = [tile(prepare(case, flipenv.EnvConfig()).image, about, case)]
        for name in ("eq1", "mirror", "inpaint"):
            painted = prepare(case, flipenv.EnvConfig(background=name)).background
            tiles += [tile(painted, f"background={name!r}", case)]
        rows.append(np.hstack(tiles))
    tiles = []
    for name, area in (
        ("seeds", flipenv.FINE),
        ("seeds", flipenv.COARSE),
        ("slic", flipenv.FINE),
        ("grid", flipenv.FINE),
    ):
        episode = prepare(phantom(LOBED), flipenv.EnvConfig(superpixels=name, cell_area=area))
        title = f"{name!r}, {area:g} px a cell: {episode.n_superpixels} cells"
        tiles.append(tile(episode.image, title, phantom(LOBED), episode.labels))
    sheet = np.vstack([*rows, np.hstack(tiles)])
    Image.fromarray(sheet).quantize(128).save(path, optimize=True)


def tile(
    canvas: npt.NDArray[np.uint8], title: str, case: flipenv.Case, labels: npt.NDArray[np.int16] | None = None
) -> Rgb:
    """A canvas with its box, or with the outlines of its superpixels, under a title."""
    picture = cv2.resize(
        np.repeat(canvas[..., None], 3, axis=2), None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_NEAREST
    )
    if labels is None:
        box = prepare(case, flipenv.EnvConfig()).box
        corners = (box.left * SCALE, box.top * SCALE), (box.right * SCALE - 1, box.bottom * SCALE - 1)
        cv2.rectangle(picture, *corners, BOX, 1)
    else:
        large = cv2.resize(labels, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_NEAREST)
        edges = np.zeros(large.shape, bool)
        edges[1:] = large[1:] != large[:-1]
        edges[:, 1:] |= large[:, 1:] != large[:, :-1]
        picture[edges] = ERASED
    frame = np.full((picture.shape[0] + TITLE + GAP, picture.shape[1] + GAP, 3), BACKDROP, np.uint8)
    frame[TITLE : TITLE + picture.shape[0], GAP // 2 : GAP // 2 + picture.shape[1]] = picture
    cv2.putText(frame, title, (GAP // 2, TITLE - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, TEXT, 1, cv2.LINE_AA)
    return frame


def phantom(seed: int) -> flipenv.Case:
    """The phantom with this seed."""
    return flipenv.open_source(f"phantom:1?first={seed}").load(0)


if __name__ == "__main__":
    main()
