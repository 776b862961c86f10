"""The command `flip`: segment, app, serve, train, evaluate, export, ablate, demo.

Exit codes: 0 done; 1 done, but some images failed; 2 not done, and one line says why.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flipagents import threads
from flipagents.commands import EXPORTS, LOCAL, ablate, app, demo, evaluate, export, segment, serve, train

SOURCE = """\
where images and boxes come from:
  DIRECTORY                       the BUSI folder, or subject folders with data.png and nodule.npy
  FILE.json                       COCO instances
  FILE.csv                        columns image, x0, y0, x1, y1 (or top, left, bottom, right)
  busi:PATH?split=test, coco:..., csv:FILE?split=val, folders:PATH, phantom:20
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code. `arguments`: None for those of the process."""
    threads.settle()
    options = _parser().parse_args(arguments)
    from flipenv.errors import FlipError  # noqa: PLC0415 - `flip --help` must not wait for OpenCV

    try:
        return int(options.run(options))
    except FlipError as error:
        reason = str(error)
    except OSError as error:  # a checkpoint on a full disk
        reason = str(error)
    except ModuleNotFoundError as error:
        reason = f"{error.name} is not installed; pip install 'flip-learning[agents]'"
    print(f"flip {options.command}: {' '.join(reason.split())}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("flip", description="Box in, mask out, by Flip Learning.", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(run: Any, name: str) -> argparse.ArgumentParser:
        each = commands.add_parser(
            name,
            help=run.__doc__.splitlines()[0],
            description=run.__doc__,
            epilog=SOURCE if name in ("segment", "train", "evaluate") else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        each.set_defaults(run=run)
        if name not in ("export", "ablate"):
            each.add_argument("--device", default="cpu", help="torch device: cpu (default), cuda")
        return each

    one = command(segment, "segment")
    one.add_argument("input", help="an image (with --box), or images with boxes: see below")
    one.add_argument("--box", nargs=4, metavar=("X0", "Y0", "X1", "Y1"), help="pixels of the image, X1 and Y1 excluded")
    one.add_argument("--frame", type=int, metavar="K", help="of a DICOM cine loop or TIFF with several, from 0")
    one.add_argument(
        "--method",
        default="flip",
        help="flip (default), flip+student, polar, otsu, unet, ... (docs/baselines.md); NAME:PATH has its own weights",
    )
    one.add_argument("--gif", action="store_true", help="also film the agents")
    one.add_argument("--only-masks", action="store_true", help="no overlay and no curve: twice as fast")
    one.add_argument("--overwrite", action="store_true", help="do again what is there already")
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
        "--runtime",
        default="auto",
        choices=("auto", "onnx", "torch"),
        help="what runs the networks: auto (default) is onnxruntime on a CPU, where they have an ONNX copy, else torch",
    )
    one.add_argument(
        "--engine", choices=("plain", "ray"), default="plain", help="ray: on all CPUs or GPUs of a Ray cluster"
    )
    one.add_argument("--workers", type=int, metavar="N", help="of the engine ray, at most")
    one.add_argument("--shard", metavar="I/N", help="only every N-th case from the I-th on, I from 1 to N")

    page = command(app, "app")
    answering = command(serve, "serve")
    answering.add_argument("--media-root", type=Path, metavar="FOLDER", help="images that tasks may name lie in it")
    answering.add_argument("--method", default="flip", help="as of `flip segment` (default flip)")
    for each, port in ((page, 7860), (answering, 9090)):
        each.add_argument("--port", type=int, default=port, help=f"to listen on (default {port})")
        each.add_argument(
            "--host", default=LOCAL[0], help=f"address to listen on (default {LOCAL[0]}: this machine alone)"
        )

    two = command(train, "train")
    two.add_argument("--data", required=True, help="the BUSI folder (its splits train and val), or: see below")
    two.add_argument("--val", help="cases that calibrate the classifier; their masks are not read")
    two.add_argument("--method", default="flip", help="flip (default), unet, box-unet, sdi, or another that learns")
    two.add_argument("--preset", help="of flip: small (default, for CPUs) or paper")
    two.add_argument(
        "--agent", metavar="NAME", help="of flip: ddqn (default), independent, vdn, sb3-dqn, sb3-ppo, or your own"
    )
    two.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="OPTION=VALUE",
        help="such as learner.epochs=5; of a baseline epochs=5",
    )

    three = command(evaluate, "evaluate")
    three.add_argument("--data", required=True, help="cases with masks: see below")
    three.add_argument("--split", help="such as val; leave it out where --data says it")
    three.add_argument("--methods", nargs="+", default=["polar", "flip", "flip+student"], help="beside box and ellipse")
    three.add_argument(
        "--shift", nargs=2, type=float, default=(0.0, 0.0), metavar=("LOW", "HIGH"), help="px to move each box first"
    )
    three.add_argument("--again", action="store_true", help="run what is finished in --out once more")

    four = command(demo, "demo")
    four.add_argument("--count", type=int, default=4, help="phantoms (default 4)")

    five = command(export, "export")

    six = command(ablate, "ablate")
    six.add_argument("plan", type=Path, help="JSON or YAML, see docs/scale.md")
    six.add_argument("--engine", default="plain", help="plain (default, one after the other), slurm, or ray")

    for each in (one, three, answering):
        each.add_argument(
            "--margin", type=int, default=0, metavar="PX", help="boxes may be off by so much: find their place first"
        )
    for each in (one, page, answering, three, four, five):
        each.add_argument("--weights", type=Path, metavar="FOLDER", help="what `flip train` wrote; else what ships")
    for each in (two, three):
        each.add_argument("--quiet", action="store_true", help="no progress")
    for each, default in ((one, None), (two, None), (three, None), (four, Path("demo")), (five, None), (six, None)):
        required = each in (one, two, five, six)
        each.add_argument("-o", "--out", type=Path, required=required, default=default, help="folder, made if need be")
    return parser
