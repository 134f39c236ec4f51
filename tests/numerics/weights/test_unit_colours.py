"""Colours that mean the same in every unit, the order of units, and their groups, against scipy and scikit-learn."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans

from microtome.numerics.weights.unit_colours import align_factors, cluster_units, leaf_order, to_colours, ward_tree

RANDOM = np.random.default_rng(0)


def banded(units=40, noise=0.1, seed=0):
    """Maps (unit, row, col, factor) with a band on top, one between, one below; factors shuffled in every unit, and how."""
    random = np.random.default_rng(seed)
    maps = noise * random.random((units, 3, 3, 3))
    for row in range(3):
        maps[:, row, :, row] += 1
    orders = np.array([random.permutation(3) for _ in range(units)])
    return maps, np.stack([one[:, :, order] for one, order in zip(maps, orders, strict=True)])


def test_shuffled_factors_are_put_back_top_to_bottom():
    maps, shuffled = banded()
    np.testing.assert_array_equal(align_factors(shuffled, horizontal=True), maps)
    down, across = maps.transpose(0, 2, 1, 3), shuffled.transpose(0, 2, 1, 3)
    np.testing.assert_array_equal(align_factors(across, horizontal=False), down)  # left to right


def test_a_template_helps_where_centres_do_not():
    """One band in the middle and one around it: their centres are equal, so only likeness can tell them apart."""
    random = np.random.default_rng(1)
    ring, dot, left = np.ones((5, 5)), np.zeros((5, 5)), np.zeros((5, 5))
    ring[1:-1, 1:-1], dot[2, 2], left[:, 0] = 0, 1, 1
    maps = np.stack([ring, dot, left], -1)[None] + 0.05 * random.random((60, 5, 5, 3))
    shuffled = np.stack([one[:, :, random.permutation(3)] for one in maps])
    found = align_factors(shuffled, horizontal=True)
    template = found.mean(0)
    spread = float(np.abs(found - template).mean())
    assert spread < 0.03  # every unit has the same map in the same place
    assert spread < 0.2 * float(np.abs(shuffled - shuffled.mean(0)).mean())


def test_the_best_order_is_the_hungarian_one():
    maps = RANDOM.random((30, 3, 3, 3))
    found = align_factors(maps, horizontal=True, rounds=12)
    shapes = found.reshape(30, 9, 3) / np.linalg.norm(found.reshape(30, 9, 3), axis=1, keepdims=True)
    template = shapes.mean(0)
    for one in shapes:
        rows, cols = linear_sum_assignment(-(one.T @ template))
        np.testing.assert_array_equal(cols, [0, 1, 2])
        np.testing.assert_array_equal(rows, [0, 1, 2])


def test_aligning_only_reorders_factors():
    maps = RANDOM.random((12, 5, 5, 3))
    maps[3] = 0
    found = align_factors(maps, horizontal=False)
    np.testing.assert_array_equal(np.sort(found, axis=-1), np.sort(maps, axis=-1))
    assert align_factors(maps[:0], horizontal=True).shape == (0, 5, 5, 3)


def test_colours_are_shares_of_each_units_own_largest_value():
    maps = RANDOM.random((3, 3, 3, 3)) * np.array([1, 10, 0]).reshape(3, 1, 1, 1)
    found = to_colours(maps)
    assert found[:2].max(axis=(1, 2, 3)).tolist() == [1, 1]
    np.testing.assert_allclose(found[1], maps[1] / maps[1].max())
    assert np.isnan(found[2]).all()


def clouds(sizes=(30, 20, 10, 5), seed=0):
    random = np.random.default_rng(seed)
    middles = random.random((len(sizes), 3, 3, 3))
    truth = np.repeat(np.arange(len(sizes)), sizes)
    order = random.permutation(len(truth))
    return (middles[truth] + 0.03 * random.random((len(truth), 3, 3, 3)))[order], truth[order]


def test_clear_groups_are_found_the_largest_first():
    maps, truth = clouds()
    found = cluster_units(maps, ward_tree(maps), 4)
    np.testing.assert_array_equal(found, truth)
    assert set(cluster_units(maps, ward_tree(maps), 1)) == {0}


def test_alike_units_stand_together():
    maps, truth = clouds()
    order = leaf_order(ward_tree(maps))
    assert sorted(order) == list(range(65))
    assert int((np.diff(truth[order]) != 0).sum()) == 3  # four groups, three borders


@pytest.mark.parametrize("count", [4, 9, 19])
def test_the_spread_within_groups_is_scikit_learns(count):
    maps = RANDOM.random((150, 3, 3, 3)) ** 3
    points = maps.reshape(150, -1) / np.linalg.norm(maps.reshape(150, -1), axis=1, keepdims=True)
    found = cluster_units(maps, ward_tree(maps), count)
    own = sum(((points[found == g] - points[found == g].mean(0)) ** 2).sum() for g in range(count))
    best = KMeans(count, n_init=10, random_state=0).fit(points).inertia_
    assert len(np.unique(found)) == count
    assert own <= 1.03 * best
    assert np.all(np.diff(np.bincount(found)) <= 0)


def test_equal_units_make_fewer_groups():
    maps = np.ones((6, 3, 3, 3))
    assert set(cluster_units(maps, ward_tree(maps), 4)) == {0}
