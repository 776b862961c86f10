"""Time to prepare episodes, and what the cache saves: python benchmarks/prepare.py --source busi:PATH

Three starts in new processes: with an empty cache and one process, with an empty cache and one worker per core, and
with the cache filled by the second.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile

START = """
import sys, time
import flipenv
start = time.perf_counter()
pool = flipenv.EpisodePool(sys.argv[1], flipenv.EnvConfig(margin=int(sys.argv[2])), cache=sys.argv[3])
pool.prepare_all(workers=int(sys.argv[4]), progress=False)
print(len(pool), time.perf_counter() - start)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="phantom:128")
    parser.add_argument("--margin", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="smoke test: four small phantoms")
    options = parser.parse_args()
    if options.quick:
        options.source = "phantom:4?height=96&width=128"
    workers = os.cpu_count() or 1
    print(f"{options.source}, margin {options.margin}, {workers} cores")
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        alone = start(options, one, 1)
        first = start(options, other, workers)
        second = start(options, other, workers)
    print(f"first start, 1 process   {alone:6.2f} s")
    print(f"first start, {workers} workers   {first:6.2f} s")
    print(f"second start             {second:6.2f} s: {first / second:.0f} times faster")


def start(options: argparse.Namespace, folder: str, workers: int) -> float:
    command = [sys.executable, "-c", START, options.source, str(options.margin), folder, str(workers)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(answer[-1])


if __name__ == "__main__":
    main()
