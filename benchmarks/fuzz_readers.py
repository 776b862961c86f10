"""Fuzz the readers of `flip segment` with corrupted images, masks, COCO files, tables, DICOM and NIfTI.

    python benchmarks/fuzz_readers.py --count 10000 --seed 0

Whatever a file holds, reading it may raise only this package's errors, within the time limit. A child process announces
each input before reading it, so a decoder that crashes or hangs is reported like a wrong error, and a new child resumes
after that input. `--only INDEX` runs a single input and keeps its file. Exit code 1 on any failure.
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
from corrupt import KINDS, corrupted
from valid_files import valid_files

from flipenv.errors import FlipError, OrientationWarning
from flipenv.sources import Source, Unlabelled, count_frames, open_source, read_film
from flipenv.sources.base import ListedSource
from flipenv.sources.files import FileCase
from flipenv.types import Box

SECONDS = 20.0  # limit per input; the slowest valid one takes a few hundredths
MEMORY = 6 << 30  # bytes, limit of the child: a header may declare any size
MOST_FAILURES = 20
LIMIT = 1 << 24  # px of a film


def sources(kind: str, file: Path, good: Path) -> list[Source]:
    """The sources that `flip segment` opens for a file: as an image, a frame, a slice, a mask, or a list of boxes."""
    if kind in ("csv", "coco"):
        return [open_source(f"{kind}:{file}")]
    image = FileCase("image", str(file), file, Box(4, 5, 20, 30))
    frame = FileCase("frame", str(file), file, Box(4, 5, 20, 30), frame=1)
    mask = FileCase("mask", str(file), good, Box(4, 5, 20, 30), mask=file)
    along = FileCase("slice", str(file), file, Box(0, 5, 3, 30), frame=1, axis="y")
    return [ListedSource([each], str(file)) for each in (image, frame, mask, along)]


def read(kind: str, file: Path, good: Path) -> Counter[str]:
    """Outcomes of reading a file in every way, counted; anything but a FlipError is raised."""
    seen: Counter[str] = Counter()

    def attempt(action: Any) -> Any:
        try:
            result = action()
        except FlipError as error:
            if type(error) is FlipError or len(str(error)) < 20:
                raise TypeError(f"an uninformative error: {error!r}") from error
            seen[type(error).__name__] += 1
            return None
        seen["read"] += 1
        return result

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if kind not in ("csv", "coco"):
            attempt(lambda: count_frames(file))
            attempt(lambda: read_film(file, limit=LIMIT))
        for source in attempt(lambda: sources(kind, file, good)) or []:
            for index in range(len(source)):
                for each in (source, Unlabelled(source)):
                    attempt(lambda each=each, index=index: each.load(index))
                    attempt(lambda each=each, index=index: each.fingerprint(index))
    for warning in caught:
        ours = issubclass(warning.category, OrientationWarning)
        seen["OrientationWarning" if ours else "warnings of decoders"] += 1
    return seen


def child(seed: int, start: int, count: int, folder: Path) -> None:
    """Print one line before and one after each input."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    valid = valid_files(folder)
    for index in range(start, start + count):
        random = np.random.default_rng((seed, index))
        kind, name, data = corrupted(valid, random)
        print(json.dumps({"index": index, "kind": kind, "name": name}), flush=True)
        file = folder / f"corrupt-{name}"
        file.write_bytes(data)
        try:
            outcome = {"wrong": None, "seen": read(kind, file, folder / "good.png")}
        except BaseException as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            outcome = {"wrong": f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})", "seen": {}}
        print(json.dumps(outcome), flush=True)


def lines(process: subprocess.Popen[str]) -> queue.Queue[str | None]:
    """The child's output lines as they arrive, then None."""
    received: queue.Queue[str | None] = queue.Queue()

    def follow() -> None:
        for line in process.stdout or ():
            received.put(line)
        received.put(None)

    threading.Thread(target=follow, daemon=True).start()
    return received


def run(count: int, seed: int) -> tuple[dict[str, Counter[str]], list[str]]:
    """Return the counted outcomes of each kind of input, and descriptions of the failures."""
    seen: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    failures: list[str] = []
    start, began = 0, time.monotonic()
    while start < count and len(failures) < MOST_FAILURES:
        given: dict[str, Any] | None = None
        with tempfile.TemporaryDirectory(prefix="fuzz-readers-") as folder, tempfile.TemporaryFile() as errors:
            words = ["--seed", str(seed), "--count", str(count - start), "--child", str(start), "--folder", folder]
            command = [sys.executable, __file__, *words]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
            received = lines(process)
            wrong = None
            while True:
                try:
                    line = received.get(timeout=SECONDS * (1 if given else 10))
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
            errors.seek(0)
            last = (errors.read().decode(errors="replace").strip().splitlines() or [""])[-1]
        if given is not None:
            failures.append(f"{given}: {wrong or f'the process died with code {code}: {last}'}")
            start = given["index"] + 1
        elif wrong or (start < count and len(failures) < MOST_FAILURES):
            failures.append(f"the child ended early: {wrong or f'code {code}: {last}'}")
            break
    return seen, failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="smoke test: 300 inputs")
    parser.add_argument("--only", type=int, default=None, metavar="INDEX", help="run only this input, with traceback")
    parser.add_argument("--child", type=int, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        child(arguments.seed, arguments.child, arguments.count, arguments.folder)
        return 0
    if arguments.only is not None:
        folder = Path(tempfile.mkdtemp(prefix="fuzz-readers-"))
        kind, name, data = corrupted(valid_files(folder), np.random.default_rng((arguments.seed, arguments.only)))
        file = folder / f"corrupt-{name}"
        file.write_bytes(data)
        print(f"{kind}: {file}")
        print(dict(read(kind, file, folder / "good.png")))
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
