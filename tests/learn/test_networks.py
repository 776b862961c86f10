"""Shapes, heads, duelling, and seeds of the networks."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the learner needs torch")
from flipagents.learn.config import LearnerConfig  # noqa: E402 - beside torch
from flipagents.learn.networks import IndependentQNetworks, QNetwork, make_network  # noqa: E402 - needs torch
from flipenv.config import EnvConfig  # noqa: E402
from flipenv.errors import ConfigError  # noqa: E402


def pictures(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("duelling", [False, True])
@pytest.mark.parametrize("agents", [1, 2, 4])
@pytest.mark.parametrize("window", [8, 30, 64])
def test_shapes(window: int, agents: int, duelling: bool) -> None:
    for kind in (QNetwork, IndependentQNetworks):
        network = kind(3, agents, window, "small", duelling).eval()
        joint = pictures(5, 3, window, window)
        assert network(joint).shape == (5, agents, 2)
        egocentric = joint[:, None].expand(5, agents, 3, window, window)
        assert torch.allclose(network(egocentric), network(joint), atol=1e-6)


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_resnet18(norm: str) -> None:
    pytest.importorskip("monai", reason="resnet18 comes from MONAI")
    network = QNetwork(6, 2, 64, "resnet18", norm=norm).eval()  # type: ignore[arg-type]
    assert network(pictures(2, 6, 64, 64)).shape == (2, 2, 2)
    convolutions = [each for each in network.modules() if isinstance(each, torch.nn.Conv2d)]
    assert len(convolutions) == 20  # 17, and 3 on shortcuts
    assert sum(each.numel() for each in network.parameters()) == pytest.approx(11.2e6, rel=0.01)


def test_agents_share_the_trunk_and_have_their_own_head() -> None:
    network = QNetwork(3, 2, 16, "small")
    network(pictures(4, 3, 16, 16))[:, 0].sum().backward()
    assert all(each.grad.abs().sum() > 0 for each in network.trunk.parameters())
    assert network.heads[0].weight.grad.abs().sum() > 0
    assert network.heads[1].weight.grad.abs().sum() == 0


def test_independent_networks_share_nothing() -> None:
    network = IndependentQNetworks(3, 2, 16, "small")
    network(pictures(4, 3, 16, 16))[:, 0].sum().backward()
    mine, others = (list(each.parameters()) for each in network.each)
    assert sum(each.grad.abs().sum() for each in mine) > 0
    assert sum(each.grad.abs().sum() for each in others) == 0


def test_egocentric_agents_see_their_own() -> None:
    network = QNetwork(3, 2, 16, "small")
    seen = pictures(4, 2, 3, 16, 16)
    other = seen.clone()
    other[:, 1] = 255 - other[:, 1]
    assert torch.equal(network(seen)[:, 0], network(other)[:, 0])
    assert not torch.equal(network(seen)[:, 1], network(other)[:, 1])


def test_duelling_heads_hold_value_and_advantage() -> None:
    network = QNetwork(3, 2, 16, "small", duelling=True)
    for head in network.heads:
        torch.nn.init.zeros_(head.weight)
        head.bias.data = torch.tensor([7.0, 1.0, 4.0])
    assert network(pictures(1, 3, 16, 16)).tolist() == [[[7 - 1.5, 7 + 1.5]] * 2]


def test_the_seed_alone_decides_and_the_global_generator_is_left_alone() -> None:
    env, config = EnvConfig(window=16), LearnerConfig.small(seed=3)
    torch.manual_seed(0)
    first = make_network(env, config).state_dict()
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), after)
    again, other = make_network(env, config).state_dict(), make_network(env, config.replace(seed=4)).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("wrong", [(5, 4, 16, 16), (5, 3, 3, 16, 16), (3, 16, 16)])
def test_another_shape_is_refused(wrong: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"expected uint8 of shape \(B, 3, P, P\) or \(B, 2, 3, P, P\)"):
        QNetwork(3, 2, 16, "small")(pictures(*wrong))


def test_floats_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"float32; expected uint8"):
        QNetwork(3, 2, 16, "small")(pictures(5, 3, 16, 16).float())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": 1.5}, "LearnerConfig: gamma=1.5; expected a number between 0.0 and 1.0"),
        ({"lanes": 0}, "lanes=0; expected a whole number"),
        ({"trunk": "resnet"}, "expected one of 'resnet18', 'small'"),
        ({"double": 1}, "double=1; expected True or False"),
        ({"learning_rat": 1.0}, "did you mean 'learning_rate'"),
        ({"warmup": 9000}, "updates would never start"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LearnerConfig.of(options)


def test_configs_are_read_back() -> None:
    config = LearnerConfig.of("small", n_step=3)
    assert LearnerConfig.of(config.to_dict()) == config
    assert LearnerConfig.of("paper") == LearnerConfig()
    with pytest.raises(ConfigError, match="unknown learner preset 'smal': did you mean 'small'"):
        LearnerConfig.of("smal")
    assert [config.epsilon(progress) for progress in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([0.4, 0.225, 0.05, 0.05])
