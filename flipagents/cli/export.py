"""`flip export`: networks for onnxruntime."""

from __future__ import annotations

import argparse

# What a command needs is imported where it runs: `flip --help` must not wait for torch, nor for OpenCV.
# ruff: noqa: PLC0415


def export(options: argparse.Namespace) -> int:
    """Write the networks of a pipeline as ONNX files, for inference without torch."""
    from flipagents.segment.export import export_pipeline
    from flipagents.store.files import check_writable

    check_writable(options.out)
    written = export_pipeline(options.weights, options.out)
    if options.quiet:
        return 0
    print(f"{len(written)} networks in {options.out}; use them with `flip segment ... --weights {options.out}`")
    return 0
