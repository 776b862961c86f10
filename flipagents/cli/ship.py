"""`flip ship`: from a training run to a folder of weights for distribution."""

from __future__ import annotations

import argparse

# What a command needs is imported where it runs: `flip --help` must not wait for torch, nor for OpenCV.
# ruff: noqa: PLC0415


def ship(options: argparse.Namespace) -> int:
    """Copy the inference weights of a finished run to a new folder, with a model card, and verify equal masks."""
    from flipagents.train.shipping import ship as write

    made = write(
        options.run_folder, options.out, licence=options.licence, data_note=options.data_note, reports=options.report
    )
    if options.quiet:
        return 0
    copy = "with" if made.copied else "without an"
    print(f"shipped: {made.folder}, {made.size / 1e6:.1f} MB in {made.files} files, {copy} ONNX copy")
    print(f"masks equal those of {options.run_folder} bit for bit on {made.phantoms} phantoms")
    return 0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of `flip ship`, except those shared with other commands."""
    parser.add_argument("run_folder", metavar="RUN", help="folder of a finished `flip train`")
    parser.add_argument("--licence", required=True, metavar="TEXT", help="terms of the weights, for the model card")
    parser.add_argument(
        "--data-note", default="", metavar="TEXT", help="note on the data's authors, for the model card"
    )
    parser.add_argument(
        "--report",
        nargs="+",
        action="extend",
        default=[],
        metavar="REPORT.json",
        help="output of `flip evaluate --weights RUN -o FOLDER`, for the numbers in the model card",
    )
