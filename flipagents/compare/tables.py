"""Summaries as Markdown tables and as LaTeX tables with booktabs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from flipagents.compare.reliability import Reliability
from flipagents.compare.scoring import Failure
from flipagents.compare.summaries import ALL, SIZES, Statistic, Summary
from flipagents.metrics import Interval

NONE = "—"
LISTED = 20  # most excluded cases listed below a table; report.json has all
LATEX_NEEDS = r"\usepackage{booktabs}"


def markdown(
    summaries: Sequence[Summary],
    bounds: tuple[float, float] | None,
    missing: Mapping[str, str],
    failures: Sequence[Failure] = (),
    qualities: Mapping[str, Reliability] | None = None,
) -> str:
    """One table per group, one of the qualities, the methods not run, and the cases excluded from all or some rows."""
    parts = []
    for group, rows in _by_group(summaries).items():
        grid = _grid(rows)
        parts.append(f"{_headed(group, rows, bounds)}\n\n{markdown_table(grid[0], grid[1:])}")
    if qualities:
        title = "predicted against true Dice; coverage of the 90% intervals; area under the risk-coverage curve"
        parts.append(f"{title}\n\n{markdown_table(*_qualities(qualities))}")
    if missing:
        parts.append("\n".join(f"{name}: not run: {' '.join(why.split())}" for name, why in missing.items()) + "\n")
    for title, lines in _left_out(failures):
        parts.append("\n".join([f"{title}:", "", *(f"- {line}" for line in lines), ""]))
    return "\n".join(parts)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; cells must not contain `|`."""

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    return "\n".join([line(head), "|---" * len(head) + "|", *map(line, rows), ""])


def latex(
    summaries: Sequence[Summary],
    bounds: tuple[float, float] | None,
    missing: Mapping[str, str],
    failures: Sequence[Failure] = (),
) -> str:
    """One `tabular` of all groups; needs `LATEX_NEEDS` in the preamble."""
    groups = _by_group(summaries)
    grids = {_headed(group, rows, bounds): _grid(rows) for group, rows in groups.items()}
    text = latex_table(next(iter(grids.values()))[0], {title: grid[1:] for title, grid in grids.items()})
    notes = [f"{name}: not run: {' '.join(why.split())}" for name, why in missing.items()]
    notes += [note for title, lines in _left_out(failures) for note in (f"{title}:", *lines)]
    return "".join([text, *(f"% {note}\n" for note in notes)])


