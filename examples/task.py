"""The task of the learning examples, small enough for one CPU core: erase what a rule takes for the nodule.

Training uses no masks: rewards come from the rule and the fall of the nodule score. On phantoms the rule takes the dark
part of the box, on patients' images (`--data data/busi`) a fitted boundary.
"""

import argparse
import dataclasses
from dataclasses import dataclass

import cv2
import numpy as np

import flipenv
from flipagents.maps.geometry import ellipse, filled_box
from flipagents.maps.rules import refined_prior
from flipagents.metrics import dice

OPTIONS = {
    "canvas": {"kind": "roi", "height": 48, "width": 48},
    "cell_area": 40.0,
    "window": 40,
    "frames": 2,
    "channels": ("superpixel",),
    "observation": "egocentric",  # each agent's own window comes first, so agents can share a policy
    "traversals": 1,
    "beta": None,
    "csr": "logit",
    "csr_weight": 0.5,
    "credit": "sequential",
    "idr_weight": 0.0,
    "prior_weight": 1.0,
}


@dataclass(frozen=True)
class Task:
    """Training cases, evaluation cases, and the environment's options."""

    cases: list
    unseen: list
    options: dict

    def but(self, **options):
        """The same task with other options of the environment."""
        return dataclasses.replace(self, options={**self.options, **options})

    def play(self, act):
        """Mean return and mean Dice on the unseen cases; act: observations (B, A, C, P, P) -> actions (B, A)."""
        batch = flipenv.Batch(self.unseen, len(self.unseen), cache=False, progress=False, **self.options)
        batch.reset(cases=range(len(self.unseen)))
        total = 0.0
        while not (batch.state.terminated | batch.state.truncated).all():
            actions = act(np.array(batch.observation()))
            total += float(batch.step(np.asarray(actions, np.int64)).reward.sum())
        overlap = [dice(batch.mask(lane), case.mask) for lane, case in enumerate(self.unseen)]
        return total / len(self.unseen), float(np.mean(overlap))

    def play_randomly(self, seed=0):
        rng = np.random.default_rng(seed)
        return self.play(lambda observations: rng.integers(0, 2, observations.shape[:2]))

    def report(self, name, act, seed=0):
        """Print return and Dice beside those of random actions and the Dice of the box; return both returns."""
        (learned, overlap), (random, random_overlap) = self.play(act), self.play_randomly(seed)
        alone = {
            shape.__name__: np.mean([dice(shape(case.box, case.image.shape), case.mask) for case in self.unseen])
            for shape in (filled_box, ellipse)
        }
        box_only = ", ".join(f"{shape} {value:.3f}" for shape, value in alone.items())
        print(f"{name}, {len(self.unseen)} unseen: return {learned:.2f}, random actions {random:.2f}")
        print(f"Dice {overlap:.3f}, random actions {random_overlap:.3f}; {box_only}")
        return learned, random


def phantoms(count=48, unseen=32, first_unseen=1000):
    """Small phantoms; the unseen ones have other seeds."""
    size = "height=96&width=128"
    texts = (f"phantom:{count}?{size}", f"phantom:{unseen}?first={first_unseen}&{size}")
    return make(*texts, dark, OPTIONS)


def busi(folder):
    """Train on BUSI's split train, evaluate on val; agents also see box and rule, and superpixels are finer."""
    options = {**OPTIONS, "channels": ("superpixel", "ellipse", "prior"), "cell_area": 20.0}
    return make(f"busi:{folder}?split=train", f"busi:{folder}?split=val", refined_prior, options)


def make(train, unseen, rule, options):
    """The task on two sources; rule(image, box) gives the map of the prior reward. Training cases lose their masks."""

    def load(text, **changes):
        source = flipenv.open_source(text)
        cases = map(source.load, range(len(source)))
        return [dataclasses.replace(case, prior=rule(case.image, case.box), **changes) for case in cases]

    return Task(load(train, mask=None), load(unseen), options)


def dark(image, box):
    """255 where the image is darker than Otsu's threshold in the box, else 0."""
    threshold, _ = cv2.threshold(np.ascontiguousarray(image[box.rows, box.columns]), 0, 255, cv2.THRESH_OTSU)
    return np.where(image <= threshold, 255, 0).astype(np.uint8)


def run(main, *kinds):
    """Call main(task, [one of kinds,] steps=, seed=) with the command line's options; steps has main's default."""
    parser = argparse.ArgumentParser()
    if kinds:
        parser.add_argument("kind", choices=kinds)
    parser.add_argument("--data", help="a BUSI folder; default: phantoms")
    parser.add_argument("--steps", type=int, help="training steps")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    length = {} if options.steps is None else {"steps": options.steps}
    task = phantoms() if options.data is None else busi(options.data)
    main(task, *([options.kind] if kinds else []), seed=options.seed, **length)
