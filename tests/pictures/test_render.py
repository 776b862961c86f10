"""Pictures of an episode, their files and the window."""

from __future__ import annotations

import dataclasses
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from flipenv.errors import BoxError, ConfigError, FlipError, ImageError, MaskError, MissingDependencyError
from flipenv.pictures import render
from flipenv.pictures.film import write_gif, write_mp4
from flipenv.pictures.render import AGENTS, ERASED, MARGIN, SCORE, TRUTH, Scene, draw, overlay
from flipenv.pictures.window import Window
from flipenv.types import Box

CELL = 6  # px, side of a superpixel in the scenes below


def a_scene(height=40, width=56, agents=2, step=3, **changes):
    """An asymmetric scene: a grid of superpixels in a box right of the middle, one superpixel erased a step."""
    rng = np.random.default_rng(height)
    image = rng.integers(40, 200, (height, width), dtype=np.uint8)
    box = Box(2, width // 3, 2 + height // 2, width // 3 + width // 2)
    rows, columns = np.mgrid[:height, :width]
    across = -(-box.width // CELL)
    labels = ((rows - box.top) // CELL * across + (columns - box.left) // CELL).astype(np.int16)
    labels[(rows < box.top) | (rows >= box.bottom) | (columns < box.left) | (columns >= box.right)] = -1
    erased = (labels >= 0) & (labels < step)
    cursors = np.array([(step + agent) % (labels.max() + 1) for agent in range(agents)])
    values = {
        "image": image,
        "canvas": np.where(erased, 255 - image, image),
        "labels": labels,
        "erased": erased,
        "box": box,
        "area": box,
        "cursors": cursors,
        "centers": np.array([np.argwhere(labels == cursor).mean(0) for cursor in cursors]).astype(int),
        "window": 16,
        "score": 0.9 - 0.1 * step,
        "step": step,
        "steps": 8,
        "scores": [0.9 - 0.1 * past for past in range(1, step + 1)],
        "areas": [0.05 * past for past in range(1, step + 1)],
    }
    return Scene(**{**values, **changes})


def image_panel(frame, scene, scale):
    top = (frame.shape[0] - scene.image.shape[0] * scale) // 2
    return frame[top : top + scene.image.shape[0] * scale, MARGIN : MARGIN + scene.image.shape[1] * scale]


def count(picture, colour):
    return int(np.sum(np.all(picture == colour, axis=-1)))


def small_frames(number=4, height=21, width=35):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (height, width, 3), dtype=np.uint8) for _ in range(number)]


@pytest.mark.parametrize(("height", "width"), [(128, 128), (320, 448), (448, 200), (16, 24), (24, 16)])
@pytest.mark.parametrize("agents", [1, 2, 4])
def test_frames_of_an_episode_have_one_even_size(height, width, agents):
    frames = [draw(a_scene(height, width, agents, step)) for step in (0, 1, 8)]
    assert {(frame.shape, frame.dtype.name) for frame in frames} == {(frames[0].shape, "uint8")}
    assert frames[0].shape[2] == 3
    assert frames[0].shape[0] % 2 == frames[0].shape[1] % 2 == 0
    assert not np.array_equal(frames[0], frames[1])


def test_size_follows_scale_not_the_optional_parts():
    scene = a_scene()
    plain = draw(scene, scale=3)
    full = draw(
        dataclasses.replace(
            scene, truth=scene.erased, dices=[0.1, 0.5, 1.0], area=Box(0, 0, 40, 56), score=float("nan")
        ),
        scale=3,
    )
    assert plain.shape == full.shape
    assert draw(scene, scale=9).shape[1] - plain.shape[1] == 6 * 56


def test_draw_is_pure():
    scene = a_scene(truth=np.eye(40, 56, dtype=bool), dices=[0.1, 0.2, 0.3])
    for value in vars(scene).values():
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
    before = {name: np.array(value) for name, value in vars(scene).items()}
    assert np.array_equal(draw(scene), draw(scene))
    for name, value in vars(scene).items():
        assert np.array_equal(before[name], value), name


@pytest.mark.parametrize("scale", [1, 2, 5])
def test_erased_pixels_change_and_no_others(scale):
    far = {"cursors": np.array([14]), "centers": np.array([[18, 44]]), "window": 8}
    scene = a_scene(step=3, **far)
    bare = dataclasses.replace(scene, erased=np.zeros_like(scene.erased))
    changed = image_panel(draw(scene, scale), scene, scale) != image_panel(draw(bare, scale), scene, scale)
    erased = scene.erased.repeat(scale, 0).repeat(scale, 1)
    assert not changed[~erased].any()
    # The box's outline lies on top of the outermost erased pixels.
    inside = np.zeros_like(erased)
    inside[scene.box.top * scale + 2 :, scene.box.left * scale + 2 :] = True
    assert changed[erased & inside].any(axis=-1).all()


def test_image_panel_shows_the_canvas_not_the_image():
    scene = a_scene(step=3, agents=1)
    outside = (slice(-8, None), slice(0, 10))
    canvas = scene.canvas.copy()
    canvas[outside] = 7
    panel = image_panel(draw(dataclasses.replace(scene, canvas=canvas), 1), scene, 1)
    assert (panel[outside] == 7).all()


@pytest.mark.parametrize("agents", [1, 2, 4])
def test_each_agent_has_its_colour(agents):
    scene = a_scene(agents=agents)
    panel = image_panel(draw(scene, 4), scene, 4)
    for index, colour in enumerate(AGENTS):
        assert (count(panel, colour) > 100) == (index < agents), index


def test_agents_on_one_superpixel_are_outlined_inside_each_other():
    scene = a_scene(agents=1)
    together = dataclasses.replace(
        scene, cursors=scene.cursors.repeat(4), centers=scene.centers.repeat(4, axis=0), erased=scene.labels < -1
    )
    here = (scene.labels == scene.cursors[0]).repeat(4, 0).repeat(4, 1)
    inside = image_panel(draw(together, 4), scene, 4)[here]
    counts = [count(inside, colour) for colour in AGENTS]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] > 0
    assert len(set(counts)) == 4


