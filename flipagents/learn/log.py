"""What a training run tells: rows of metrics, in files that survive a kill."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from flipagents.store.files import write_texts


class RunLog:
    """Rows of metrics as JSON lines and CSV, and as TensorBoard events where that is installed.

    Rows later than `step`, which a killed run wrote after its last checkpoint, are dropped: they come again.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.lines, self.table = folder / "metrics.jsonl", folder / "metrics.csv"
        self.rows = [row for row in _read_rows(self.lines) if row["step"] <= step]
        write_texts({self.lines: "".join(json.dumps(row) + "\n" for row in self.rows)})
        self._columns: list[str] = []
        self._tabulate()
        self._events: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - TensorBoard is optional
        except ImportError:
            return
        self._events = SummaryWriter(str(folder), purge_step=step + 1)

    def write(self, row: dict[str, Any]) -> None:
        """Add one row; its columns may be more than those before."""
        self.rows.append(row)
        with self.lines.open("a") as file:
            file.write(json.dumps(row) + "\n")
        if set(row) <= set(self._columns):
            with self.table.open("a", newline="") as file:
                csv.DictWriter(file, self._columns).writerow(row)
        else:
            self._tabulate()
        for name, value in row.items():
            if self._events is not None and value is not None and name != "step":
                self._events.add_scalar(name, value, row["step"])

    def close(self) -> None:
        """Let TensorBoard write what it holds back."""
        if self._events is not None:
            self._events.close()

    def _tabulate(self) -> None:
        self._columns = list(dict.fromkeys(name for each in self.rows for name in each))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns)
        writer.writeheader()
        writer.writerows(self.rows)
        write_texts({self.table: text.getvalue()})


def _read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON lines file; a last line that a killed run left unfinished is left out."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows
