"""The ring buffer against a plain list of all that happened."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the learner needs torch")
from flipagents.learn.config import LearnerConfig  # noqa: E402 - beside torch
from flipagents.learn.replay import ReplayBuffer  # noqa: E402 - needs torch
from flipenv.errors import ConfigError  # noqa: E402

LANES, AGENTS, GAMMA = 3, 2, 0.5
LENGTHS = (3, 5, 4)  # steps of an episode in each lane
FLIPS = (False, True, False)  # whether a lane's episodes terminate, or are truncated
Truth = dict[tuple[int, ...], tuple[Any, ...]]


def play(buffer: ReplayBuffer, rows: int, n: int) -> Truth:
    """Write `rows` rows of scripted episodes; return what each drawn start must come with, by what it saw."""
    place = [[0, 0] for _ in range(LANES)]  # episode, step
    lived: list[list[tuple[Any, ...]]] = [[] for _ in range(LANES)]
    for row in range(rows):
        seen, live, paid = [], [], []
        for lane in range(LANES):
            episode, step = place[lane]
            seen.append([lane, episode, step, 0])
            live.append(step < LENGTHS[lane])
            paid.append([float(episode + step), float(10 * lane + step)] if live[-1] else [0.0, 0.0])
            place[lane] = [episode, step + 1] if live[-1] else [episode + 1, 0]
        done = [place[lane][1] == LENGTHS[lane] or not live[lane] for lane in range(LANES)]
        terminated = [end and flips for end, flips in zip(done, FLIPS, strict=True)]
        truncated = [end and not flips for end, flips in zip(done, FLIPS, strict=True)]
        actions = [[(row + lane) % 2, lane % 2] for lane in range(LANES)]
        buffer.add(
            torch.tensor(seen, dtype=torch.uint8)[:, None, None],
            torch.tensor(actions),
            torch.tensor(paid),
            torch.tensor(terminated),
            torch.tensor(truncated),
            torch.tensor(live),
        )
        for lane in range(LANES):
            lived[lane].append((seen[lane], actions[lane], paid[lane], done[lane], live[lane]))
    truth: Truth = {}
    for lane, story in enumerate(lived):
        for row in range(max(rows - buffer.config.rows, 0), rows - n):
            total, at = [0.0] * AGENTS, row
            for power in range(n):
                total = [sum_ + GAMMA**power * pay for sum_, pay in zip(total, story[at][2], strict=True)]
                at += 1
                if story[at - 1][3]:
                    break
            flipped = FLIPS[lane] and story[at - 1][3]
            if story[row][4]:
                truth[tuple(story[row][0])] = (
                    story[row][1],
                    total,
                    story[at][0],
                    0.0 if flipped else GAMMA ** (at - row),
                )
    return truth


def make(rows: int, n: int, **options: Any) -> ReplayBuffer:
    config = LearnerConfig.small(lanes=LANES, replay=LANES * rows, warmup=0, n_step=n, gamma=GAMMA, **options)
    return ReplayBuffer((1, 1, 4), AGENTS, config)


@pytest.mark.parametrize("prioritised", [False, True])
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize(("rows", "written"), [(40, 20), (7, 7), (7, 9), (7, 47), (2, 30)])
def test_every_transition_is_what_happened(rows: int, written: int, n: int, prioritised: bool) -> None:
    buffer = make(rows, n, prioritised=prioritised)
    truth = play(buffer, written, n)
    sample = buffer.sample(4000, torch.Generator().manual_seed(0))
    drawn = [tuple(each) for each in sample.observation.flatten(1).tolist()]
    assert set(drawn) == set(truth)
    for index, seen in enumerate(drawn):
        actions, total, after, factor = truth[seen]
        assert sample.actions[index].tolist() == actions
        assert sample.reward[index].tolist() == pytest.approx(total)
        assert sample.factor[index].item() == pytest.approx(factor)
        assert sample.next_observation[index].flatten().tolist() == after
        assert after[1] == seen[1], "a transition leads into another episode"
        assert seen[2] < LENGTHS[seen[0]], "a waiting lane was drawn"


def test_uniform_is_uniform() -> None:
    buffer = make(20, 1)
    truth = play(buffer, 21, 1)
    sample = buffer.sample(20000, torch.Generator().manual_seed(0))
    counts = torch.bincount(sample.index).float()
    counts = counts[counts > 0]
    assert len(counts) == len(truth)
    assert (counts / counts.mean() - 1).abs().max() < 0.2
    assert (sample.weight == 1).all()


def test_priorities_and_importance_weights() -> None:
    alpha, beta = 0.7, 0.5
    buffer = make(20, 1, prioritised=True, priority_alpha=alpha)
    play(buffer, 21, 1)
    first = buffer.sample(5000, torch.Generator().manual_seed(0))
    starts = first.index.unique()
    error = torch.linspace(0.1, 4.0, len(starts))
    buffer.reprioritise(starts, error)
    sample = buffer.sample(40000, torch.Generator().manual_seed(1), beta)
    share = torch.bincount(sample.index, minlength=int(starts.max()) + 1)[starts] / 40000
    expected = error**alpha / (error**alpha).sum()
    assert torch.allclose(share, expected, rtol=0.2, atol=2e-3)
    wanted = (len(starts) * expected) ** -beta
    wanted = wanted[torch.searchsorted(starts, sample.index)]
    assert torch.allclose(sample.weight, wanted / wanted.max(), rtol=1e-4)
    play(buffer, 1, 1)
    assert buffer.priority[(buffer.written - 1) % buffer.config.rows].max() == pytest.approx(4.0, rel=1e-5)


@pytest.mark.parametrize("written", [5, 30])
def test_a_restored_buffer_goes_on_alike(written: int) -> None:
    buffer, other = make(10, 2, prioritised=True), make(10, 2, prioritised=True)
    play(buffer, written, 2)
    other.restore({name: tensor.clone() for name, tensor in buffer.tensors().items()})
    for each in (buffer, other):
        play(each, 3, 2)
    ours, theirs = (vars(each.sample(50, torch.Generator().manual_seed(0))) for each in (buffer, other))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert len(buffer) == len(other) > 0


def test_an_empty_buffer_says_so() -> None:
    buffer = make(10, 2)
    play(buffer, 2, 2)
    assert len(buffer) == 0
    with pytest.raises(ConfigError, match="2 rows in the replay buffer; expected more than n_step=2"):
        buffer.sample(4, torch.Generator())


def test_observations_are_kept_once() -> None:
    buffer = make(100, 1)
    held = sum(
        tensor.numel() for tensor in vars(buffer).values() if isinstance(tensor, torch.Tensor) and tensor.ndim > 3
    )
    assert held == buffer.config.rows * LANES * 4
