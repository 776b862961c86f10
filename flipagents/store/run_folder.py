"""The folder of a training run: what it was started with, whether it may go on, and how far it is. No torch.

`run.json` is written before anything is computed. Each part has a folder of its own: the classifier, the prior, the
stages, the students.
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
from flipenv.progress import told_to
from flipenv.sources import SourceLike, open_source
from flipenv.sources.contents import digest

RUN, LOG = "run.json", "train.log"
CLASSIFIER, STAGES = "classifier", ("stage1", "stage2")
FINAL, LAST = "classifier", "last"  # in the classifier's folder: what is kept, and a checkpoint an epoch
AGENT, CHECKPOINT = "agent", "checkpoint"  # in a stage's folder, likewise
LENGTH_ONLY = (
    "epochs",
    "train_steps",
    "log_every",
    "checkpoint_every",
    "checkpoint_minutes",
)  # of learners: may change
NAMED = 3  # differences that a message names

Options = Mapping[str, Any]  # by the names that `--set` has for them, such as learner.lanes


def begin(
    folder: Path,
    *,
    preset: str,
    agent: str,
    options: Options,
    parts: Sequence[str],
    data: SourceLike,
    val: SourceLike | None,
) -> None:
    """Make a run's folder and write what it is a run of, or see that the run in it is the same.

    options: all that there are, see `merged`. parts: folders in the order in which they are made. Raises
    CheckpointError for the folder of another run, OutputError for one that cannot be written into, and what `data` and
    `val` raise where they cannot be read. In a folder with parts whose options nobody wrote down nothing is written:
    each part knows its own.
    """
    check(folder, preset=preset, agent=agent, options=options, data=data, val=val)
    check_writable(folder)
    then = read(folder)
    if then is None and any((folder / part).exists() for part in parts):
        return
    sources = {"data": data, "val": val} if then is None else {}  # else they are the same
    now: dict[str, Any] = {"preset": preset, "agent": agent}
    now |= {name: _told(source) for name, source in sources.items()}
    now |= {"options": plain(options), "parts": list(parts)}
    if then is not None and all(then[name] == value for name, value in now.items()):
        return
    now = {**(then or {}), **now}
    write_texts({folder / RUN: json.dumps({**now, "about": about()}, indent=1) + "\n"})


def check(folder: Path, *, preset: str, agent: str, options: Options, data: SourceLike, val: SourceLike | None) -> None:
    """Raise CheckpointError where a folder holds a run with another preset, agent, option or other data.

    Names the first that differ with both values. Options that change a run's length alone may differ, and so may the
    place where the same data lie. options: as many as are known.
    """
    then = read(folder)
    if then is None:
        return
    before = then["options"]
    known = {name: value for name, value in plain(options).items() if name in before and not _of_length(name)}
    named = {"preset": preset, "agent": agent}
    names = [f"{name}: {then[name]!r} then, {value!r} now" for name, value in named.items() if then[name] != value]
    others = [f"{name}: {before[name]!r} then, {value!r} now" for name, value in known.items() if before[name] != value]
    _refuse(folder, names or others)  # another preset has other options: it is enough to name it
    _refuse(folder, [*_changed(then, {"data": _told(data), "val": _told(val)})])


def merged(configs: Mapping[str, Mapping[str, Any]], prefix: str) -> dict[str, Any]:
    """Options of several parts that one prefix sets, `prefix.option` -> value; a value a part where they differ."""
    flats = {part: dict(_flat(config)) for part, config in configs.items()}
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for flat in flats.values() for name in flat):
        values = {part: flat.get(name) for part, flat in flats.items()}
        first, *others = values.values()
        found[f"{prefix}.{name}"] = values if any(other != first for other in others) else first
    return found


def log(folder: Path) -> AbstractContextManager[None]:
    """Meanwhile write lines of progress into the run's log too; of processes that torchrun started the first does."""
    return told_to(folder / LOG) if os.environ.get("RANK", "0") == "0" else nullcontext()


def unfinished(folder: str | Path) -> str | None:
    """Say how far the training run in a folder is; None where it is finished, or where there is none."""
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
    """Where that lies which a part is made for."""
    within = {CLASSIFIER: FINAL, **dict.fromkeys(STAGES, AGENT)}
    return folder / part / within[part] if part in within else folder / part


def _state(folder: Path, part: str) -> str:
    """How far a part is that was begun."""
    try:
        if part == CLASSIFIER:
            told = checkpoint.about_of(folder / part / LAST)
            return f"{part} at epoch {len(told['rows'])} of {told['config']['epochs']}"
        told = checkpoint.about_of(folder / part / CHECKPOINT)
        epoch = told["episodes"] // int(told["pool"].partition(" ")[0]) + 1
        return f"{part} at epoch {min(epoch, told['config']['epochs'])} of {told['config']['epochs']}"
    except (CheckpointError, LookupError, TypeError, ValueError):  # no checkpoint yet, or one of another version
        return f"{part} begun"


def _told(source: SourceLike | None) -> dict[str, Any] | None:
    """What a run keeps of its data: enough to know them again, wherever they lie."""
    if source is None:
        return None
    opened = open_source(source)
    text = without_folders(source) if isinstance(source, str) else f"{len(opened)} cases in memory"
    return {"text": text, "digest": digest(*[opened.fingerprint(index) for index in range(len(opened))])}


def _changed(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Sources that hold other cases than they did."""
    for name, told in now.items():
        before = then[name]
        if (told and told["digest"]) == (before and before["digest"]):
            continue
        texts = [each and each["text"] for each in (before, told)]
        same = f"{name}: the cases of {texts[0]!r} were others"
        yield same if texts[0] == texts[1] else f"{name}: {texts[0]!r} then, {texts[1]!r} now"


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
    """What was written when the run began, None where nothing was; CheckpointError where that is damaged."""
    path = folder / RUN
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if not {"preset", "agent", "data", "val", "options", "parts"} <= set(told):
            raise ValueError("it is of another version")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); give another folder, or remove it") from error
    return dict(told)


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and values, those of mappings inside by `name.inner`."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", each) for inner, each in _flat(value))
        else:
            yield name, value
