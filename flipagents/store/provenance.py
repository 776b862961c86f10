"""Where a number comes from: versions, commit, machine and time, and digests of the code and weights behind it."""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import flipenv
from flipenv.sources.contents import digest

PACKAGES = ("flip-learning", "numpy", "opencv-contrib-python", "opencv-contrib-python-headless", "scipy", "torch")
CODE = ("*.py", "*.json")  # files of the packages that decide what a method gives; weights that ship tell their digest
FOLDERS = re.compile(r"(?<![\w.~/-])/(?:[^\s/:?&'\"]+/)+")
OWN = Path(__file__).parents[1]  # this package
ABOUT = "about.json"  # beside tensors, with their digest in it


def about(where: Path | None = None) -> dict[str, Any]:
    """What a number is to be read with: command (see `without_folders`), commit, versions, machine, time.

    where: a file of the checkout whose commit is meant; None for this package's. The commit is None outside a checkout,
    and marked where tracked files differ from it.
    """
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "command": _command(),
        "commit": _commit(Path(__file__) if where is None else where.resolve()),
        "versions": versions,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs{_processor()}",
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def without_folders(text: str) -> str:
    """Text in which absolute paths keep their last part alone: reports are shared, and folders are nobody's business.

    >>> without_folders("busi:/home/me/data/busi?split=val")
    'busi:PATH/busi?split=val'
    """
    return FOLDERS.sub("PATH/", text)


def code_digest(*parts: Any) -> str:
    """Digest of both packages' files, and of the files in which the parts, and functions that they hold, are written.

    What those files import from elsewhere is not in it.
    """
    own = sorted({Path(file).resolve() for part in parts for file in _sources(part, set())})
    return digest(_packages(), *[file for file in own if file.is_file()])


def weights_digest(folder: Path | None) -> str:
    """Digest of a folder of weights, or of one file; "" for None. Tensors are known by the digest in their about.json.

    A folder that is not there has a digest too: its method says what is wrong.
    """
    if folder is None:
        return ""
    inside = folder.rglob("*") if folder.is_dir() else [folder]
    files = sorted(file for file in inside if file.is_file() and file.suffix != ".log")  # what is told changes nothing
    names = [file.relative_to(folder).as_posix() for file in files]
    told = [file.suffix == ".safetensors" and file.with_name(ABOUT) in files for file in files]
    parts = [
        part for name, file, known in zip(names, files, told, strict=True) for part in (name, None if known else file)
    ]
    return digest(*parts)


def _sources(part: Any, seen: set[int]) -> Iterator[str]:
    """Files of a function, of what it wraps and of the functions that it closes over; of a class or an object."""
    if id(part) in seen:
        return
    seen.add(id(part))
    held: list[Any] = [getattr(part, "__wrapped__", None)]
    if isinstance(part, functools.partial):
        held += [part.func, *part.args]
    elif inspect.isfunction(part):
        held += [cell.cell_contents for cell in part.__closure__ or ()]
    elif not inspect.isclass(part):
        held.append(type(part))
    if inspect.isfunction(part) or inspect.isclass(part):
        try:
            yield inspect.getsourcefile(part) or ""
        except (TypeError, OSError):  # built in, or typed into an interpreter
            return
    for each in held:
        if callable(each):
            yield from _sources(each, seen)


@functools.cache
def _packages() -> str:
    total = hashlib.blake2b(digest_size=16)
    for root in (Path(flipenv.__path__[0]), OWN):
        for file in sorted(each for pattern in CODE for each in root.rglob(pattern)):
            total.update(f"{file.relative_to(root.parent)}:{digest(file)}\n".encode())
    return total.hexdigest()


def _command() -> str:
    program = Path(sys.argv[0])
    ours = program.stem == "flip" or program.parent.name == OWN.name  # `python -m flipagents`
    first = ["flip"] if ours else ["python", program.name]
    return without_folders(shlex.join([*first, *sys.argv[1:]]))


def _processor() -> str:
    """Name of the processor, where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((f", {line.partition(':')[2].strip()}" for line in lines if line.startswith("model name")), "")


def _commit(file: Path) -> str | None:
    """Commit of the checkout that a file is tracked in, marked where files differ from it."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *words], cwd=file.parent, capture_output=True, text=True, timeout=10, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", file.name) is None:
        return None
    return f"{git('rev-parse', 'HEAD')}{'+changes' if git('status', '--porcelain', '--untracked-files=no') else ''}"
