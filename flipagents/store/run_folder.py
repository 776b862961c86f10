"""The folder of a training run: its settings, whether it can be resumed, and its progress. No torch.

`run.json` is written before anything is computed. Each part has its own folder: the classifier, the prior, the stages,
the students.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from flipagents.store import checkpoint
from flipagents.store.checkpoint import CheckpointError, plain
from flipagents.store.files import check_writable, write_texts
from flipagents.store.provenance import about, without_folders
from flipagents.store.recipe import PIPELINE
from flipenv.progress import logging_to
from flipenv.sources import SourceLike, open_source
from flipenv.sources.contents import digest

RUN, LOG = "run.json", "train.log"
CLASSIFIER, STAGES = "classifier", ("stage1", "stage2")
FINAL, LAST = "classifier", "last"  # in the classifier's folder: the result, and a checkpoint per epoch
AGENT, CHECKPOINT = "agent", "checkpoint"  # in a stage's folder, likewise
LENGTH_ONLY = (
    "epochs",
    "train_steps",
    "log_every",
    "checkpoint_every",
    "checkpoint_minutes",
)  # learner options that may change
NAMED = 3  # differences listed in an error

Options = Mapping[str, Any]  # keyed as in `--set`, such as learner.lanes


def begin(
    folder: Path,
    *,
    preset: str,
    agent: str,
    options: Options,
    parts: Sequence[str],
    data: SourceLike,
    val: SourceLike | None,
    corrections: Mapping[str, Any] | None = None,
) -> None:
    """Create a run's folder and record its settings, or check that the run in it has the same ones.

    options: all of them, see `merged`. parts: folders in the order in which they are made. corrections: of the mended
    masks that teach, if any: `images`, `of` all training images, and `digest`. Raises CheckpointError for the folder of
    another run, OutputError for one that is not writable, and the errors of `data` and `val` if they cannot be read. If
    the folder has parts but no recorded options, nothing is written: each part has its own.
    """
    check(folder, preset=preset, agent=agent, options=options, data=data, val=val, corrections=corrections)
    check_writable(folder)
    then = read(folder)
    if then is None and any((folder / part).exists() for part in parts):
        if corrections is not None:
            raise CheckpointError(f"{folder} holds a run without {RUN}, taught by no mended mask; give another folder")
        return
    sources = {"data": data, "val": val} if then is None else {}  # else they are the same
    now: dict[str, Any] = {"preset": preset, "agent": agent}
    now |= {name: _described(source) for name, source in sources.items()}
    now |= {"options": plain(options), "parts": list(parts)}
    if corrections is not None:  # else a run is recorded as before
        now |= {"corrections": dict(corrections)}
    if then is not None and all(then.get(name) == value for name, value in now.items()):
        return
    now = {**(then or {}), **now}
    write_texts({folder / RUN: json.dumps({**now, "about": about()}, indent=1) + "\n"})


def check(
    folder: Path,
    *,
    preset: str,
    agent: str,
    options: Options,
    data: SourceLike,
    val: SourceLike | None,
    corrections: Mapping[str, Any] | None = None,
) -> None:
    """Raise CheckpointError if a folder holds a run with a different preset, agent, option, data or mended masks.

    The error lists the first differences with both values. Options that only change a run's length may differ, and so
    may the location of the same data. options: those known so far. corrections: as `begin`.
    """
    then = read(folder)
    if then is None:
        return
    before = then["options"]
    known = {name: value for name, value in plain(options).items() if name in before and not _of_length(name)}
    named = {"preset": preset, "agent": agent}
    names = [f"{name}: {then[name]!r} then, {value!r} now" for name, value in named.items() if then[name] != value]
    others = [f"{name}: {before[name]!r} then, {value!r} now" for name, value in known.items() if before[name] != value]
    _refuse(folder, names or others)  # another preset implies other options, so name the preset alone
    _refuse(folder, [*_changed(then, {"data": _described(data), "val": _described(val)})])
    _refuse(folder, [*_other_corrections(then.get("corrections"), corrections)])


def merged(configs: Mapping[str, Mapping[str, Any]], prefix: str) -> dict[str, Any]:
    """Options of several parts under one prefix, `prefix.option` -> value; one value per part if they differ."""
    flats = {part: dict(_flat(config)) for part, config in configs.items()}
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for flat in flats.values() for name in flat):
        values = {part: flat.get(name) for part, flat in flats.items()}
        first, *others = values.values()
        found[f"{prefix}.{name}"] = values if any(other != first for other in others) else first
    return found


def log(folder: Path) -> AbstractContextManager[None]:
    """Within this context progress lines also go to the run's log; under torchrun only rank 0 writes them."""
    return logging_to(folder / LOG) if os.environ.get("RANK", "0") == "0" else nullcontext()


