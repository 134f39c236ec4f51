import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from microtome.numerics.statistics.pareto import domination_table, pareto_front


def test_by_hand():
    # accuracy up, latency down: the third is beaten by the first, the last has no accuracy.
    points = np.array([[0.8, 10.0], [0.9, 20.0], [0.7, 15.0], [0.8, 10.0], [np.nan, 1.0]])
    assert pareto_front(points, [True, False]).tolist() == [True, True, False, True, False]


@settings(max_examples=200, deadline=None)
@given(
    arrays(np.float64, st.tuples(st.integers(0, 9), st.just(3)), elements=st.sampled_from([0.0, 1, 2, 3, np.nan, np.inf])),
    st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_brute_force_agrees(points, better):
    rows = [[value if up else -value for value, up in zip(row, better, strict=True)] for row in points.tolist()]

    def beaten(mine):
        return any(
            all(o >= m for o, m in zip(other, mine, strict=True)) and any(o > m for o, m in zip(other, mine, strict=True))
            for other in rows
            if not any(np.isnan(other))
        )

    assert pareto_front(points, better).tolist() == [not any(np.isnan(row)) and not beaten(row) for row in rows]


def test_turning_a_criterion_is_negating_it():
    points = np.random.default_rng(0).normal(size=(50, 2))
    assert (pareto_front(points, [True, False]) == pareto_front(points * [1, -1], [True, True])).all()


def test_directions_must_match():
    with pytest.raises(ValueError, match="2 criteria"):
        pareto_front(np.ones((3, 2)), [True])


def test_who_dominates_whom():
    points = np.array([[0.8, 10.0], [0.9, 20.0], [0.7, 15.0], [0.8, 10.0], [np.nan, 1.0]])
    table = domination_table(points, [True, False])
    assert np.argwhere(table).tolist() == [[2, 0], [2, 3]]
    assert (pareto_front(points, [True, False]) == (~table.any(axis=1) & ~np.isnan(points).any(axis=1))).all()
    with pytest.raises(ValueError, match="2 criteria"):
        domination_table(np.ones((3, 2)), [True])
