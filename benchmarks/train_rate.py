"""Joint steps and updates per second of training, and where the time goes.

    python benchmarks/train_rate.py                                     # our preset, on the CPU and a GPU if present
    python benchmarks/train_rate.py --source "busi:PATH?split=train"
    python benchmarks/train_rate.py --preset paper --device cuda        # ResNet18 for agents and classifier
    python benchmarks/train_rate.py --preset paper --device cpu --lanes 16 --repeats 1    # takes minutes
    python benchmarks/train_rate.py --set updates_per_step=0.03125 batch_size=256         # any learner option

A joint step is one step of one lane, in which all agents act; lanes waiting for a reset do not count. Everything in
training is included except preparing episodes, which happens once (see benchmarks/prepare.py). Lanes start spread over
their walks, as later in training, and updates start at once; epsilon stays at its initial value. `small` uses the
shipped classifier, `paper` an untrained one; ellipses replace the coarse masks in stage 2.

Rates are medians over repeats. Shares come from a further repeat that times each part; on a GPU this synchronises
before and after each part, so it is slower and its rate is not used.

`times paper`: training took about 1.5 days (section 3) for what we estimate as 23 million joint steps, 177 per second.
Our target on one H100 is 20,000.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from step_rate import machine, one_line, save

PAPER = 23e6 / (1.5 * 24 * 3600)  # joint steps per second
PARTS = (  # columns of the table of shares
    "classifier",
    "acting",
    "updates: forward",
    "updates: backward, optimiser",
    "environment: step",
    "environment: reset",
    "environment: observation",
    "replay: add",
    "replay: sample",
    "rest",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="phantom:64")
    parser.add_argument("--preset", nargs="+", default=["small"], help="small, paper")
    parser.add_argument("--stage", type=int, nargs="+", default=[1, 2], choices=(1, 2))
    parser.add_argument("--lanes", type=int, nargs="+", help="default: the preset's, and 128")
    parser.add_argument("--device", nargs="+", help="cpu, cuda; default: all available")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads of torch and OpenCV")
    parser.add_argument("--seconds", type=float, default=10.0, help="minimum length of a repeat")
    parser.add_argument("--repeats", type=int, default=5, help="timed repeats, summarised by median and IQR")
    parser.add_argument("--set", nargs="+", default=[], metavar="OPTION=JSON", help="changes to the learner's config")
    parser.add_argument("--autocast", action="store_true", help="bfloat16 for agents and classifier")
    parser.add_argument("--quick", action="store_true", help="smoke test: few lanes, one short repeat")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/train_rate"))
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", str(options.threads))
    rows = measure(options)
    about = {**machine(options), "source": options.source, "set": options.set, "autocast": options.autocast}
    save(options.out, rows, about, table(rows, about))


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    import cv2
    import torch

    from flipagents.train.presets import presets

    torch.set_num_threads(options.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    cv2.setNumThreads(options.threads)
    devices = options.device or ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    options.device = devices[-1]  # named in the results
    if options.quick:
        options.source, options.lanes, options.seconds, options.repeats = "phantom:4", [4], 0.1, 1
    rows = []
    for name in options.preset:
        for stage in options.stage:
            pool = episodes(options.source, presets()[name], stage)
            for device in devices:
                for lanes in options.lanes or (presets()[name].learner.lanes, 128):
                    rates = rate(make_learner(name, pool, lanes, device, options), options)
                    rows.append({"preset": name, "stage": stage, "device": device, "lanes": lanes, **rates})
                    print(rows[-1], flush=True)
    return rows


def episodes(source: str, preset: Any, stage: int) -> Any:
    """The training pool of a stage of the preset, with ellipses in place of the masks of stage 1."""
    import flipenv
    from flipagents.maps.enriched import Enriched
    from flipagents.maps.geometry import ellipse
    from flipagents.segment.loading import find_prior
    from flipagents.store.checkpoint import SHIPPED

    opened = flipenv.open_source(source)
    cases = [opened.load(index) for index in range(len(opened))]
    prior = find_prior(preset.recipe.prior, SHIPPED)
    priors = None if prior is None else [prior(case.image, case.box) for case in cases]
    coarse = [ellipse(case.box, case.image.shape) for case in cases] if stage == 2 else None
    return flipenv.EpisodePool(Enriched(opened, priors, coarse), preset.env[stage - 1])


def make_learner(name: str, pool: Any, lanes: int, device: str, options: argparse.Namespace) -> Any:
    """A learner past its warm-up, its lanes spread over their walks."""
    import torch

    from flipagents.learn.learner import Learner
    from flipagents.train.presets import presets

    changes = {key: json.loads(value) for key, _, value in (each.partition("=") for each in options.set)}
    own = presets()[name].learner
    config = own.replace(**{"lanes": lanes, "device": device, "autocast": options.autocast, "epochs": 10**6, **changes})
    config = config.replace(warmup=min(config.batch_size, config.replay))
    scorer = classifier(name).scorer(device, autocast=options.autocast)
    learner = Learner(pool, config, scorer=scorer, progress=False)
    batch = learner.batch
    batch.reset()
    walk = pool.config.traversals * batch.episodes.steps
    draws = torch.rand(lanes, generator=torch.Generator().manual_seed(0)).to(device)
    batch.state = replace(batch.state, step=(draws * walk).to(batch.state.step.dtype))
    while learner.agent.updates < 2:  # also warms up all kernels
        learner._step()
    return learner


def classifier(name: str) -> Any:
    import torch

    from flipagents.classify.classifier import NETWORKS, Classifier
    from flipagents.store.checkpoint import SHIPPED
    from flipagents.train.presets import presets

    if name == "small":
        return Classifier.load(SHIPPED / "classifier" / "classifier")
    torch.manual_seed(0)
    config = presets()[name].classifier
    return Classifier(NETWORKS[config.network](), config)


def rate(learner: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Rates over the repeats, and shares from one more."""
    repeats = [run(learner, options.seconds) for _ in range(options.repeats)]
    steps = [each["steps"] for each in repeats]
    quartiles = statistics.quantiles(steps, n=4) if len(steps) > 1 else steps * 3
    watch, before = Stopwatch(learner.config.device), learner.steps
    with watch.on(learner):
        run(learner, options.seconds)
    whole = sum(watch.seconds.values())
    return {
        "steps_per_s": statistics.median(steps),
        "iqr": [quartiles[0], quartiles[2]],
        "updates_per_s": statistics.median(each["updates"] for each in repeats),
        "times_paper": statistics.median(steps) / PAPER,
        "canvases_per_step": watch.canvases / (learner.steps - before),
        "shares": {part: watch.seconds[part] / whole for part in PARTS},
    }