def latex_table(head: Sequence[str], groups: Mapping[str, Iterable[Sequence[str]]]) -> str:
    """A `tabular` of cells in groups, each under its name unless that is ""; needs `LATEX_NEEDS` in the preamble."""
    lines = [f"% {LATEX_NEEDS}", rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", r"\toprule", _latex_row(head)]
    for name, rows in groups.items():
        named = [rf"\multicolumn{{{len(head)}}}{{l}}{{\emph{{{_escaped(name)}}}}} \\"] if name else []
        lines += [r"\midrule", *named, *map(_latex_row, rows)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def heading(group: str, n: int, bounds: tuple[float, float] | None) -> str:
    """Name of a group with its number of cases, and with the area limits of a size group."""
    counted = f"{n} case{'s' * (n != 1)}"
    if group not in SIZES or bounds is None:
        return f"{group} ({counted})"
    low, high = (f"{area:.0f} px²" for area in bounds)
    limits = (f"area up to {low}", f"area above {low}, up to {high}", f"area above {high}")
    return f"{group} ({counted}; {limits[SIZES.index(group)]})"


def spread(statistic: Statistic, digits: int = 4, scale: float = 1.0) -> str:
    """Mean ± std; the mean alone if it is infinite."""
    if math.isinf(statistic.mean):
        return f"{statistic.mean}"
    return f"{scale * statistic.mean:.{digits}f} ± {scale * statistic.std:.{digits}f}"


def signed(apart: Interval) -> str:
    """A difference with its interval."""
    return f"{apart.mean:+.4f} [{apart.low:+.4f}, {apart.high:+.4f}]"


def _headed(group: str, rows: Sequence[Summary], bounds: tuple[float, float] | None) -> str:
    """Heading of a table; its count includes cases on which a method failed."""
    return heading(group, max(row.n + row.failed for row in rows), bounds)


def _qualities(qualities: Mapping[str, Reliability]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of qualities."""
    head = ["method", "n", "Spearman", "mean error", "coverage", "mean width", "area", "perfect order", "random order"]
    rows = []
    for name, own in qualities.items():
        numbers = ((own.spearman, ".3f"), (own.error, ".4f"), (own.coverage, ".1%"), (own.width, ".3f"))
        cells = [NONE if math.isnan(number) else f"{number:{form}}" for number, form in numbers]
        rows.append([name, str(own.n), *cells, *(f"{area:.4f}" for area in (own.area, own.perfect, own.random))])
    return head, rows


def _left_out(failures: Sequence[Failure]) -> Iterator[tuple[str, list[str]]]:
    """Notes on excluded cases: titles, and one line per case."""
    for method in dict.fromkeys(failure.method for failure in failures):
        own = [failure for failure in failures if failure.method == method]
        lines = [f"{failure.case}: {' '.join(failure.reason.split())}" for failure in own[:LISTED]]
        lines += [f"and {len(own) - LISTED} more"] if len(own) > LISTED else []
        counted = f"{len(own)} case{'s' * (len(own) != 1)}"
        what = f"Excluded from the row of {method} and from differences with it" if method else "In no row"
        yield f"{what}, {counted}", lines


def _by_group(summaries: Sequence[Summary]) -> dict[str, list[Summary]]:
    groups: dict[str, list[Summary]] = {ALL: []}
    for row in summaries:
        groups.setdefault(row.group, []).append(row)
    return groups


def _grid(rows: Sequence[Summary]) -> list[list[str]]:
    """Cells of a group, header first; the columns are those common to all groups."""
    references = list(dict.fromkeys(name for row in rows for name in row.differences))
    several, lossy = any(row.seeds > 1 for row in rows), any(row.failed for row in rows)
    head = ["method", "Dice, mean ± std", "95% interval", "median"]
    head += [f"Dice − {name} [95% interval]" for name in references]
    head += ["Jaccard", "Conformity, mean", "median", "HD, px", "HD95, px", "ASD, px", "empty", "ms/image"]
    head += ["n", "failed"] if lossy else []
    head += ["seeds", "Dice, std of seeds"] if several else []
    grid = [head]
    for row in rows:
        dice, conformity = row.dice, row.measures["conformity"]
        cells = [row.method, spread(dice), f"{dice.interval.low:.4f} to {dice.interval.high:.4f}", f"{dice.median:.4f}"]
        cells += [signed(row.differences[name]) if name in row.differences else NONE for name in references]
        cells += [f"{row.measures['jaccard'].mean:.4f}", f"{conformity.mean:.3f}", f"{conformity.median:.3f}"]
        cells += [spread(row.measures[name], 2) for name in ("hausdorff", "hausdorff95", "asd")]
        cells += [f"{row.empty:.1%}", f"{row.ms:.1f}"]
        if row.n == 0:
            cells = [row.method, *[NONE] * (len(cells) - 1)]
        if lossy:
            cells += [str(row.n), str(row.failed)]
        if several:
            cells += [str(row.seeds), NONE if math.isnan(row.dice_seed_std) else f"{row.dice_seed_std:.4f}"]
        grid.append(cells)
    return grid


def _latex_row(cells: Sequence[str]) -> str:
    return f"{' & '.join(map(_escaped, cells))} \\\\"


def _escaped(text: str) -> str:
    """Text escaped for LaTeX; minus signs and infinity become math symbols."""
    backslash = "\0"
    text = text.replace("\\", backslash)
    for plain in "&%$#_{}":
        text = text.replace(plain, f"\\{plain}")
    shown = {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", backslash: r"\textbackslash{}", NONE: "--"}
    shown |= {
        "±": r"$\pm$",
        "−": "$-$",
        "²": "$^2$",
        "-inf": r"$-\infty$",
        "×": r"$\times$",
        "√": r"$\surd$",
        "θ": r"$\theta$",
    }
    for plain, latex_text in shown.items():
        text = text.replace(plain, latex_text)
    return text
