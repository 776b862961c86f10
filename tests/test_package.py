"""What a user meets first: imports, names, and a wheel that holds what it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import flipenv
from flipenv.config import EnvConfig
from flipenv.registry import Registry


def test_import_brings_no_torch() -> None:
    code = (
        "import flipenv, sys; env = flipenv.parallel_env('phantom:2?height=96&width=128', cache=False);"
        "env.reset(seed=0);"
        "assert not {'torch', 'pygame', 'monai', 'pydicom', 'nibabel'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_exist() -> None:
    assert all(hasattr(flipenv, name) for name in flipenv.__all__)
    assert flipenv.__version__


def test_config_round_trip() -> None:
    import json

    for config in (
        EnvConfig(),
        EnvConfig.paper(1),
        EnvConfig.paper(2, margin=30),
        EnvConfig(channels=("box", "erased")),
    ):
        assert EnvConfig.of(json.loads(json.dumps(config.to_dict()))) == config
    assert EnvConfig.paper(2).n_channels == 12
    assert EnvConfig.paper(1).n_channels == 6
    assert EnvConfig.paper().canvas.height == 320
    assert EnvConfig(n_agents=1).history == 6
    assert EnvConfig(n_agents=4).history == 2


def test_registry_refuses_a_second_part_of_one_name() -> None:
    registry: Registry[object] = Registry("thing")
    part = object()
    registry.register("a")(part)
    registry.register("a")(part)
    with pytest.raises(flipenv.FlipError, match="thing 'a' is already registered"):
        registry.register("a")(object())
    with pytest.raises(flipenv.FlipError, match="unknown thing 'b'"):
        registry["b"]


def test_what_is_registered_for_a_while_is_forgotten() -> None:
    registry: Registry[object] = Registry("thing")
    kept, other = object(), object()
    registry.register("kept")(kept)
    with pytest.raises(ZeroDivisionError), registry.temporarily():  # noqa: PT012 - the block is what is tested
        registry.register("other")(other)
        with registry.temporarily():
            registry.register("inner")(object())
        assert [*registry] == ["kept", "other"]
        raise ZeroDivisionError
    assert [*registry] == ["kept"]
    assert registry["kept"] is kept
    registry.register("other")(object())  # the name is free again


def test_a_reward_of_ones_own(phantoms: list[flipenv.Case]) -> None:
    """As docs/environment.md shows: pay for what was changed, and nothing after the end."""
    from array_api_compat import array_namespace

    @flipenv.REWARDS.register("test-changed")
    def changed(outcome, config):  # type: ignore[no-untyped-def]
        xp = array_namespace(outcome.changed)
        return xp.astype(outcome.changed, xp.float32) + 0.25

    envs = flipenv.vector_env(
        2, phantoms, reward="test-changed", autoreset_mode="NextStep", max_cycles=1, cache=False, progress=False
    )
    import numpy as np

    envs.reset(seed=0)
    assert envs.step(np.array([1, 0]))[1].tolist() == [1.25, 0.25]
    assert envs.step(np.array([1, 0]))[1].tolist() == [0.0, 0.0]
