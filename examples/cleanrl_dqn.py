"""Double DQN in one file, in the manner of CleanRL, on the batched Gymnasium view: python examples/cleanrl_dqn.py

Needs flip-learning[torch]. One learner controls both agents: Discrete(4). Lanes are reset in the step in which they
end, so a lane's last observation is in `final_obs`, and truncated episodes bootstrap from it.
"""

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from network import Network
from task import run

import flipenv  # noqa: F401 - registers the environment

LANES, BUFFER, BATCH, WARMUP = 8, 1000, 64, 64  # buffer and warm-up in steps of all lanes
GAMMA, LEARNING_RATE, TARGET_EVERY = 0.5, 1e-3, 100


def main(task, steps=4000, seed=0):
    task = task.but(observation="joint")  # the same for both agents
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    envs = gymnasium.make_vec(
        "flipenv/EraseToSegmentJoint-v0",
        num_envs=LANES,
        source=task.cases,
        autoreset_mode=AutoresetMode.SAME_STEP,
        cache=False,
        progress=False,
        **task.options,
    )
    shape, choices = envs.single_observation_space.shape, int(envs.single_action_space.n)
    online, target = (Network(shape[0], shape[1], choices) for _ in range(2))
    target.load_state_dict(online.state_dict())
    optimiser = torch.optim.Adam(online.parameters(), lr=LEARNING_RATE)
    before, after = (np.zeros((BUFFER, LANES, *shape), np.uint8) for _ in range(2))
    taken = np.zeros((BUFFER, LANES), np.int64)
    rewarded, final = (np.zeros((BUFFER, LANES), np.float32) for _ in range(2))

    observations, _ = envs.reset(seed=seed)
    total = steps // LANES
    for step in range(total):
        epsilon = max(0.05, 1 - 2 * step / total)
        with torch.no_grad():
            actions = online(torch.from_numpy(observations)).argmax(1).numpy()
        actions = np.where(rng.random(LANES) < epsilon, rng.integers(0, choices, LANES), actions)
        successors, rewards, terminated, _, infos = envs.step(actions)
        row = step % BUFFER
        transition = observations, actions, rewards, successors, terminated
        before[row], taken[row], rewarded[row], after[row], final[row] = transition
        if "final_obs" in infos:
            for lane in np.flatnonzero(infos["_final_obs"]):
                after[row, lane] = infos["final_obs"][lane]
        observations = successors
        if step < WARMUP:
            continue
        for _ in range(2):
            where = rng.integers(0, min(step + 1, BUFFER), BATCH), rng.integers(0, LANES, BATCH)
            old, new, action, reward, end = (
                torch.from_numpy(each[where]) for each in (before, after, taken, rewarded, final)
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

    def act(observations):
        with torch.no_grad():
            joint = online(torch.from_numpy(np.ascontiguousarray(observations[:, 0]))).argmax(1).numpy()
        return joint[:, None] >> np.arange(observations.shape[1]) & 1

    return task.report("CleanRL-style double DQN", act, seed)


if __name__ == "__main__":
    run(main)
