"""All constants of the environment, each with its unit and source."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from flipenv.errors import ConfigError
from flipenv.options import between, flag, known_fields, naming, one_of, several

CanvasKind = Literal["roi", "whole"]
Csr = Literal["sign", "difference", "logit"]
Credit = Literal["joint", "sequential", "counterfactual"]
Idr = Literal["superpixel", "cumulative", "none"]
ObservationKind = Literal["joint", "egocentric"]

PAPER_FINE = 75.0  # canvas px² a superpixel; the authors' fine superpixels have 64-85 at 448x320
PAPER_COARSE = 375.0  # the authors' coarse ones have 350-400
FINE = 36.0  # on the default `roi` canvas: as many superpixels per box as PAPER_FINE gives on the whole image
COARSE = 160.0  # likewise for PAPER_COARSE; measured in benchmarks/results/oracle.md


AUTO = "auto"
QUANTILE = 0.83  # on the authors' images theta = 25 flags 17% of the nodule's superpixels


@dataclass(frozen=True)
class CanvasSpec:
    """The fixed-size crop of an image on which superpixels are erased.

    `roi`: the area plus `context`, scaled so that its long side fills the canvas; independent of the image's scale.
    `whole`: the image scaled to fit the canvas, aspect ratio kept, as in the paper (448x320, width x height).
    """

    kind: CanvasKind = "roi"
    height: int = 128  # px
    width: int = 128  # px
    context: float = 0.5  # share of the area's long side, half of it at each end; unused by `whole`

    def __post_init__(self) -> None:
        with naming("CanvasSpec"):
            one_of("kind", self.kind, get_args(CanvasKind))
            between("height", self.height, 16, 4096, whole=True)
            between("width", self.width, 16, 4096, whole=True)
            between("context", self.context, 0.0, 10.0)

    @classmethod
    def of(cls, value: CanvasSpec | str | Mapping[str, Any]) -> CanvasSpec:
        """Make a spec from a spec, from "roi" or "whole", or from a mapping of its fields."""
        if isinstance(value, CanvasSpec):
            return value
        if isinstance(value, str):
            return cls(kind="whole", height=320, width=448) if value == "whole" else cls(kind=value)  # type: ignore[arg-type]
        return cls(**known_fields(cls, value))


@dataclass(frozen=True)
class EnvConfig:
    """Options of an episode. 'paper' marks a value stated in the paper; docs/paper.md gives reasons for the rest."""

    # preparation
    canvas: CanvasSpec = dataclasses.field(default_factory=CanvasSpec)
    margin: int = 0  # image px around the box that may be erased too; 30 makes shifted boxes recoverable
    background: str = "eq1"  # eraser source: eq1 (paper), mirror, inpaint, or a registered name
    superpixels: str = "seeds"  # seeds (paper), slic, grid, or a registered name
    cell_area: float = FINE  # canvas px² a superpixel
    jitter: tuple[float, float] = (0.0, 0.0)  # image px: least and largest shift of the box's centre (paper, Table 3)
    variants: int = 1  # jittered copies of each case
    # agents
    n_agents: int = 2  # paper; 1, 2 or 4
    order: str = "index"  # index (paper), radial, or a registered name
    # observation
    window: int = 64  # canvas px, side of the square around the agent's superpixel (paper)
    frames: int = 6  # most recent windows, all agents together (paper); rounded up to whole steps
    observation: ObservationKind = "joint"  # paper: every agent sees the same stack; egocentric: own frames first
    coarse_channels: bool = False  # stage 2 of the paper: the earlier stage's mask for each frame
    channels: tuple[str, ...] = ()  # extra for each agent: superpixel, erased, box, ellipse, prior, or registered
    # reward
    reward: str = "sum"  # weighted sum of the parts below; or a registered name
    csr_weight: float = 1.0  # paper
    idr_weight: float = 1.0  # paper
    prior_weight: float = 0.0  # for erasing what the case's prior marks as nodule; not in the paper
    csr: Csr = "sign"  # paper
    dead_zone: float = 1e-4  # smaller score changes count as 0, so that float noise has no sign
    credit: Credit = "joint"  # how the effect of simultaneous erasures is shared out as classification reward
    idr: Idr = "superpixel"  # what Eq. 2 compares; `cumulative` is its literal reading
    theta: float | str = 25.0  # grey levels (paper); "auto" or "auto:QUANTILE": set from the boxes, see `quantile_of`
    standardise: bool | Literal["core"] = False  # scale distances: to the area's deviation, or to the box's own core
    # end of the episode
    beta: float | None = 0.05  # nodule score below which the tag counts as flipped (paper); None: no early end
    traversals: int = 2  # N (paper)
    max_cycles: int | None = None  # joint steps after which an episode is truncated

    def __post_init__(self) -> None:
        object.__setattr__(self, "canvas", CanvasSpec.of(self.canvas))
        with naming("EnvConfig"):
            jitter = several("jitter", self.jitter, float, 2)
            object.__setattr__(self, "jitter", tuple(float(shift) for shift in jitter))
            object.__setattr__(self, "channels", several("channels", self.channels, str))
            flag("coarse_channels", self.coarse_channels)
            if not isinstance(self.standardise, bool) and self.standardise != "core":
                raise ConfigError(f"standardise={self.standardise!r}; expected True, False or 'core'")
            between("margin", self.margin, 0, 4096, whole=True)
            between("cell_area", self.cell_area, 1.0, math.inf)
            if not 0 <= self.jitter[0] <= self.jitter[1] < math.inf:
                raise ConfigError(
                    f"jitter={self.jitter}; expected (least, largest) shift in pixels, 0 <= least <= largest"
                )
            between("variants", self.variants, 1, 10_000, whole=True)
            one_of("n_agents", self.n_agents, (1, 2, 4))
            between("window", self.window, 8, 512, whole=True)
            between("frames", self.frames, 1, 64, whole=True)
            one_of("observation", self.observation, get_args(ObservationKind))
            one_of("csr", self.csr, get_args(Csr))
            for name in ("csr_weight", "idr_weight", "prior_weight"):
                between(name, getattr(self, name), 0.0, 1e6)
            between("dead_zone", self.dead_zone, 0.0, 1.0)
            one_of("credit", self.credit, get_args(Credit))
            one_of("idr", self.idr, get_args(Idr))
            if isinstance(self.theta, str):
                quantile_of(self.theta)
            else:
                between("theta", self.theta, 0.0, 1e6)
            if self.beta is not None:
                between("beta", self.beta, 0.0, 1.0)
            between("traversals", self.traversals, 1, 1000, whole=True)
            if self.max_cycles is not None:
                between("max_cycles", self.max_cycles, 1, 10**9, whole=True)

    @property
    def history(self) -> int:
        """Number of steps F whose windows are in the observation."""
        return math.ceil(self.frames / self.n_agents)

    @property
    def n_channels(self) -> int:
        """Number of channels C of one agent's observation."""
        return self.history * self.n_agents * (1 + self.coarse_channels) + self.n_agents * len(self.channels)

    @classmethod
    def paper(cls, stage: Literal[1, 2] = 2, **options: Any) -> EnvConfig:
        """The environment as far as the paper specifies it: coarse superpixels in stage 1, fine ones in stage 2."""
        preset: dict[str, Any] = {
            "canvas": "whole",
            "cell_area": PAPER_COARSE if stage == 1 else PAPER_FINE,
            "coarse_channels": stage == 2,
        }
        return cls().replace(**{**preset, **options})

    def replace(self, **options: Any) -> EnvConfig:
        """Return a copy with some options changed; ConfigError names an option that does not exist."""
        return dataclasses.replace(self, **known_fields(EnvConfig, options))

    @classmethod
    def of(cls, value: EnvConfig | Mapping[str, Any] | None, **options: Any) -> EnvConfig:
        """Make a config from a config, a mapping of its fields (as in JSON) or None, with some options changed."""
        base = value if isinstance(value, EnvConfig) else cls().replace(**(value or {}))
        return base.replace(**options)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `EnvConfig.of` reads it back."""
        return dataclasses.asdict(self)


def quantile_of(theta: str) -> float:
    """The quantile in a theta of "auto" (0.83) or "auto:QUANTILE"; ConfigError for anything else.

    An `EpisodePool` replaces it by the grey levels of that quantile, see `flipenv.theta.theta_from_boxes`.
    """
    word, colon, number = theta.partition(":")
    try:
        if word != AUTO:
            raise ValueError
        quantile = float(number) if colon else QUANTILE
    except ValueError:
        raise ConfigError(
            f"theta={theta!r}; expected grey levels, 'auto', or 'auto:QUANTILE' such as 'auto:0.9'"
        ) from None
    between("theta's quantile", quantile, 0.0, 1.0)
    return quantile
