"""The task of the learning examples, small enough for one CPU core: erase what a rule takes for the nodule.

No mask is used to learn; erasing pays what the rule and the falling nodule score say. The nodules are phantoms, where
what is dark in the box is erased, or with `--data data/busi` patients', where a boundary is fitted.
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
    "observation": "egocentric",  # each agent sees its own window first, so one policy can serve all
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
    """Cases to learn on, cases to measure on, and the environment's options."""

    cases: list
    unseen: list
    options: dict

    def but(self, **options):
        """The same with other options of the environment."""
        return dataclasses.replace(self, options={**self.options, **options})

    def play(self, act):
        """Mean return and mean Dice on the unseen cases; act: what agents see (B, A, C, P, P) -> actions (B, A)."""
        batch = flipenv.Batch(self.unseen, len(self.unseen), cache=False, progress=False, **self.options)
        batch.reset(cases=range(len(self.unseen)))
        total = 0.0
        while not (batch.state.terminated | batch.state.truncated).all():
            actions = act(np.array(batch.observation()))
            total += float(batch.step(np.asarray(actions, np.int64)).reward.sum())
        overlap = [dice(batch.mask(lane), case.mask) for lane, case in enumerate(self.unseen)]
        return total / len(self.unseen), float(np.mean(overlap))

    def play_randomly(self, seed=0):
        chance = np.random.default_rng(seed)
        return self.play(lambda seen: chance.integers(0, 2, seen.shape[:2]))

    def report(self, name, act, seed=0):
        """Print how good it is beside random actions and what the box alone says; return both returns."""
        (learnt, overlap), (random, least) = self.play(act), self.play_randomly(seed)
        alone = {
            of.__name__: np.mean([dice(of(case.box, case.image.shape), case.mask) for case in self.unseen])
            for of in (filled_box, ellipse)
        }
        told = ", ".join(f"{name} {value:.3f}" for name, value in alone.items())
        print(f"{name}, {len(self.unseen)} unseen: return {learnt:.2f}, of random actions {random:.2f}")
        print(f"Dice {overlap:.3f}, of random actions {least:.3f}; {told}")
        return learnt, random


def phantoms(count=48, unseen=32, first_unseen=1000):
    """Small phantoms, those to measure on from other seeds."""
    size = "height=96&width=128"
    texts = (f"phantom:{count}?{size}", f"phantom:{unseen}?first={first_unseen}&{size}")
    return make(*texts, dark, OPTIONS)


def busi(folder):
    """Learn on BUSI's split train, measure on val; agents see box and rule, and superpixels are finer."""
    options = {**OPTIONS, "channels": ("superpixel", "ellipse", "prior"), "cell_area": 20.0}
    return make(f"busi:{folder}?split=train", f"busi:{folder}?split=val", refined_prior, options)


def make(train, unseen, rule, options):
    """The task on two sources; rule(image, box) is the picture that the prior reward reads. Masks are for measuring."""

    def load(text, **changes):
        source = flipenv.open_source(text)
        cases = map(source.load, range(len(source)))
        return [dataclasses.replace(case, prior=rule(case.image, case.box), **changes) for case in cases]

    return Task(load(train, mask=None), load(unseen), options)


def dark(image, box):
    """255 where darker than Otsu's threshold of the box."""
    threshold, _ = cv2.threshold(np.ascontiguousarray(image[box.rows, box.columns]), 0, 255, cv2.THRESH_OTSU)
    return np.where(image <= threshold, 255, 0).astype(np.uint8)


def run(main, *kinds):
    """Call main(task, [one of kinds,] steps=, seed=) as the command line says; without --steps as it does by itself."""
    parser = argparse.ArgumentParser()
    if kinds:
        parser.add_argument("kind", choices=kinds)
    parser.add_argument("--data", help="a BUSI folder; phantoms without it")
    parser.add_argument("--steps", type=int, help="of learning")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    length = {} if options.steps is None else {"steps": options.steps}
    task = phantoms() if options.data is None else busi(options.data)
    main(task, *([options.kind] if kinds else []), seed=options.seed, **length)
