"""`flip calibrate`: fit the predicted Dice of masks to cases with masks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# What a command needs is imported where it runs: `flip --help` must not wait for torch, nor for OpenCV.
# ruff: noqa: PLC0415


def calibrate(options: argparse.Namespace) -> int:
    """Fit how good a mask probably is to cases with masks, for `flip segment`; their boxes must be tight."""
    from flipagents.cli.inputs import source_text
    from flipagents.compare.calibrate import calibrate as fit
    from flipagents.compare.methods import default_method
    from flipagents.store.checkpoint import WEIGHTS
    from flipenv.errors import ConfigError

    if options.out is None and (options.weights is None or options.weights.parent == WEIGHTS):
        raise ConfigError(
            "the calibration of the weights that ship is not replaced; give -o FILE, for `flip segment --quality FILE`"
        )
    methods = options.methods or [default_method(options.weights)]
    done = fit(
        source_text(options.data, options.split),
        methods,
        weights=options.weights,
        file=options.out,
        device=options.device,
        runtime=options.runtime,
        progress=not options.quiet,
    )
    for case, reason in done.left_out.items():
        print(f"  left out: {case}: {' '.join(reason.split())}", file=sys.stderr)
    if not options.quiet:
        for name, check in done.checks.items():
            print(
                f"{name}: predicted against true Dice of {check.n} cases, each left out in turn: Spearman "
                f"{check.spearman:.3f}, mean error {check.error:.4f}, {check.coverage:.0%} in the 90% interval "
                f"(mean width {check.width:.3f}), area under risk-coverage {check.area:.4f} (perfect order "
                f"{check.perfect:.4f}, random {check.random:.4f})"
            )
        print(f"written: {', '.join(map(str, done.paths))}")
    return 0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of `flip calibrate`, except those shared with other commands."""
    parser.add_argument("--data", required=True, help="cases with masks that no evaluation uses: see below")
    parser.add_argument("--split", help="split of --data, such as val")
    parser.add_argument(
        "--method",
        dest="methods",
        nargs="+",
        action="extend",
        help="contour (default), flip, flip+student; one or several",
    )
    parser.add_argument(
        "-o", "--out", type=Path, metavar="FILE", help="file to write (default: quality.json beside the weights)"
    )
