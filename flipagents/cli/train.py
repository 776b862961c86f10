"""`flip train`: from boxes to weights."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

# What a command needs is imported where it runs: `flip --help` must not wait for torch, nor for OpenCV.
# ruff: noqa: PLC0415


def train(options: argparse.Namespace) -> int:
    """Train our pipeline, or with --method a baseline; the same command resumes an interrupted run."""
    from flipagents.cli.inputs import source_text

    data = source_text(options.data)
    val = None if options.val is None else source_text(options.val)
    if data.startswith("busi:") and "split=" not in data:
        data, val = f"{data}?split=train", val or f"{data}?split=val"
    settings = parse_settings(options.set)
    named = {name: getattr(options, name) for name in ("preset", "agent", "corrections")}
    settings |= {name: value for name, value in named.items() if value is not None}
    from flipagents.compare.trainers import check_training, train_method
    from flipenv.errors import ConfigError

    device = check_training(options.method, data, val, options.out, device=options.device, options=settings)
    from flipagents.learn import ranks  # torch

    with ranks.process_group(device) as device:
        if ranks.count() > 1 and options.method != "flip":
            raise ConfigError(f"method {options.method!r} cannot be trained by {ranks.count()} processes; start one")
        train_method(
            options.method, data, val, options.out, device=device, progress=not options.quiet, options=settings
        )
        if ranks.rank() > 0:
            return 0
    method = "" if options.method == "flip" else f" --method {options.method}"
    weights = f"{method} --weights {options.out}"
    if options.quiet:
        return 0
    print(f"trained: {options.out}; use it with `flip segment scan.png --box X0 Y0 X1 Y1 -o out/{weights}`")
    return 0


def parse_settings(pairs: Sequence[str], option: str = "--set") -> dict[str, Any]:
    """Options from `field=value` and `part.field=value`; values are JSON, otherwise text.

    ConfigError, which names the command line's option, for anything else.
    """
    from flipenv.errors import ConfigError

    settings: dict[str, Any] = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        part, dot, field = name.partition(".")
        inside = settings.setdefault(part, {}) if dot else settings
        if not (sign and part) or (dot and not field) or not isinstance(inside, dict):
            raise ConfigError(
                f"{option} {pair}: expected part.field=value or field=value, for example learner.epochs=5"
            )
        try:
            value = json.loads(text)
        except ValueError:
            value = {"None": None, "True": True, "False": False}.get(text, text)
        inside[field if dot else part] = value
    return settings
