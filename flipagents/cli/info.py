"""`flip info` and `flip completion`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

# What a command needs is imported where it runs: `flip --help` must not wait for torch, nor for OpenCV.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    pass


def info(options: argparse.Namespace) -> int:
    """Tell versions, devices, weights and caches; or, of a mask, what it was made from."""
    from flipagents.cli.about import describe, describe_mask

    told = describe(options.weights) if options.mask is None else describe_mask(options.mask)
    width = max(map(len, told))
    for name, value in told.items():
        print(f"{name:<{width}}  {value}")
    return 0


def completion(options: argparse.Namespace) -> int:
    """Print what makes a shell complete `flip`: eval "$(flip completion bash)"."""
    import shtab

    from flipagents.cli.parser import make_parser

    print(shtab.complete(make_parser(), options.shell))
    return 0
