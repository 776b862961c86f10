"""The agents that can be made, by name.

    @AGENTS.register("mine")
    class Mine(Agent):
        def act(self, batch, epsilon=0.0): ...

The project's own are listed in BUILT_IN and imported when they are asked for. A package offers agents without being
imported first through entry points of the group `flipagents.agents`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from flipagents.learn.agent import Agent
from flipagents.learn.config import LearnerConfig
from flipenv.config import EnvConfig
from flipenv.registry import LazyRegistry

GROUP = "flipagents.agents"  # entry points
BUILT_IN = {  # name -> `module:attribute`, called as (EnvConfig, LearnerConfig, **options)
    "ddqn": "flipagents.learn.dqn:ddqn",
    "independent": "flipagents.learn.dqn:independent",
    "vdn": "flipagents.learn.dqn:vdn",
    "random": "flipagents.learn.fixed:RandomAgent",
    "greedy": "flipagents.learn.fixed:GreedyAgent",
    "oracle": "flipagents.learn.fixed:OracleAgent",
    "sb3-dqn": "flipagents.learn.sb3:SB3DQN",
    "sb3-ppo": "flipagents.learn.sb3:SB3PPO",
}

AgentMaker: TypeAlias = Callable[..., Agent]  # (EnvConfig, LearnerConfig, **options) -> Agent
AGENTS: LazyRegistry[AgentMaker] = LazyRegistry("agent", GROUP, BUILT_IN, extra="agents")


def make_agent(
    name: str,
    env: EnvConfig | Mapping[str, Any] | None = None,
    config: LearnerConfig | Mapping[str, Any] | str | None = None,
    **options: Any,
) -> Agent:
    """Make an agent by name; options are its own. ConfigError for a name that nobody registered."""
    agent = AGENTS[name](EnvConfig.of(env), LearnerConfig.of(config), **options)
    agent.name = name
    return agent
