"""Targets and losses against numbers worked out by hand."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the learner needs torch")
from flipagents.learn.losses import chosen, n_step_return, td_loss, td_target, value_decomposition  # noqa: E402 - needs torch

NEXT_TARGET = torch.tensor([[[1.0, 4.0], [2.0, -1.0]], [[5.0, 3.0], [0.5, 0.25]]])
NEXT_ONLINE = torch.tensor([[[9.0, 8.0], [0.0, 1.0]], [[1.0, 2.0], [3.0, 4.0]]])
REWARD = torch.tensor([[1.0, -1.0], [0.0, 2.0]])


def test_double_dqn_chooses_with_one_network_and_judges_with_the_other() -> None:
    target = td_target(REWARD, torch.tensor([0.5, 0.9]), NEXT_TARGET, NEXT_ONLINE)
    # online chooses pass, erase; erase, erase
    expected = torch.tensor([[1 + 0.5 * 1.0, -1 + 0.5 * -1.0], [0 + 0.9 * 3.0, 2 + 0.9 * 0.25]])
    assert torch.allclose(target, expected)


def test_plain_dqn_takes_the_target_networks_maximum() -> None:
    target = td_target(REWARD, torch.tensor([0.5, 0.9]), NEXT_TARGET)
    assert torch.allclose(target, torch.tensor([[1 + 0.5 * 4.0, -1 + 0.5 * 2.0], [0.9 * 5.0, 2 + 0.9 * 0.5]]))


def test_a_terminal_state_is_worth_its_reward() -> None:
    target = td_target(REWARD, torch.tensor([0.0, 0.9]), NEXT_TARGET, NEXT_ONLINE)
    assert torch.equal(target[0], REWARD[0])
    assert not torch.equal(target[1], REWARD[1])


@pytest.mark.parametrize(
    ("terminated", "truncated", "total", "factor", "steps"),
    [
        ([0, 0, 0], [0, 0, 0], [1 + 0.5 * 2 + 0.25 * 4, 8 + 0.5 * 16 + 0.25 * 32], 0.125, 3),
        ([0, 1, 0], [0, 0, 0], [1 + 0.5 * 2, 8 + 0.5 * 16], 0.0, 2),
        ([0, 0, 0], [0, 1, 0], [1 + 0.5 * 2, 8 + 0.5 * 16], 0.25, 2),
        ([1, 0, 0], [1, 0, 0], [1, 8], 0.0, 1),
        ([0, 0, 1], [1, 0, 0], [1, 8], 0.5, 1),  # the next episode terminates, this one was cut
    ],
)
def test_n_steps_stop_at_an_end(
    terminated: list[int], truncated: list[int], total: list[float], factor: float, steps: int
) -> None:
    rewards = torch.tensor([[[1.0, 8.0], [2.0, 16.0], [4.0, 32.0]]])
    ends = torch.tensor([terminated]).bool(), torch.tensor([truncated]).bool()
    summed, discount, count = n_step_return(rewards, *ends, gamma=0.5)
    assert summed.tolist() == [total]
    assert discount.tolist() == [factor]
    assert count.tolist() == [steps]


def test_chosen() -> None:
    assert chosen(NEXT_TARGET, torch.tensor([[1, 0], [0, 1]])).tolist() == [[4.0, 2.0], [5.0, 0.25]]


def test_losses() -> None:
    value, target = torch.tensor([[0.5, 3.0], [1.0, 1.0]]), torch.tensor([[0.0, 0.0], [1.0, 3.0]])
    weight = torch.tensor([1.0, 0.5])
    loss, error = td_loss(value, target, weight)
    assert loss.item() == pytest.approx(((0.25 + 9) / 2 * 1 + (0 + 4) / 2 * 0.5) / 2)
    assert error.tolist() == [1.75, 1.0]
    loss, error = td_loss(value, target, weight, "huber")
    assert loss.item() == pytest.approx(((0.125 + 2.5) / 2 * 1 + (0 + 1.5) / 2 * 0.5) / 2)
    assert error.tolist() == [1.75, 1.0]


def test_value_decomposition_sums_values_and_rewards() -> None:
    factor = torch.tensor([0.5, 0.0])
    value = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    team, target = value_decomposition(value, td_target(REWARD, factor, NEXT_TARGET))
    assert team.tolist() == [[3.0], [8.0]]
    # summed reward, plus the discounted best joint value: 4 + 2 in the first, nothing after the second
    assert target.tolist() == [[(1 - 1) + 0.5 * (4 + 2)], [0 + 2]]
