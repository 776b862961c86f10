"""The model card of shipped weights: contents, training data, and metrics from its reports."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flipagents.segment.calibration import QUALITY, read_calibrations
from flipagents.segment.runtimes import COPY
from flipagents.store.files import write_texts
from flipagents.store.recipe import Recipe, networks, pipeline_digest
from flipagents.store.run_folder import read
from flipagents.train.presets import presets
from flipenv.errors import ConfigError

PURPOSE = {
    "contour": "network of the prior, which agents see and are rewarded by: method `contour`",
    "student": "one network in one pass, distilled from the agents or the prior: method `flip+student`",
    "locator": "relocates boxes that are off: `--margin`",
    "classifier": "gave the classification reward in training; inference does not use it; erase curves show its score",
    COPY: "the same networks for onnxruntime, used on a CPU",
}
OURS = ("flip", "flip+student", "contour")  # methods that a report evaluates a pipeline by
TAUGHT = (
    "LiteMedSAM, a network trained on 1.6 million masks, perhaps those of these images among them, taught these weights"
)
SIZES = " boxes"  # suffix of a report's groups by box area, which the card omits

Report = Mapping[str, Any]  # as `flipagents.compare.report` writes it


def read_report(path: str | Path, run: Path) -> Report:
    """Read a report of `flip evaluate --weights RUN`.

    Raises ConfigError if it cannot be read, has no row of the pipeline, or was made with other weights than the run's.
    """
    try:
        info: Report = json.loads(Path(path).read_text(encoding="utf-8"))
        weights = info["about"]["weights"]
        ours = [row for row in info["summaries"] if row["method"].removeprefix("found ") in OURS and row["n"]]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path} is not a report of this version ({type(error).__name__}: {error}); expected the report.json that "
            f"`flip evaluate --weights {run} -o FOLDER` writes"
        ) from None
    if weights != pipeline_digest(run):
        raise ConfigError(f"{path} was made with other weights than {run}: run `flip evaluate --weights {run}`")
    if not ours:
        raise ConfigError(f"{path} has no row of {', '.join(OURS)}; evaluate with --methods {OURS[0]} ...")
    return info


def write_card(
    path: Path, name: str, run: Path, folder: Path, *, licence: str, data_note: str, reports: Sequence[Report]
) -> None:
    """Write the model card of weights made from a run, with the numbers of the reports.

    name: of the model. folder: the weights, whose sizes are listed. licence, data_note: in Markdown.
    """
    info = read(run)
    assert info is not None, "a run without run.json cannot be shipped"
    sections = [
        f"# {name}: weights of `flip train --preset {info['preset']}`",
        *([_taught(info)] if presets()[info["preset"]].guided else []),
        _what(folder),
        _data(info, data_note),
        _how(info),
        "**Numbers.** " + ("\n\n".join(map(_numbers, reports)) if reports else "Not evaluated."),
        *_quality(folder),
        "**Not for patients.** Research only.",
        f"**Licence.** {licence.strip()}",
    ]
    write_texts({path: "\n\n".join(sections) + "\n"})


def _taught(info: Mapping[str, Any]) -> str:
    """What taught a guided pipeline, before anything else."""
    if info.get("corrections"):
        rest = "of the images without a mended mask (see Data) most of what they learned is its maps."
    else:
        rest = "most of what they learned is its maps of the training images. No mask of the training images was read."
    return f"**{TAUGHT}: {rest}**"


def _what(folder: Path) -> str:
    recipe = Recipe.read(folder)
    lines = [
        f"**What.** A pipeline for `flipagents.Segmenter`, {_mb(folder)} MB in all:",
        "",
        "| folder | what | MB |",
        "|---|---|---|",
    ]
    for network in [*networks(folder, recipe), *([COPY] if (folder / COPY).exists() else [])]:
        room = network.partition("/")[0]
        about = "" if room in PURPOSE else json.loads((folder / network / "about.json").read_text())["about"]
        lines.append(f"| `{room}` | {PURPOSE.get(room) or _agents(about)} | {_mb(folder / room)} |")
    return "\n".join(lines)


def _agents(about: Any) -> str:
    env = about["env"]
    return f"{env['n_agents']} agents (`{about['agent']}`), superpixels of {env['cell_area']:g} px² of the canvas"


def _data(info: Mapping[str, Any], note: str) -> str:
    texts = [f"Trained on `{info['data']['text']}`, digest {info['data']['digest']}"]
    if info["val"]:
        texts.append(f"the classifier calibrated on `{info['val']['text']}`, digest {info['val']['digest']}")
    mended = info.get("corrections")
    if mended:
        masks = (
            f"Images and boxes, and **{mended['images']} of {mended['of']} training images were taught by masks that a "
            f"person mended: these are masks** (digest {mended['digest']}). No other mask was read."
        )
    else:
        masks = "Images and boxes only: no mask was read."
    return f"**Data.** {', '.join(texts)}. {masks} {note.strip()}".strip()


def _how(info: Mapping[str, Any]) -> str:
    about = info["about"]
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    return (
        f"**How.** `{about['command']}`, commit {about['commit'] or 'unknown'}, agent `{info['agent']}`; {versions}; "
        f"{about['machine']}; {about['time']}."
    )


def _numbers(report: Report) -> str:
    """One report as a table: Dice of every method in every class."""
    about = report["about"]
    moved = f", boxes moved by {about['shift'][0]:g}-{about['shift'][1]:g} px" if about["shift"][1] else ""
    lines = [
        f"`{about['command']}`, commit {about['commit'] or 'unknown'}: `{about['source']}`{moved}. Dice, mean ± std "
        "over cases; brackets are 95% bootstrap intervals; differences are paired by case.",
        "",
        "| cases | n | method | Dice | minus ellipse |",
        "|---|---|---|---|---|",
    ]
    for row in report["summaries"]:
        if row["group"].endswith(SIZES) or ":" in row["method"]:
            continue
        dice, minus = row["measures"]["dice"], row["differences"].get("ellipse")
        failed = f" ({row['failed']} failed)" if row["failed"] else ""
        std = "" if dice["std"] is None else f" ± {dice['std']:.4f}"
        lines.append(
            f"| {row['group']} | {row['n']}{failed} | {row['method']} | {dice['mean']:.4f}{std} "
            f"{_brackets(dice['interval'])} | {'' if minus is None else _signed(minus)} |"
        )
    missing = "; ".join(f"{name}: {why}" for name, why in report["not_run"].items())
    return "\n".join(lines) + (f"\n\nNot run: {missing}." if missing else "")


def _quality(folder: Path) -> list[str]:
    """The calibrations in the folder as a section; none without them."""
    path = folder / QUALITY
    if not path.exists():
        return []
    lines = [
        "**How sure.** Predicted Dice of each mask (`quality.json`). **The true masks of these cases were read, for "
        "this alone**; the numbers are of ten-fold cross-validation on them. Error: mean, of the predicted Dice. "
        "Coverage: share of the 90% intervals that hold the true Dice. Areas under the risk-coverage curve, where the "
        "risk is 1 - Dice: as ordered, in perfect order, in random order.",
        "",
        "| method | cases | n | Spearman | error | coverage | area | perfect | random |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, own in read_calibrations(path).items():
        about, check = own.about, own.about["check"]
        lines.append(
            f"| {name} | `{about['source']}` | {about['n']} | {check['spearman']:.3f} | {check['error']:.4f} | "
            f"{check['coverage']:.1%} | {check['area']:.4f} | {check['perfect']:.4f} | {check['random']:.4f} |"
        )
    return ["\n".join(lines)]


def _signed(interval: Mapping[str, float]) -> str:
    return f"{interval['mean']:+.4f} {_brackets(interval)}"


def _brackets(interval: Mapping[str, float]) -> str:
    return f"[{interval['low']:.4f}, {interval['high']:.4f}]"


def _mb(folder: Path) -> str:
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return f"{total / 1e6:.1f}"
