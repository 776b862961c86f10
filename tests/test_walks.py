import numpy as np
import pytest

from flipenv.errors import ConfigError
from flipenv.walks import ORDERS, walking_order


def lattice(rows, columns, height, width):
    y, x = np.meshgrid(
        (np.arange(rows) + 0.5) * height / rows, (np.arange(columns) + 0.5) * width / columns, indexing="ij"
    )
    return np.stack([y.ravel(), x.ravel()], axis=1).astype(np.int16)


def walk(n_superpixels, n_agents, order="index"):
    return walking_order(lattice(1, n_superpixels, 11, 97), n_agents, order, 11, 97).tolist()


def test_index_two_agents_start_at_the_centre_and_part():
    assert walk(7, 2) == [[3, 4, 5, 6], [3, 2, 1, 0]]
    assert walk(8, 2) == [[3, 4, 5, 6, 7], [3, 2, 1, 0, 0]]


def test_index_one_agent_walks_all():
    assert walk(5, 1) == [[0, 1, 2, 3, 4]]


def test_index_four_agents_deal_each_direction_out():
    assert walk(9, 4) == [[4, 6, 8], [4, 2, 0], [5, 7, 7], [3, 1, 1]]


def test_an_empty_walk_stands_on_the_centre():
    assert walk(1, 4) == [[0], [0], [0], [0]]
    assert walk(2, 4) == [[0], [0], [1], [0]]


def test_radial_goes_outwards_in_turn():
    # distances of the six centres from the middle (10, 15): 10, 0, 5, 5, 13, 2
    centers = np.array([[10, 25], [10, 15], [10, 10], [15, 15], [5, 27], [12, 15]])
    assert walking_order(centers, 1, "radial", 21, 31).tolist() == [[1, 5, 2, 3, 0, 4]]
    assert walking_order(centers, 2, "radial", 21, 31).tolist() == [[1, 2, 0], [5, 3, 4]]
    assert walking_order(centers, 4, "radial", 21, 31).tolist() == [[1, 0], [5, 4], [2, 2], [3, 3]]


@pytest.mark.parametrize("order", list(ORDERS))
@pytest.mark.parametrize("n_agents", [1, 2, 4])
def test_every_superpixel_is_walked(order, n_agents):
    for n_superpixels in [*range(1, 20), 60, 143]:
        found = walking_order(lattice(1, n_superpixels, 13, 400), n_agents, order, 13, 400)
        assert found.dtype == np.int16
        assert found.shape[0] == n_agents
        assert set(found.ravel().tolist()) == set(range(n_superpixels))
        assert found.shape[1] <= n_superpixels // n_agents + 1
        for row in found:
            moves = (np.diff(row) != 0).tolist()
            assert moves == sorted(moves, reverse=True)  # stands still at the end only


def test_two_agents_take_about_half_the_steps():
    assert walking_order(lattice(6, 10, 60, 100), 2, "index", 60, 100).shape == (2, 31)


def test_errors():
    with pytest.raises(ConfigError, match="did you mean 'radial'"):
        walk(4, 2, "radical")
    with pytest.raises(ConfigError, match="0 superpixels"):
        walking_order(np.zeros((0, 2), np.int16), 2, "index", 4, 4)
    with pytest.raises(ConfigError, match="0 agents"):
        walk(4, 0)