def test_superpixel_of_an_agent_is_outlined_in_its_colour():
    scene = a_scene(agents=1, step=4)
    panel = image_panel(draw(scene, 4), scene, 4)
    here = (scene.labels == scene.cursors[0]).repeat(4, 0).repeat(4, 1)
    rows, columns = np.nonzero(here)
    assert (panel[rows.min(), columns.min() : columns.max() + 1] == AGENTS[0]).all()
    assert count(panel[rows.min() + 6 : rows.max() - 5, columns.min() + 6 : columns.max() - 5], AGENTS[0]) == 0


def test_windows_may_leave_the_canvas_and_one_superpixel_is_enough():
    labels = np.full((16, 24), -1, np.int16)
    labels[0:3, 20:24] = 0
    scene = a_scene(
        16,
        24,
        labels=labels,
        erased=labels == 0,
        cursors=np.array([0, 0]),
        centers=np.array([[0, 23], [0, 23]]),
        window=64,
        steps=1,
        step=1,
    )
    assert count(image_panel(draw(scene), scene, 23), AGENTS[0]) > 0


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (0.83, ["step 3/8", "score 0.83", "nodule"]),
        (0.5, ["step 3/8", "score 0.50", "nodule"]),
        (0.496, ["step 3/8", "score 0.50", "normal tissue"]),
        (float("nan"), ["step 3/8", "no scorer"]),
    ],
)
def test_status_line(monkeypatch, score, words):
    written = []
    put = cv2.putText
    monkeypatch.setattr(cv2, "putText", lambda picture, text, *rest: (written.append(text), put(picture, text, *rest)))
    draw(a_scene(score=score))
    start = written.index(words[0])
    assert written[start : start + len(words)] == words