def unfinished(folder: str | Path) -> str | None:
    """Describe the progress of the training run in a folder; None if it is finished or there is none."""
    folder = Path(folder)
    then = read(folder)
    if then is None and ((folder / PIPELINE).exists() or not (folder / STAGES[0]).exists()):
        return None
    parts = (CLASSIFIER, *STAGES) if then is None else then["parts"]
    done = [part for part in parts if checkpoint.exists(_result(folder, part))]
    if len(done) == len(parts):
        return None
    states = [f"{', '.join(done)} done"] if done else []
    states += [_state(folder, part) for part in parts if part not in done and (folder / part).exists()]
    return (
        f"{folder} is an unfinished training run: {', '.join(states) or 'nothing done yet'}; run the same `flip train` "
        "command to finish it"
    )


def _result(folder: Path, part: str) -> Path:
    """Folder of a part's final result."""
    within = {CLASSIFIER: FINAL, **dict.fromkeys(STAGES, AGENT)}
    return folder / part / within[part] if part in within else folder / part


def _state(folder: Path, part: str) -> str:
    """Progress of a part that has been started."""
    try:
        if part == CLASSIFIER:
            saved = checkpoint.about_of(folder / part / LAST)
            return f"{part} at epoch {len(saved['rows'])} of {saved['config']['epochs']}"
        saved = checkpoint.about_of(folder / part / CHECKPOINT)
        epoch = saved["episodes"] // int(saved["pool"].partition(" ")[0]) + 1
        return f"{part} at epoch {min(epoch, saved['config']['epochs'])} of {saved['config']['epochs']}"
    except (CheckpointError, LookupError, TypeError, ValueError):  # no checkpoint yet, or one of another version
        return f"{part} begun"


def _described(source: SourceLike | None) -> dict[str, Any] | None:
    """Description of a source, independent of its location."""
    if source is None:
        return None
    opened = open_source(source)
    text = without_folders(source) if isinstance(source, str) else f"{len(opened)} cases in memory"
    return {"text": text, "digest": digest(*[opened.fingerprint(index) for index in range(len(opened))])}


def _changed(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Sources whose cases have changed."""
    for name, source in now.items():
        before = then[name]
        if (source and source["digest"]) == (before and before["digest"]):
            continue
        texts = [described and described["text"] for described in (before, source)]
        same = f"{name}: the cases of {texts[0]!r} have changed"
        yield same if texts[0] == texts[1] else f"{name}: {texts[0]!r} then, {texts[1]!r} now"


def _other_corrections(then: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> Iterator[str]:
    """The difference between the mended masks that taught a run and those that shall teach it."""
    if (then and then["digest"]) == (now and now["digest"]):
        return
    before, after = ("none" if each is None else f"{each['images']} mended masks" for each in (then, now))
    yield f"corrections: {before} then, {after if after != before else 'other ones'} now"


def _refuse(folder: Path, differences: Sequence[str]) -> None:
    if differences:
        more = f"; and {len(differences) - NAMED} more" if len(differences) > NAMED else ""
        raise CheckpointError(
            f"{folder} holds another run ({'; '.join(differences[:NAMED])}{more}); give the same options, or another "
            "folder"
        )


def _of_length(name: str) -> bool:
    part, _, option = name.partition(".")
    return part == "learner" and option in LENGTH_ONLY


def read(folder: Path) -> dict[str, Any] | None:
    """The recorded settings, None if there are none; CheckpointError if they are damaged."""
    path = folder / RUN
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        if not {"preset", "agent", "data", "val", "options", "parts"} <= set(saved):
            raise ValueError("it was written by another version")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); give another folder, or remove it") from error
    return dict(saved)


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and values; nested mappings become `name.inner`."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", option) for inner, option in _flat(value))
        else:
            yield name, value
