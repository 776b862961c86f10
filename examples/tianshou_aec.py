"""Tianshou's DQN for agents that take turns, on the AEC view: python examples/tianshou_aec.py

Needs flip-learning[tianshou]. With turns, an agent that is not the last to act receives its reward at the next agent's
turn. n-step returns, n being the number of agents, assign it correctly and bootstrap from the agent's own next
observation; the discount then applies per turn.
"""

import logging

import numpy as np
import torch
from network import Network
from task import run
from tianshou.algorithm.modelfree.dqn import DQN, DiscreteQLearningPolicy
from tianshou.algorithm.multiagent.marl import MultiAgentOffPolicyAlgorithm
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv, PettingZooEnv
from tianshou.trainer import OffPolicyTrainerParams

import flipenv

GAMMA = 0.5
LANES = 8


class Values(torch.nn.Module):
    """Returns what Tianshou's policies expect: (values, hidden state)."""

    def __init__(self, channels, window):
        super().__init__()
        self.network = Network(channels, window, 2)

    def forward(self, obs, state=None, info=None):
        return self.network(torch.as_tensor(np.asarray(obs))), state


def main(task, steps=4000, seed=0):
    logging.getLogger("tianshou").setLevel(logging.ERROR)  # it warns of two returns per episode
    torch.manual_seed(seed)
    np.random.seed(seed)
    pool = flipenv.EpisodePool(task.cases, flipenv.EnvConfig.of(task.options), cache=False)
    lanes = DummyVectorEnv([lambda: PettingZooEnv(flipenv.env(pool)) for _ in range(LANES)])
    lanes.seed([seed + lane for lane in range(LANES)])
    env = PettingZooEnv(flipenv.env(pool))
    agents = len(env.agents)
    model = Values(*env.observation_space.shape[:2])
    shared = DQN(
        policy=DiscreteQLearningPolicy(model=model, action_space=env.action_space, eps_training=0.2),
        optim=AdamOptimizerFactory(lr=1e-3),
        gamma=GAMMA ** (1 / agents),
        n_step_return_horizon=agents,
        target_update_freq=100,
    )
    algorithm = MultiAgentOffPolicyAlgorithm(algorithms=[shared] * agents, env=env)
    collector = Collector(algorithm, lanes, VectorReplayBuffer(8000, LANES), exploration_noise=True)
    collector.reset()
    collector.collect(n_step=512, random=True)
    algorithm.run_training(
        OffPolicyTrainerParams(
            training_collector=collector,
            max_epochs=1,
            epoch_num_steps=steps,
            collection_step_num_env_steps=64,
            update_step_num_gradient_steps_per_sample=0.125,
            batch_size=128,
            multi_agent_return_reduction=lambda returns: returns.sum(-1),
            show_progress=False,
            verbose=False,
        )
    )

    def act(observations):
        with torch.no_grad():
            return model.network(torch.from_numpy(observations)).argmax(-1).numpy()

    return task.report("Tianshou DQN in turns", act, seed)


if __name__ == "__main__":
    run(main)