def test_curves_are_drawn_up_to_now():
    def pixels(**changes):
        frame = draw(a_scene(**changes), 1)
        side = frame[70:200, 56 + 2 * MARGIN + 62 :]  # the chart below its own legend
        return [count(side, colour) for colour in (SCORE, ERASED, TRUTH)]

    early, late = pixels(step=2), pixels(step=7)
    assert late[0] > early[0] > 0
    assert late[1] > early[1] > 0
    assert late[2] == 0
    assert pixels(step=7, dices=[0.1 * past for past in range(7)])[2] > 0
    assert pixels(step=7, score=float("nan"), scores=[float("nan")] * 7)[0] == 0


def test_a_series_may_hold_the_value_before_the_first_step():
    steps_only = draw(a_scene(step=1, scores=[0.8], areas=[0.1]))
    with_start = draw(a_scene(step=1, scores=[0.9, 0.8], areas=[0.0, 0.1]))
    assert count(with_start, SCORE) > count(steps_only, SCORE)
    draw(a_scene(step=0, scores=[], areas=[]))


@pytest.mark.parametrize("scale", [0, -1, 1.5])
def test_scale_is_checked(scale):
    with pytest.raises(ConfigError, match="scale="):
        draw(a_scene(), scale)


def test_scene_is_checked():
    with pytest.raises(MaskError, match="erased has shape"):
        a_scene(erased=np.zeros((40, 57), bool))
    with pytest.raises(MaskError, match="canvas has dtype float64"):
        a_scene(canvas=np.zeros((40, 56)))


def test_overlay_tints_the_mask_alone():
    scene = a_scene()
    picture = overlay(scene.image, scene.erased)
    grey = np.repeat(scene.image[..., None], 3, axis=2)
    assert np.array_equal(picture[~scene.erased], grey[~scene.erased])
    assert (picture[scene.erased] != grey[scene.erased]).any(axis=-1).all()
    assert np.array_equal(overlay(scene.image, np.zeros_like(scene.erased)), grey)


def test_overlay_draws_box_and_truth():
    image = np.full((40, 56), 100, np.uint8)
    truth = np.zeros((40, 56), bool)
    truth[10:25, 12:40] = True
    picture = overlay(image, np.zeros_like(truth), box=(5, 6, 30, 50), truth=truth)
    assert (picture[5, 6:50] == 255).all()
    assert (picture[29, 6:50] == 255).all()
    assert (picture[5:30, 6] == 255).all()
    assert (picture[5:30, 49] == 255).all()
    assert (picture[:5] == 100).all()
    dashes = np.abs(picture[10, 12:40].astype(int) - TRUTH).max(axis=-1) < 30
    assert 0 < dashes.sum() < dashes.size
    assert (image == 100).all()
    with pytest.raises(BoxError):
        overlay(image, truth, box=(5, 6, 41, 50))
    with pytest.raises(MaskError, match="truth"):
        overlay(image, truth, truth=truth[:-1])


def test_gif_has_every_frame_and_holds_the_last(tmp_path):
    frames = small_frames()
    write_gif(tmp_path / "episode.gif", frames, fps=8, hold=1.5)
    with Image.open(tmp_path / "episode.gif") as gif:
        assert gif.n_frames == 4
        assert gif.size == (35, 21)
        assert gif.info["loop"] == 0
        durations = []
        for index in range(4):
            gif.seek(index)
            durations.append(gif.info["duration"])
    assert durations == [120, 120, 120, 1500]
    assert [path.name for path in tmp_path.iterdir()] == ["episode.gif"]


def test_gif_keeps_the_colours(tmp_path):
    frames = [draw(a_scene(128, 128, step=step, agents=4)) for step in (1, 8)]
    write_gif(tmp_path / "episode.gif", iter(frames))
    with Image.open(tmp_path / "episode.gif") as gif:
        for index, frame in enumerate(frames):
            gif.seek(index)
            error = np.abs(np.asarray(gif.convert("RGB")).astype(int) - frame)
            assert error.mean() < 4
            for colour in (*AGENTS, ERASED, SCORE):
                assert error[np.all(frame == colour, axis=-1)].max() <= 6