def run(learner: Any, seconds: float) -> dict[str, float]:
    """Joint steps and updates per second; each step waits for the device."""
    start, steps, updates = time.perf_counter(), learner.steps, learner.agent.updates
    passed = 0.0
    while passed < seconds or learner.steps == steps:
        learner._step()
        passed = time.perf_counter() - start
    return {"steps": (learner.steps - steps) / passed, "updates": (learner.agent.updates - updates) / passed}


class Stopwatch:
    """Splits a learner's time among `PARTS`; time in a nested part counts only there."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.seconds: Counter[str] = Counter()
        self.canvases = 0  # scored by the classifier
        self.open: list[str] = []
        self.since = 0.0

    @contextmanager
    def on(self, learner: Any) -> Iterator[None]:
        """Time the parts of this learner inside the block."""
        agent, batch, scorer = learner.agent, learner.batch, learner.batch.scorer
        update = "updates: backward, optimiser"

        def counted(canvases: Any) -> Any:
            self.canvases += len(canvases)
            return scorer(canvases)

        with ExitStack() as patches:

            def time_part(part: str, owner: Any, name: str, inside: str | None = None) -> None:
                patches.enter_context(patch.object(owner, name, self.timed(part, getattr(owner, name), inside)))

            patches.enter_context(patch.object(batch, "scorer", counted))
            time_part("classifier", batch, "scorer")
            time_part("acting", agent, "values")
            time_part(update, agent, "update")
            time_part("updates: forward", agent.online, "forward", update)
            time_part("updates: forward", agent.target, "forward", update)
            for name in ("step", "reset", "observation"):
                time_part(f"environment: {name}", batch, name)
            time_part("replay: add", agent, "observe")
            time_part("replay: sample", agent.replay, "sample")
            time_part("rest", learner, "_step")
            yield

    def timed(self, part: str, function: Callable[..., Any], inside: str | None) -> Callable[..., Any]:
        """The function, timed; inside: only when called within this part."""

        def call(*arguments: Any, **options: Any) -> Any:
            if inside not in (None, *self.open):
                return function(*arguments, **options)
            self._lap()
            self.open.append(part)
            try:
                return function(*arguments, **options)
            finally:
                self._lap()
                self.open.pop()

        return call

    def _lap(self) -> None:
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.synchronize()
        now = time.perf_counter()
        if self.open:
            self.seconds[self.open[-1]] += now - self.since
        self.since = now


def table(rows: list[dict[str, Any]], about: dict[str, Any]) -> str:
    lines = [
        "| preset | stage | device | lanes | joint steps/s | IQR | times paper | updates/s | canvases scored a step |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    shares = [f"| preset | stage | device | lanes | {' | '.join(PARTS)} |", "|---" * (4 + len(PARTS)) + "|"]
    for each in rows:
        which = f"| {each['preset']} | {each['stage']} | {each['device']} | {each['lanes']} |"
        low, high = each["iqr"]
        lines.append(
            f"{which} {each['steps_per_s']:,.1f} | {low:,.1f}-{high:,.1f} | {each['times_paper']:.2f} "
            f"| {each['updates_per_s']:,.1f} | {each['canvases_per_step']:.2f} |"
        )
        shares.append(f"{which} {' | '.join(f'{share:.1%}' for share in each['shares'].values())} |")
    return "\n".join([*lines, "\nShares of the time:\n", *shares, f"\n{one_line(about)}\n"])


if __name__ == "__main__":
    main()
