"""Tables that a Markdown reader and LaTeX take."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from flipagents.compare import tables
from flipagents.compare.summaries import summarise
from tests.compare.test_summaries import A, B, rows

MISSING = {"sdi": "needs weights:\nrun it & see 50% of {this}"}
SCORES = rows("found flip_x", A) + rows("ellipse", [0.0, *B[1:]]) + rows("±θ", A, 1)


def test_markdown() -> None:
    text = tables.markdown(*summarise(SCORES, ["ellipse", "found flip_x"], draws=20), MISSING)
    found = [[line for line in part.splitlines() if line.startswith("|")] for part in text.split("\n\n") if "|" in part]
    assert [len(table) for table in found] == [5] * 6
    assert len({line.count("|") for table in found for line in table}) == 1
    assert "small boxes (3 cases; area up to 300 px²)" in text
    assert "medium boxes (2 cases; area above 300 px², up to 500 px²)" in text
    assert "sdi: not run: needs weights: run it & see" in text
    first = dict(zip(*(re.split(r" \| ", line.strip("| ")) for line in (found[0][0], found[0][2])), strict=True))
    assert first["method"] == "found flip_x"
    assert first["Dice, mean ± std"] == "0.7929 ± 0.1205"
    assert first["Dice − found flip_x [95% interval]"] == tables.NONE
    assert first["Dice − ellipse [95% interval]"].startswith("+0.1571 [")
    assert first["empty"] == "0.0%"


def test_latex_has_as_many_cells_everywhere() -> None:
    text = tables.latex(*summarise(SCORES, ["ellipse"], draws=20), MISSING)
    lines = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert len(lines) == 1 + 6 * 3
    columns = re.search(r"tabular}{(\w+)}", text)
    assert columns is not None
    assert {len(re.split(r"(?<!\\)&", line)) for line in lines} == {len(columns[1])}
    assert not re.search(r"(?<!\\)[%#_]", "\n".join(lines))
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here")
def test_latex_compiles(tmp_path: Path) -> None:
    text = tables.latex(*summarise(SCORES, ["ellipse"], draws=20), MISSING)
    page = [r"\documentclass{article}", tables.LATEX_NEEDS, r"\begin{document}", text, r"\end{document}"]
    (tmp_path / "page.tex").write_text("\n".join(page))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Missing character" not in done.stdout
