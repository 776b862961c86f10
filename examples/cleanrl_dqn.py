"""Double DQN in one file, in the manner of CleanRL, on the batched Gymnasium view: python examples/cleanrl_dqn.py

Needs flip-learning[torch]. One learner moves both agents: Discrete(4). Lanes are reset in the step in which they end,
so what a lane saw last is in `final_obs`, and an episode that was cut is valued from there.
"""

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from network import Network
from task import run

import flipenv  # noqa: F401 - registers the environment

LANES, BUFFER, BATCH, WARMUP = 8, 1000, 64, 64  # the buffer and the warm-up in steps of all lanes
GAMMA, LEARNING_RATE, TARGET_EVERY = 0.5, 1e-3, 100


def main(task, steps=4000, seed=0):
    task = task.but(observation="joint")  # both agents see the same
    torch.manual_seed(seed)
    chance = np.random.default_rng(seed)
    envs = gymnasium.make_vec(
        "flipenv/EraseToSegmentJoint-v0",
        num_envs=LANES,
        source=task.cases,
        autoreset_mode=AutoresetMode.SAME_STEP,
        cache=False,
        progress=False,
        **task.options,
    )
    picture, choices = envs.single_observation_space.shape, int(envs.single_action_space.n)
    online, target = (Network(picture[0], picture[1], choices) for _ in range(2))
    target.load_state_dict(online.state_dict())
    optimiser = torch.optim.Adam(online.parameters(), lr=LEARNING_RATE)
    before, after = (np.zeros((BUFFER, LANES, *picture), np.uint8) for _ in range(2))
    did = np.zeros((BUFFER, LANES), np.int64)
    paid, final = (np.zeros((BUFFER, LANES), np.float32) for _ in range(2))

    seen, _ = envs.reset(seed=seed)
    total = steps // LANES
    for step in range(total):
        epsilon = max(0.05, 1 - 2 * step / total)
        with torch.no_grad():
            actions = online(torch.from_numpy(seen)).argmax(1).numpy()
        actions = np.where(chance.random(LANES) < epsilon, chance.integers(0, choices, LANES), actions)
        following, rewards, terminated, _, infos = envs.step(actions)
        row = step % BUFFER
        before[row], did[row], paid[row], after[row], final[row] = seen, actions, rewards, following, terminated
        if "final_obs" in infos:
            for lane in np.flatnonzero(infos["_final_obs"]):
                after[row, lane] = infos["final_obs"][lane]
        seen = following
        if step < WARMUP:
            continue
        for _ in range(2):
            where = chance.integers(0, min(step + 1, BUFFER), BATCH), chance.integers(0, LANES, BATCH)
            old, new, action, reward, end = (
                torch.from_numpy(each[where]) for each in (before, after, did, paid, final)
            )
            with torch.no_grad():
                value = target(new).gather(1, online(new).argmax(1, keepdim=True))[:, 0]
            expected = reward + GAMMA * (1 - end) * value
            loss = torch.nn.functional.smooth_l1_loss(online(old).gather(1, action[:, None])[:, 0], expected)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        if step % TARGET_EVERY == 0:
            target.load_state_dict(online.state_dict())

    def act(seen):
        with torch.no_grad():
            joint = online(torch.from_numpy(np.ascontiguousarray(seen[:, 0]))).argmax(1).numpy()
        return joint[:, None] >> np.arange(seen.shape[1]) & 1

    return task.report("CleanRL-style double DQN", act, seed)


if __name__ == "__main__":
    run(main)
