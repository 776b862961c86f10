"""Try to surprise the readers of `flip segment`: images, masks, COCO files, tables, DICOM and NIfTI, each spoilt.

    python benchmarks/fuzz_readers.py --count 10000 --seed 0

Whatever a file holds, only errors of this package may come out, within the time limit. The work is done in a child
process, which names each input before it tries it: a crash of a decoder, or one that does not come back, is reported
like a wrong error, and the next child goes on after it. `--only INDEX` does one input alone and leaves it for a look.
Exit code 1 on any failure.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import queue
import resource
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from sound import sound_files
from spoil import KINDS, spoilt

from flipenv.errors import FlipError, OrientationWarning
from flipenv.sources import Source, Unlabelled, count_frames, open_source
from flipenv.sources.base import ListedSource
from flipenv.sources.files import FileCase
from flipenv.types import Box

SECONDS = 20.0  # that one input may take; the slowest one that is in order takes some hundredths
MEMORY = 6 << 30  # bytes that the child may take: a header may tell of any size
MOST_FAILURES = 20


def sources(kind: str, file: Path, good: Path) -> list[Source]:
    """What `flip segment` makes of a file: as an image with a box, as the mask beside one, or as a list of boxes."""
    if kind in ("csv", "coco"):
        return [open_source(f"{kind}:{file}")]
    image = FileCase("image", str(file), file, Box(4, 5, 20, 30))
    frame = FileCase("frame", str(file), file, Box(4, 5, 20, 30), frame=1)
    mask = FileCase("mask", str(file), good, Box(4, 5, 20, 30), mask=file)
    return [ListedSource([each], str(file)) for each in (image, frame, mask)]


def read(kind: str, file: Path, good: Path) -> Counter[str]:
    """What comes of reading a file in every way, each counted; anything but a FlipError is raised."""
    seen: Counter[str] = Counter()

    def tried(what: Any) -> Any:
        try:
            result = what()
        except FlipError as error:
            if type(error) is FlipError or len(str(error)) < 20:
                raise TypeError(f"an error that says nothing: {error!r}") from error
            seen[type(error).__name__] += 1
            return None
        seen["read"] += 1
        return result

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        if kind not in ("csv", "coco"):
            tried(lambda: count_frames(file))
        for source in tried(lambda: sources(kind, file, good)) or []:
            for index in range(len(source)):
                for each in (source, Unlabelled(source)):
                    tried(lambda each=each, index=index: each.load(index))
                    tried(lambda each=each, index=index: each.fingerprint(index))
    for warning in told:
        ours = issubclass(warning.category, OrientationWarning)
        seen["OrientationWarning" if ours else "warnings of decoders"] += 1
    return seen


def child(seed: int, start: int, count: int, folder: Path) -> None:
    """Write a line before each input and one after it."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    given = sound_files(folder)
    for index in range(start, start + count):
        random = np.random.default_rng((seed, index))
        kind, name, data = spoilt(given, random)
        print(json.dumps({"index": index, "kind": kind, "name": name}), flush=True)
        file = folder / f"spoilt-{name}"
        file.write_bytes(data)
        try:
            outcome = {"wrong": None, "seen": read(kind, file, folder / "good.png")}
        except BaseException as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            outcome = {"wrong": f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})", "seen": {}}
        print(json.dumps(outcome), flush=True)


def lines(process: subprocess.Popen[str]) -> queue.Queue[str | None]:
    """The child's lines as they come; None at its end."""
    told: queue.Queue[str | None] = queue.Queue()

    def follow() -> None:
        for line in process.stdout or ():
            told.put(line)
        told.put(None)

    threading.Thread(target=follow, daemon=True).start()
    return told


def run(count: int, seed: int) -> tuple[dict[str, Counter[str]], list[str]]:
    """Return what came of the inputs of each kind, and the failures in words."""
    seen: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    failures: list[str] = []
    start, began = 0, time.monotonic()
    while start < count and len(failures) < MOST_FAILURES:
        given: dict[str, Any] | None = None
        with tempfile.TemporaryDirectory(prefix="fuzz-readers-") as folder, tempfile.TemporaryFile() as complaints:
            words = ["--seed", str(seed), "--count", str(count - start), "--child", str(start), "--folder", folder]
            process = subprocess.Popen(
                [sys.executable, __file__, *words], stdout=subprocess.PIPE, stderr=complaints, text=True
            )
            told = lines(process)
            wrong = None
            while True:
                try:
                    line = told.get(timeout=SECONDS * (1 if given else 10))
                except queue.Empty:
                    wrong = f"took more than {SECONDS:g} s"
                    break
                if line is None:
                    break
                record = json.loads(line)
                if "index" in record:
                    given = record
                    continue
                assert given is not None
                seen[given["kind"]]["inputs"] += 1
                seen[given["kind"]].update(record["seen"])
                if record["wrong"]:
                    failures.append(f"{given}: {record['wrong']}")
                start = given["index"] + 1
                if start % 2000 == 0:
                    print(f"{start} inputs, {len(failures)} failures, {time.monotonic() - began:.0f} s", flush=True)
                given = None
                if len(failures) >= MOST_FAILURES:
                    break
            process.kill()
            code = process.wait()
            complaints.seek(0)
            last = (complaints.read().decode(errors="replace").strip().splitlines() or [""])[-1]
        if given is not None:
            failures.append(f"{given}: {wrong or f'the process died with code {code}: {last}'}")
            start = given["index"] + 1
        elif wrong or (start < count and len(failures) < MOST_FAILURES):
            failures.append(f"the child ended before its time: {wrong or f'code {code}: {last}'}")
            break
    return seen, failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="300 inputs: does it run at all?")
    parser.add_argument("--only", type=int, default=None, metavar="INDEX", help="this input alone, with its traceback")
    parser.add_argument("--child", type=int, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        child(arguments.seed, arguments.child, arguments.count, arguments.folder)
        return 0
    if arguments.only is not None:
        folder = Path(tempfile.mkdtemp(prefix="fuzz-readers-"))
        kind, name, data = spoilt(sound_files(folder), np.random.default_rng((arguments.seed, arguments.only)))
        (folder / f"spoilt-{name}").write_bytes(data)
        print(f"{kind}: {folder / f'spoilt-{name}'}")
        print(dict(read(kind, folder / f"spoilt-{name}", folder / "good.png")))
        return 0
    count = 300 if arguments.quick else arguments.count
    began = time.monotonic()
    seen, failures = run(count, arguments.seed)
    for kind, counts in seen.items():
        inputs = counts.pop("inputs", 0)
        print(f"{kind:5} {inputs:6} inputs:", ", ".join(f"{name} {number}" for name, number in counts.most_common()))
    for failure in failures:
        print("FAILED", failure)
    total = sum(sum(counts[name] for name in counts if name != "inputs") for counts in seen.values())
    print(
        f"seed {arguments.seed}: {count} inputs, {total} outcomes, {len(failures)} failures, "
        f"{time.monotonic() - began:.0f} s"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