def test_mp4_has_every_frame_in_order_and_colour(tmp_path):
    frames = [np.full((21, 35, 3), (200, 10 + 40 * index, 20), np.uint8) for index in range(5)]
    write_mp4(tmp_path / "episode.mp4", frames, fps=12)
    video = cv2.VideoCapture(str(tmp_path / "episode.mp4"))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(12)
    read = []
    while (answer := video.read())[0]:
        read.append(answer[1][..., ::-1])
    video.release()
    assert [picture.shape for picture in read] == [(22, 36, 3)] * 5
    for frame, picture in zip(frames, read, strict=True):
        assert np.abs(picture.astype(int) - frame[0, 0]).max() < 12
    assert [path.name for path in tmp_path.iterdir()] == ["episode.mp4"]


@pytest.mark.parametrize(("write", "name"), [(write_gif, "episode.gif"), (write_mp4, "episode.mp4")])
def test_bad_frames_are_refused_and_nothing_is_written(tmp_path, write, name):
    good, path = small_frames(2), tmp_path / name
    for frames, message in (
        ([], "no frames"),
        ([*good, good[0][:-1]], r"frame 2 is \(20, 35, 3\)"),
        ([good[0][..., 0]], r"frame 0 is \(21, 35\)"),
        ([good[0].astype(float)], "float64"),
    ):
        with pytest.raises(ImageError, match=message):
            write(path, frames)
    with pytest.raises(ConfigError, match="fps=0"):
        write(path, good, fps=0)
    assert not list(tmp_path.iterdir())


def test_an_mp4_is_known_by_its_name(tmp_path):
    with pytest.raises(ConfigError, match=r"episode\.avi: expected a name ending in \.mp4"):
        write_mp4(tmp_path / "episode.avi", small_frames(2))


def test_failing_gif_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "episode.gif"
    path.write_bytes(b"old")

    def half_a_save(self, target, **options):
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", half_a_save)
    with pytest.raises(OSError, match="disk full"):
        write_gif(path, small_frames())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


class Writer:
    """A video writer that opens or not, and loses frames without a word as OpenCV's does on a full disk."""

    opens = True
    fourcc = staticmethod(cv2.VideoWriter.fourcc)

    def __init__(self, path, *_):
        with open(path, "wb") as file:
            file.write(b"half")

    def isOpened(self):
        return self.opens

    def write(self, frame):
        pass

    def release(self):
        pass


@pytest.mark.parametrize(("opens", "error"), [(True, OSError), (False, MissingDependencyError)])
def test_failing_mp4_leaves_the_old_file(tmp_path, monkeypatch, opens, error):
    path = tmp_path / "episode.mp4"
    path.write_bytes(b"old")
    monkeypatch.setattr(render.cv2, "VideoWriter", type("Writer", (Writer,), {"opens": opens}))
    with pytest.raises(error, match="0 of 4 frames" if opens else "mp4v"):
        write_mp4(path, small_frames())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def pygame(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    return pytest.importorskip("pygame")


def test_window_shows_frames_and_closes_twice(pygame):
    window = Window()
    assert not window.is_open
    frame = small_frames(1)[0]
    for _ in range(2):
        window.show(frame)
        assert window.is_open
        shown = pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)
        assert np.array_equal(shown, frame)
        window.show(frame.repeat(2, axis=0))
        assert pygame.display.get_surface().get_size() == (35, 42)
        window.close()
        window.close()
        assert not window.is_open
        assert not pygame.display.get_init()


def test_user_may_close_the_window(pygame):
    window = Window()
    frame = small_frames(1)[0]
    window.show(frame)
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    for _ in range(3):
        window.show(frame)
    assert not window.is_open
    window.close()
    window.show(frame)
    assert window.is_open
    window.close()


def test_window_without_a_screen_says_so(pygame, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "no such driver")
    window = Window()
    with pytest.raises(FlipError, match="rgb_array"):
        window.show(small_frames(1)[0])
    window.close()


def test_window_without_pygame_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    window = Window()
    with pytest.raises(MissingDependencyError, match=r"pip install flip-learning\[render\]"):
        window.show(small_frames(1)[0])
    window.close()
