"""`flip play`: the environment by hand."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

# What a command needs is imported where it runs: `flip --help` must not wait for torch, nor for OpenCV.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    from flipagents.serve.play import Segment
    from flipenv.scorer import Scorer

CELL_AREA = 160.0  # canvas px²; flipenv.COARSE, which only costs too much to import here
PHANTOMS = "phantom:1000?first=1000000"  # seeds not used for training


def play(options: argparse.Namespace) -> int:
    """Play the environment: erase the nodule by keys, then see what the trained pipeline does on the same case."""
    from flipagents.cli.inputs import source_text
    from flipagents.serve.play import Game, told
    from flipagents.serve.play_window import find_pygame, show
    from flipenv.config import EnvConfig
    from flipenv.pool import EpisodePool
    from flipenv.sources import open_source

    find_pygame()
    config = EnvConfig(n_agents=options.agents, cell_area=options.cell_area, traversals=1)
    pool = EpisodePool(open_source(source_text(options.data)), config, cache=False)
    scorer, rivals = _trained(options)
    game = Game(pool, scorer, rivals, options.seed)
    show(game, lambda results: print(f"{game.case.id}\n{told(results)}\n", flush=True))
    return 0


def _trained(options: argparse.Namespace) -> tuple[Scorer | str, dict[str, Segment]]:
    """The pipeline's classifier and its methods; without a library to run them the contrast, and none."""
    from flipagents.compare.methods import Method, default_method, make_method, run_method
    from flipagents.compare.ours import Flip
    from flipenv.errors import MissingDependencyError

    def alone(method: Method) -> Segment:
        return lambda case: run_method(method, [case])[0]

    best, scorer = default_method(options.weights), None
    methods: dict[str, Method] = {}
    try:
        if best != "flip+student":  # else there are no agents
            flip = Flip(options.weights, runtime=options.runtime)
            scorer, methods = flip.scorer(), {"flip": flip}
        if best != "flip":
            methods[best] = make_method(best, options.weights, runtime=options.runtime)
    except MissingDependencyError as error:
        print(f"flip play: the contrast scores, and nobody plays against you: {error}", file=sys.stderr)
        return "contrast", {}
    if scorer is None:
        print("flip play: these weights have no classifier, so the contrast scores", file=sys.stderr)
    return scorer or "contrast", {name: alone(method) for name, method in methods.items()}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of `flip play`, except those shared with other commands."""
    parser.add_argument("--data", default=PHANTOMS, help="cases, as for `flip segment` (default: phantoms)")
    parser.add_argument("--seed", type=int, metavar="N", help="the same cases again; by default other ones each time")
    parser.add_argument("--agents", type=int, choices=(1, 2), default=1, help="agents that you steer (default 1)")
    parser.add_argument(
        "--cell-area",
        type=float,
        default=CELL_AREA,
        metavar="PX2",
        help=f"size of a superpixel on the canvas (default {CELL_AREA:g}; the agents' own have 36)",
    )
