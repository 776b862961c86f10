"""The Dice of the agent that maximises each variant of the paper's rewards one step ahead.

    python benchmarks/table_rewards.py --data busi:PATH --split val

The classification reward by `sign`, `difference` or `logit`; the intensity reward against the region erased so far, by
`superpixel` or `cumulative` (the literal reading), at several thresholds, or off. The agent `greedy` tries each erasure
and keeps it if it pays more than passing; the shipped classifier is the scorer. This measures how much one immediate
reward says about one superpixel of one image. It does not bound trained agents, which average over many images
(Table 2). Further rows: rewards by a prior, alone and with half the fall of the log-odds, as in our preset; then the
paper's variant, and the same by `logit`, with one option of the environment changed at a time. Fine superpixels, roi
canvas, two agents, two traversals that do not end when the tag flips; masks are tidied as the pipeline's are
(`flipagents.maps.tidy.tidy`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from common import make_parser, provenance, read, run, save_figures

from flipagents.classify.classifier import Classifier
from flipagents.compare.evaluation import Candidate
from flipagents.compare.methods import METHODS
from flipagents.compare.plots import dice_figure
from flipagents.compare.report import Report
from flipagents.compare.tables import latex_table, markdown_table, signed, spread
from flipagents.learn.agents import make_agent
from flipagents.learn.rollout import masks_of
from flipagents.maps.enriched import Enriched
from flipagents.maps.tidy import tidy
from flipagents.segment.loading import find_prior
from flipagents.store.checkpoint import SHIPPED
from flipagents.store.files import write_texts
from flipenv.config import EnvConfig
from flipenv.pixels import Mask
from flipenv.pool import EpisodePool
from flipenv.sources import CaseSource
from flipenv.types import Case

CSR = ("sign", "difference", "logit")
THETAS = {"superpixel": (15.0, 25.0, 40.0), "cumulative": (1.0, 5.0, 25.0)}  # grey levels
PRIORS = ("ellipse", "polar", "refined", "contour")
CHANGES: tuple[tuple[str, Any], ...] = (  # of the environment, one at a time
    ("standardise", True),
    ("credit", "sequential"),
    ("credit", "counterfactual"),
    ("order", "radial"),
    ("background", "mirror"),
    ("background", "inpaint"),
    ("n_agents", 1),
    ("n_agents", 4),
)
LANES = 64


@dataclass(frozen=True)
class Variant:
    """One variant of the rewards."""

    csr: str  # "" for none
    idr: str = ""
    theta: float | None = None
    prior: str | None = None
    weight: float = 1.0  # of the classification reward
    change: tuple[str, Any] | None = None  # a field of EnvConfig and its value

    @property
    def name(self) -> str:
        """Name of its row."""
        idr = f"IDR {self.idr} θ {self.theta:g}" if self.idr else ""
        csr = f"{'' if self.weight == 1 else f'{self.weight:g} '}CSR {self.csr}" if self.csr else ""
        paid = " + ".join(part for part in (csr, idr, f"prior {self.prior}" if self.prior else "") if part)
        return ", ".join(part for part in ("greedy", paid, self.changed) if part)

    @property
    def changed(self) -> str:
        """The option that differs from the other rows, "" for none."""
        return "" if self.change is None else "{}={}".format(*self.change)

    def env(self, base: EnvConfig) -> EnvConfig:
        """The environment with these rewards."""
        paid = base.replace(
            csr=self.csr or "sign",
            csr_weight=self.weight if self.csr else 0.0,
            idr=self.idr or "none",
            idr_weight=1.0 if self.idr else 0.0,
            prior_weight=1.0 if self.prior else 0.0,
        )
        paid = paid if self.theta is None else paid.replace(theta=self.theta)
        return paid if self.change is None else paid.replace(**dict([self.change]))


class Greedy:
    """Method: agents that maximise the immediate reward, by the classifier and the learned prior in `weights`."""

    def __init__(self, weights: Path | None, device: str, *, variant: Variant, base: EnvConfig) -> None:
        self.variant, self.env, self.device = variant, variant.env(base), None if device == "cpu" else device
        folder = weights or SHIPPED
        self.scorer = Classifier.load(folder / "classifier" / "classifier").scorer(device)
        self.prior = find_prior(variant.prior, folder, device)

    def __call__(self, cases: list[Case]) -> list[Mask]:
        """One mask per case."""
        priors = None if self.prior is None else [self.prior(case.image, case.box) for case in cases]
        pool = EpisodePool(Enriched(CaseSource(cases), priors), self.env, cache=False)
        agent = make_agent("greedy", self.env)
        masks = masks_of(agent, pool, scorer=self.scorer, lanes=LANES, device=self.device, workers=1)
        return [tidy(mask) for mask in masks]


def main(arguments: Sequence[str] | None = None) -> Report:
    """Run the script."""
    options = read(make_parser(__doc__, "table_rewards"), arguments)
    base = EnvConfig(beta=None, traversals=1 if options.quick else 2)
    rows = variants()[::3] if options.quick else variants()
    for each in rows:
        if each.name not in METHODS:
            METHODS.register(each.name)(partial(Greedy, variant=each, base=base))
    report = run(options, [Candidate(each.name, weights=options.weights) for each in rows], references=("ellipse",))
    report.write(options.out)
    head = ["CSR", "IDR", "θ", "prior", "changed"]
    head += ["Dice of the maximiser", "Dice − ellipse [95% interval]", "empty", "ms/image"]
    cells = [line(each, report) for each in rows]
    text = (
        f"Rewards and their one-step maximisers, n = {report.summaries[0].n} cases\n\n{markdown_table(head, cells)}\n"
        f"{report.markdown()}\n{provenance(report.about)}\n"
    )
    write_texts({options.out / "table.md": text, options.out / "rewards.tex": latex_table(head, {"": cells})})
    save_figures(options.out, {"dice.png": dice_figure(report)})
    print(text)
    return report


def variants() -> list[Variant]:
    """All variants, the paper's first choice of each part before others."""
    found = []
    for csr in CSR:
        found.append(Variant(csr))
        found += [Variant(csr, idr, theta) for idr, thetas in THETAS.items() for theta in thetas]
    for prior in PRIORS:
        found += [Variant("", prior=prior), Variant("logit", prior=prior, weight=0.5)]
    return found + [
        Variant(csr, "superpixel", EnvConfig.theta, change=change) for csr in ("sign", "logit") for change in CHANGES
    ]


def line(variant: Variant, report: Report) -> list[str]:
    """Cells of one row."""
    row = report.row(variant.name)
    csr = f"{variant.weight:g} {variant.csr}" if variant.csr else "off"
    theta = "" if variant.theta is None else f"{variant.theta:g}"
    parts = [csr, variant.idr or "off", theta, variant.prior or "", variant.changed]
    if row is None:
        return [*parts, "not run", "", "", ""]
    return [*parts, spread(row.dice), signed(row.differences["ellipse"]), f"{row.empty:.1%}", f"{row.ms:.0f}"]


if __name__ == "__main__":
    main()
