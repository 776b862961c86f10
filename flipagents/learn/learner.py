"""The training loop: lanes of episodes and one agent that learns from them, on one device.

Observations never leave the device; each step synchronises once, to find the lanes that ended. Those wait one step (see
`flipagents.learn.replay`) and then start new episodes.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flipagents.learn import ranks
from flipagents.learn.agent import Agent, SelfTaught
from flipagents.learn.agents import make_agent
from flipagents.learn.config import LearnerConfig
from flipagents.learn.log import RunLog
from flipagents.learn.theta import HIGHEST, FallingTheta
from flipagents.store.checkpoint import CheckpointError, Snapshot, plain, prefixed
from flipagents.store.run_folder import AGENT, CHECKPOINT, LENGTH_ONLY
from flipenv.batch import Batch, to_numpy
from flipenv.config import EnvConfig
from flipenv.errors import ConfigError
from flipenv.pool import EpisodePool
from flipenv.progress import show_progress
from flipenv.scorer import Scorer
from flipenv.sources import SourceLike
from flipenv.types import State, Transition

KIND = "flipagents.run"  # checkpoint kind


class Learner:
    """Trains one agent on one pool of episodes.

    source: an `EpisodePool`, or a source from which one is made with the options `env`.
    agent: a registered name, or an agent made for the same configs.
    scorer, cache, workers, progress: as in `flipenv.Batch`.

    Under torchrun all ranks train the same weights (see `flipagents.learn.ranks`), each with its own lanes and replay
    buffer; steps, episodes and metrics are totals over ranks, written by rank 0.

    On one machine the same arguments give the same weights bit for bit, even if a run is killed and resumed (on CUDA
    only with `torch.use_deterministic_algorithms(True)`).
    """

    def __init__(
        self,
        source: EpisodePool | SourceLike,
        config: LearnerConfig | Mapping[str, Any] | str | None = None,
        *,
        agent: str | Agent = "ddqn",
        scorer: Scorer | str | None = "contrast",
        env: EnvConfig | Mapping[str, Any] | None = None,
        cache: bool | str | Path = True,
        workers: int | None = None,
        progress: bool = True,
    ) -> None:
        self.config = LearnerConfig.of(config)
        pool = source if isinstance(source, EpisodePool) else EpisodePool(source, EnvConfig.of(env), cache=cache)
        lanes, device = self.config.lanes, self.config.device
        self.agent = make_agent(agent, pool.config, self.config) if isinstance(agent, str) else agent
        if (self.agent.env, self.agent.config) != (pool.config, self.config):
            raise ConfigError(
                f"agent '{self.agent.name}' was made with configs that differ from this learner's; make it with "
                "make_agent(name, pool.config, config)"
            )
        check_agent(self.agent, self.config)
        self.batch = Batch(pool, lanes, scorer=scorer, device=device, workers=workers, progress=progress)
        self.batch.seed(self.config.seed + ranks.rank() * lanes)
        self.steps = 0  # joint steps of all lanes together
        self.episodes = 0  # finished
        self.seconds = 0.0  # spent in the loop
        self._ended: list[int] = []  # lanes waiting for a reset
        self._waiting = 0  # such lanes on all ranks
        self._returns = torch.zeros(lanes, dtype=torch.float64, device=device)
        self._theta = self._falling_theta()
        self._sums: dict[str, Tensor] = {}  # for the means in the next row of metrics
        self._counts: dict[str, int] = {}

    def _falling_theta(self) -> FallingTheta | None:
        config, quantile = self.config, self.config.theta_quantile
        if quantile is None:
            return None
        self.batch.config = self.batch.config.replace(theta=HIGHEST)
        return FallingTheta(self.batch.pool, quantile, config.lanes, config.device)

    @property
    def progress(self) -> float:
        """Completed share of the training, 0..1."""
        by_episodes = self.episodes / (self.config.epochs * len(self.batch.pool))
        by_steps = 0.0 if self.config.train_steps is None else self.steps / self.config.train_steps
        return min(max(by_episodes, by_steps), 1.0)

    def train(self) -> Iterator[dict[str, Any]]:
        """Run to the end of training, or until the caller stops; yield a row of metrics every `log_every` joint steps.

        step, episodes: totals; epsilon; theta, if it falls; steps_per_second: joint steps, learning included. Means
        since the previous row, None without data: the metrics that the agent's `update` returned (for Q agents loss, q,
        td_error, gradient); and over finished episodes: return (summed over agents), length (joint steps), erased
        (share of the erasable pixels), score (final nodule score), flipped (share that ended with the tag flipped).
        """
        if self.batch.state is None:
            self.batch.reset()
        started, first = time.perf_counter(), self.steps
        while self.progress < 1:
            before = self.steps
            self._step()
            rows = self.steps // self.config.log_every - before // self.config.log_every
            if rows > 0 or self.progress >= 1:
                passed = time.perf_counter() - started
                self.seconds += passed
                speed = (self.steps - first) / passed
                yield self._row(speed)
                started, first = time.perf_counter(), self.steps

    def fit(self, folder: str | Path, *, progress: bool = True) -> dict[str, Any]:
        """Train into a folder, resuming an earlier run in it; return the last row of metrics.

        Writes metrics.jsonl and metrics.csv, TensorBoard events if it is installed, `checkpoint` at the configured
        intervals, and at the end `agent`, for inference. Raises CheckpointError if the checkpoint does not fit this
        learner, OSError if the disk is full; the previous checkpoint is then unchanged.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        saved_before = ranks.read(folder / CHECKPOINT, KIND, lambda about: int(about["steps"]))
        if saved_before is not None:
            self.restore(saved_before)
        log = RunLog(folder, self.steps) if ranks.rank() == 0 else None
        saved, saved_at = self.steps, time.monotonic()
        quiet = not progress or ranks.rank() > 0
        with show_progress(folder.name, 1.0, done=self.progress, unit=None, quiet=quiet) as shown:
            last: dict[str, Any] = {}
            for row in self.train():
                last = row
                if log is not None:
                    log.write(row)
                shown.reach(self.progress, self._summary(row))
                far = self.config.checkpoint_every is not None and self.steps - saved >= self.config.checkpoint_every
                late = time.monotonic() - saved_at >= 60 * self.config.checkpoint_minutes
                if ranks.all_gather(far or late)[0]:  # clocks differ: rank 0 decides
                    self.save(folder)
                    saved, saved_at = self.steps, time.monotonic()
        if log is not None:
            log.close()
            last = log.rows[-1] if log.rows else {}
        self.save(folder)
        ranks.on_rank_0(lambda: self.agent.save(folder / AGENT))
        return ranks.on_rank_0(lambda: last)

    def save(self, folder: str | Path) -> None:
        """Write a checkpoint to a run's folder."""
        ranks.write(Path(folder) / CHECKPOINT, self.snapshot(), KIND)

    def snapshot(self) -> Snapshot:
        """Everything needed to resume bit for bit, between two rows of metrics or steps."""
        agent, batch = self.agent.snapshot(), self.batch
        scores = batch.first_scores  # in a batch of other composition a score may differ in its last bit
        tensors = {
            **prefixed("agent", agent.tensors),
            **prefixed("lanes", {} if batch.state is None else vars(batch.state)),
            **prefixed("sum", self._sums),
            "returns": self._returns,
            "first_score.episode": torch.tensor(list(scores), dtype=torch.int64),
            "first_score.score": torch.tensor(list(scores.values()), dtype=torch.float64),
            "torch_rng": torch.get_rng_state(),
            **prefixed("theta", {} if self._theta is None else self._theta.tensors()),
        }
        if torch.device(self.config.device).type == "cuda":
            tensors["cuda_rng"] = torch.cuda.get_rng_state(self.config.device)
        about = {
            "agent": agent.about,
            "name": self.agent.name,
            "config": self.config.to_dict(),
            "env": batch.pool.config.to_dict(),
            "theta": batch.config.theta,
            "pool": _pool_digest(batch.pool),
            "processes": ranks.count(),
            "steps": self.steps,
            "episodes": self.episodes,
            "seconds": self.seconds,
            "ended": self._ended,
            "counts": self._counts,
            "drawn": batch.drawn.tolist(),
            "generators": [generator.bit_generator.state for generator in batch.generators],
            "numpy_rng": plain(np.random.get_state(legacy=False)),
        }
        return Snapshot(tensors, about)

    def restore(self, snapshot: Snapshot) -> None:
        """Resume from a snapshot; CheckpointError if its agent, config, environment or pool differs.

        Only the options in `LENGTH_ONLY` may differ.
        """
        about, batch, device = snapshot.about, self.batch, self.config.device
        self._check(about)
        self.agent.restore(Snapshot(snapshot.under("agent"), about["agent"]))
        scores = snapshot.under("first_score")
        batch.first_scores = dict(zip(scores["episode"].tolist(), scores["score"].tolist(), strict=True))
        lanes = snapshot.under("lanes")
        if lanes:
            batch.reset(cases=about["drawn"])
            batch.state = State(**{name: tensor.to(device) for name, tensor in lanes.items()})
        for generator, state in zip(batch.generators, about["generators"], strict=True):
            generator.bit_generator.state = state
        self.steps, self.episodes, self.seconds = about["steps"], about["episodes"], about["seconds"]
        self._ended, self._counts = list(about["ended"]), dict(about["counts"])
        self._waiting = ranks.total(len(self._ended), device)
        self._sums = {name: tensor.to(device) for name, tensor in snapshot.under("sum").items()}
        self._returns = snapshot.tensors["returns"].to(device)
        if self._theta is not None:
            self._theta.restore(snapshot.under("theta"))
            batch.config = batch.config.replace(theta=about["theta"])
        torch.set_rng_state(snapshot.tensors["torch_rng"])
        if "cuda_rng" in snapshot.tensors:
            torch.cuda.set_rng_state(snapshot.tensors["cuda_rng"], device)
        legacy = about["numpy_rng"]
        legacy["state"]["key"] = np.array(legacy["state"]["key"], np.uint32)
        np.random.set_state(legacy)

    def _step(self) -> None:
        """One step of all lanes and the updates due; or one round of an agent's own loop."""
        progress, config, batch = self.progress, self.config, self.batch
        if isinstance(self.agent, SelfTaught):
            for name, value in self.agent.practise(batch, self._note, progress).items():
                self._tally(name, value, 1)
            return
        if self._theta is not None:
            self._theta.note(batch)
        actions = self.agent.act(batch, config.epsilon(progress))
        transition = batch.step(actions)
        self.agent.observe(actions, transition)
        self._returns += transition.reward.sum(1)
        if self._ended:
            batch.reset(self._ended)
        before = self.steps
        self.steps += ranks.count() * config.lanes - self._waiting
        rate = config.updates_per_step / ranks.count()
        due = math.floor(self.steps * rate) - math.floor(before * rate)
        for _ in range(due):
            for name, value in self.agent.update(progress).items():
                self._tally(name, value, 1)
        assert batch.state is not None
        ended = to_numpy(batch.state.terminated | batch.state.truncated)  # the only device synchronisation
        self._ended = [int(lane) for lane in np.flatnonzero(ended)]
        self._waiting = ranks.total(len(self._ended), config.device)
        self.episodes += self._waiting
        if self._ended:
            self._finish(self._ended)

    def _note(self, transition: Transition) -> None:
        """Record one step of all lanes, none of which had ended before it."""
        state = transition.state
        self._returns += torch.as_tensor(transition.reward).sum(1)
        self.steps += self.config.lanes
        ended = np.flatnonzero(to_numpy(state.terminated | state.truncated)).tolist()
        self.episodes += len(ended)
        if ended:
            self._finish(ended)

    def _finish(self, lanes: list[int]) -> None:
        """Record the results of these lanes' finished episodes."""
        state, episodes = self.batch.state, self.batch.episodes
        assert state is not None
        assert episodes is not None
        values = {
            "return": self._returns[lanes],
            "length": state.step[lanes],
            "erased": state.histogram[lanes, -1] / episodes.pixels[lanes],
            "score": state.score[lanes],
            "flipped": state.terminated[lanes],
        }
        for name, value in values.items():
            self._tally(name, value.double().sum(), len(lanes))
        self._returns[lanes] = 0.0

    def _tally(self, name: str, value: Tensor, count: int) -> None:
        self._sums[name] = self._sums[name] + value if name in self._sums else value.double()
        self._counts[name] = self._counts.get(name, 0) + count

    def _row(self, speed: float) -> dict[str, Any]:
        own = torch.stack(list(self._sums.values())).tolist() if self._sums else []
        sums: dict[str, float] = {}
        counts: dict[str, int] = {}
        for theirs, how_many in ranks.all_gather((dict(zip(self._sums, own, strict=True)), self._counts)):
            for name, value in theirs.items():
                sums[name] = sums.get(name, 0.0) + value
                counts[name] = counts.get(name, 0) + how_many[name]
        means = {name: value / counts[name] for name, value in sums.items()}
        self._sums, self._counts = {}, {}
        theta = {}
        if self._theta is not None:
            at = self._theta.theta(self.config.fallen(self.progress))
            theta["theta"] = ranks.all_gather(at)[0]
            self.batch.config = self.batch.config.replace(**theta)
        nothing = dict.fromkeys(("return", "length", "erased", "score", "flipped"))
        about = {"step": self.steps, "episodes": self.episodes, "epsilon": self.config.epsilon(self.progress)}
        row: dict[str, Any] = plain({**about, **theta, "steps_per_second": speed, **nothing, **means})
        return row

    def _summary(self, row: dict[str, Any]) -> str:
        epochs = self.config.epochs
        epoch = min(self.episodes // len(self.batch.pool) + 1, epochs)
        means = [
            f"{name} {row[name]:.3g}" for name in ("loss", "return", "erased", "score") if row.get(name) is not None
        ]
        return ", ".join([f"epoch {epoch}/{epochs}", f"step {row['step']}", *means])

    def _check(self, about: dict[str, Any]) -> None:
        now = {
            "agent": self.agent.name,
            "pool": _pool_digest(self.batch.pool),
            "processes": ranks.count(),
            **prefixed("config", {k: v for k, v in self.config.to_dict().items() if k not in LENGTH_ONLY}),
            **prefixed("env", json.loads(json.dumps(self.batch.pool.config.to_dict()))),
        }
        then = {
            "agent": about["name"],
            "pool": about["pool"],
            "processes": about.get("processes", 1),
            **prefixed("config", about["config"]),
            **prefixed("env", about["env"]),
        }
        other = [
            f"{name}: {then.get(name)!r} then, {value!r} now" for name, value in now.items() if then.get(name) != value
        ]
        if other:
            raise CheckpointError(
                f"the checkpoint is from another run ({'; '.join(other)}); resume with the same options, "
                "or use a new folder"
            )


def check_agent(agent: Agent, config: LearnerConfig) -> None:
    """Raise ConfigError for what an agent cannot do: several ranks (`flipagents.learn.ranks`), a theta that falls."""
    if config.theta_quantile is not None and isinstance(agent, SelfTaught):
        raise ConfigError(
            f"theta_quantile={config.theta_quantile}: agent '{agent.name}' has a training loop of its own, in which "
            'theta cannot fall; set theta="auto" for the environment instead'
        )
    if ranks.count() > 1 and not agent.learns_together:
        raise ConfigError(f"agent '{agent.name}' cannot be trained by {ranks.count()} processes; start one")


def _pool_digest(pool: EpisodePool) -> str:
    """Digest that identifies the cases of a pool."""
    names = json.dumps(list(pool.source.ids)).encode()
    return f"{len(pool)} episodes {hashlib.blake2b(names, digest_size=8).hexdigest()}"
