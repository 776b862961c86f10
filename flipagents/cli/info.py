"""`flip info` and `flip completion`."""

from __future__ import annotations

import argparse

# What a command needs is imported where it runs: `flip --help` must not wait for torch, nor for OpenCV.
# ruff: noqa: PLC0415


def info(options: argparse.Namespace) -> int:
    """Show versions, devices, weights and caches, or the origin of a mask."""
    from flipagents.cli.about import describe, describe_mask

    lines = describe(options.weights) if options.mask is None else describe_mask(options.mask)
    width = max(map(len, lines))
    for name, value in lines.items():
        print(f"{name:<{width}}  {value}")
    return 0


def completion(options: argparse.Namespace) -> int:
    """Print the shell code that completes `flip`: eval "$(flip completion bash)"."""
    import shtab

    from flipagents.cli.parser import make_parser

    print(shtab.complete(make_parser(), options.shell))
    return 0
