"""The task of the learning examples, small enough for one CPU core: erase what is dark in the box of a phantom.

No mask is used. A rule says which pixels are dark; erasing pays what the rule and the falling nodule score say.
"""

import dataclasses

import cv2
import numpy as np

import flipenv

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
UNSEEN = 1000  # first seed of the phantoms that returns are measured on


def cases(count=48, first=0):
    """Phantoms with the picture that the prior reward reads: 255 where darker than Otsu's threshold in the box."""
    source = flipenv.open_source(f"phantom:{count}?first={first}&height=96&width=128")
    return [with_dark(source.load(index)) for index in range(count)]


def with_dark(case):
    inside = np.ascontiguousarray(case.image[case.box.rows, case.box.columns])
    threshold, _ = cv2.threshold(inside, 0, 255, cv2.THRESH_OTSU)
    return dataclasses.replace(case, prior=np.where(case.image <= threshold, 255, 0).astype(np.uint8))


def mean_return(act, **options):
    """Mean return of 32 unseen phantoms, summed over agents; act: what they see (B, A, C, P, P) -> actions (B, A)."""
    unseen = cases(32, UNSEEN)
    batch = flipenv.Batch(unseen, len(unseen), cache=False, progress=False, **{**OPTIONS, **options})
    batch.reset(cases=range(len(unseen)))
    total = 0.0
    while not (batch.state.terminated | batch.state.truncated).all():
        actions = act(np.array(batch.observation()))
        total += float(batch.step(np.asarray(actions, np.int64)).reward.sum())
    return total / len(unseen)


def random_return(seed=0, **options):
    chance = np.random.default_rng(seed)
    return mean_return(lambda seen: chance.integers(0, 2, seen.shape[:2]), **options)


def report(name, act, seed=0, **options):
    """Print and return the mean return of what was learnt, and that of random actions."""
    learnt, random = mean_return(act, **options), random_return(seed, **options)
    print(f"{name}: return {learnt:.2f} on unseen phantoms, random actions {random:.2f}")
    return learnt, random
