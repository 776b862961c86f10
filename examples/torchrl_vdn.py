"""TorchRL's value decomposition (VDN) for two agents: python examples/torchrl_vdn.py native | wrapper

Needs flip-learning[torchrl]. `native`: eight lanes of one batch as one batched environment. `wrapper`: TorchRL's
wrapper around the PettingZoo view, one episode at a time. Both have the same keys, so the rest is the same.
"""

import torch
from network import Network
from task import run
from tensordict.nn import TensorDictModule, TensorDictSequential
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.envs.libs.pettingzoo import PettingZooWrapper
from torchrl.modules import EGreedyModule, QValueModule, VDNMixer
from torchrl.objectives import SoftUpdate
from torchrl.objectives.multiagent import QMixerLoss

import flipenv
from flipenv.torchrl import EraseTorchRLEnv

GROUP = "eraser"
FRAMES = 64  # joint steps collected between updates


def make_env(task, kind):
    if kind == "native":
        return EraseTorchRLEnv(8, task.cases, cache=False, progress=False, **task.options)
    return PettingZooWrapper(flipenv.parallel_env(task.cases, cache=False, **task.options))


def main(task, kind="native", steps=2048, seed=0):
    torch.manual_seed(seed)
    env = make_env(task, kind)
    env.set_seed(seed)
    agents, channels, window, _ = env.observation_spec[GROUP, "observation"].shape[-4:]
    keys = {name: (GROUP, name) for name in ("observation", "action", "action_value", "chosen_action_value")}
    values = TensorDictModule(Network(channels, window, 2), [keys["observation"]], [keys["action_value"]])
    choice = QValueModule(
        action_value_key=keys["action_value"],
        out_keys=[keys["action"], keys["action_value"], keys["chosen_action_value"]],
        action_space="categorical",
    )
    policy = TensorDictSequential(values, choice)
    mixer = TensorDictModule(VDNMixer(agents, "cpu"), [keys["chosen_action_value"]], ["chosen_action_value"])
    loss = QMixerLoss(policy, mixer, loss_function="smooth_l1", delay_value=True, action_space="categorical")
    loss.set_keys(
        action=keys["action"],
        action_value=keys["action_value"],
        local_value=keys["chosen_action_value"],
        global_value="chosen_action_value",
    )
    loss.make_value_estimator(gamma=0.5)
    updater = SoftUpdate(loss, eps=0.95)
    optimiser = torch.optim.Adam(loss.parameters(), lr=1e-3)
    explore = EGreedyModule(
        env.full_action_spec_unbatched, eps_init=1.0, annealing_num_steps=steps // 2, action_key=keys["action"]
    )
    collector = Collector(
        env,
        TensorDictSequential(policy, explore),
        frames_per_batch=FRAMES,
        total_frames=steps // FRAMES * FRAMES,
        auto_register_policy_transforms=False,
    )
    replay = TensorDictReplayBuffer(storage=LazyTensorStorage(5000), batch_size=64)
    wanted = [keys["observation"], keys["action"], "next"]
    for data in collector:
        explore.step(FRAMES)
        data["next", "reward"] = data["next", GROUP, "reward"].sum(-2)  # VDN fits the sum
        replay.extend(data.select(*wanted).reshape(-1))
        for _ in range(FRAMES // 4):
            found = loss(replay.sample())["loss"]
            optimiser.zero_grad()
            found.backward()
            optimiser.step()
            updater.step()
    collector.shutdown()

    def act(observations):
        with torch.no_grad():
            return values.module(torch.from_numpy(observations)).argmax(-1).numpy()

    return task.report(f"TorchRL VDN, {kind}", act, seed)


if __name__ == "__main__":
    run(main, "native", "wrapper")
