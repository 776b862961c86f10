"""Stable-Baselines3 on the lanes of one batch, without subprocesses: python examples/sb3_learn.py dqn | ppo | maskable

Needs flip-learning[sb3]. Each agent of each lane is a separate SB3 environment. MaskablePPO gets a mask of actions that
have no effect: erasing again on the second traversal.
"""

from sb3_contrib import MaskablePPO
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.vec_env import VecMonitor
from task import run

from flipenv.sb3 import sb3_env

PPO_OPTIONS = {"n_steps": 32, "batch_size": 128, "n_epochs": 4}
ALGORITHMS = {  # class, its options, changes to the task
    "dqn": (DQN, {"buffer_size": 8000, "learning_starts": 512, "train_freq": 1, "gradient_steps": 2}, {}),
    "ppo": (PPO, PPO_OPTIONS, {}),
    "maskable": (MaskablePPO, PPO_OPTIONS, {"traversals": 2}),
}


def main(task, name="ppo", steps=4000, seed=0):
    kind, options, changes = ALGORITHMS[name]
    task = task.but(**changes)
    envs = sb3_env(8, task.cases, cache=False, progress=False, **task.options)
    if name == "dqn":
        options = {**options, "batch_size": 64, "target_update_interval": 1024, "exploration_fraction": 0.5}
    # VecMonitor fills SB3's log of returns
    model = kind("CnnPolicy", VecMonitor(envs), learning_rate=1e-3, gamma=0.5, seed=seed, device="cpu", **options)
    model.learn(steps)

    def act(observations):
        batch, agents, *shape = observations.shape
        return model.predict(observations.reshape(-1, *shape), deterministic=True)[0].reshape(batch, agents)

    return task.report(f"SB3 {name}", act, seed)


if __name__ == "__main__":
    run(main, *ALGORITHMS)
