"""PPO of Ray RLlib's new API stack, one policy for both agents: python examples/rllib_ppo.py

Needs flip-learning[rllib], which pins Gymnasium 1.2.2: install it in its own environment. RLlib's networks expect
floats with channels last.
"""

import os

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import gymnasium
import numpy as np
import ray
import torch
from pettingzoo.utils import BaseParallelWrapper
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv
from ray.tune.registry import register_env
from task import run

import flipenv

ROLLOUT = 512  # joint steps between updates


class ChannelsLast(BaseParallelWrapper):
    def observation_space(self, agent):
        channels, height, width = self.env.observation_space(agent).shape
        return gymnasium.spaces.Box(-1, 1, (height, width, channels), np.float32)

    def reset(self, seed=None, options=None):
        observations, infos = self.env.reset(seed=seed, options=options)
        return {agent: scaled(window) for agent, window in observations.items()}, infos

    def step(self, actions):
        observations, *rest = self.env.step(actions)
        return {agent: scaled(window) for agent, window in observations.items()}, *rest


def scaled(windows):
    return np.moveaxis(np.asarray(windows, np.float32) / 127.5 - 1, -3, -1)


def main(task, steps=4096, seed=0):
    ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    try:
        pool = flipenv.EpisodePool(task.cases, flipenv.EnvConfig.of(task.options), cache=False)
        register_env("erase", lambda _: ParallelPettingZooEnv(ChannelsLast(flipenv.parallel_env(pool, seed=seed))))
        config = (
            PPOConfig()
            .environment("erase")
            .env_runners(num_env_runners=0, rollout_fragment_length=ROLLOUT)
            .multi_agent(policies={"shared"}, policy_mapping_fn=lambda *_, **__: "shared")
            .rl_module(model_config=DefaultModelConfig(conv_filters=[[16, 4, 4], [32, 4, 2]], head_fcnet_hiddens=[128]))
            .training(train_batch_size=ROLLOUT, minibatch_size=128, num_epochs=4, lr=1e-3, gamma=0.5)
            .debugging(seed=seed)
        )
        algorithm = config.build_algo()
        for _ in range(steps // ROLLOUT):
            algorithm.train()
        module = algorithm.get_module("shared")

        def act(observations):
            windows = torch.from_numpy(np.ascontiguousarray(scaled(observations.reshape(-1, *observations.shape[2:]))))
            with torch.no_grad():
                choice = module.forward_inference({"obs": windows})["action_dist_inputs"].argmax(-1)
            return choice.numpy().reshape(observations.shape[:2])

        return task.report("RLlib PPO", act, seed)
    finally:
        ray.shutdown()


if __name__ == "__main__":
    run(main)
