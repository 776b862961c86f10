"""`flip ship`: from a training run to a folder of weights that can be given away."""

from __future__ import annotations

import argparse

# What a command needs is imported where it runs: `flip --help` must not wait for torch, nor for OpenCV.
# ruff: noqa: PLC0415


def ship(options: argparse.Namespace) -> int:
    """Copy what inference needs of a finished run into a new folder, with a model card; prove it gives the same."""
    from flipagents.train.shipping import ship as write

    made = write(
        options.run_folder, options.out, licence=options.licence, data_note=options.data_note, reports=options.report
    )
    if options.quiet:
        return 0
    copy = "with" if made.copied else "without an"
    print(f"shipped: {made.folder}, {made.size / 1e6:.1f} MB in {made.files} files, {copy} ONNX copy")
    print(f"it gives what {options.run_folder} gives on {made.phantoms} phantoms, bit by bit")
    return 0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of `flip ship`, but those that other commands have too."""
    parser.add_argument("run_folder", metavar="RUN", help="folder of a finished `flip train`")
    parser.add_argument("--licence", required=True, metavar="TEXT", help="terms of the weights, for the model card")
    parser.add_argument("--data-note", default="", metavar="TEXT", help="on the data, for the model card: who made it")
    parser.add_argument(
        "--report",
        nargs="+",
        action="extend",
        default=[],
        metavar="REPORT.json",
        help="of `flip evaluate --weights RUN -o FOLDER`: the model card tells its numbers",
    )
