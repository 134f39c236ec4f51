"""Best matches of a matrix worked out by hand."""

import numpy as np

from microtome.analyses.cross_similarity.matches import best_columns, match_arrays
from microtome.numerics.statistics.cka_intervals import CkaEstimate

CKA = np.array([[0.9, 0.2, 0.5], [0.3, 0.4, np.nan], [np.nan, np.nan, np.nan]])


def test_best_columns_pass_over_what_is_unknown() -> None:
    assert best_columns(CKA).tolist() == [0, 1, -1]
    assert best_columns(CKA.T).tolist() == [0, 1, 0]


def test_each_direction_with_the_interval_of_its_pair_and_the_twins_own_match() -> None:
    estimate = CkaEstimate(CKA, CKA * 0, CKA - 0.05, CKA + 0.05)
    twins = [np.array([[0.1, 0.3, 0.2]] * 3), np.array([[0.2, 0.1, 0.3]] * 3), np.array([[0.31, 0.1, 0.2]] * 3)]
    arrays = match_arrays((["a", "b", "c"], ["x", "y", "z"]), estimate, twins, "")
    assert arrays["best"].values.tolist() == ["x", "y", ""] and arrays["back"].values.tolist() == ["a", "b", "a"]
    np.testing.assert_allclose(arrays["best_cka"].values, [0.9, 0.4, np.nan])
    np.testing.assert_allclose(arrays["back_low"].values, [0.85, 0.35, 0.45])
    np.testing.assert_allclose(arrays["twin_best_cka"].values, [(0.3 + 0.3 + 0.31) / 3] * 3)
    np.testing.assert_allclose(
        arrays["twin_back_cka"].values, [(0.1 + 0.2 + 0.31) / 3, (0.3 + 0.1 + 0.1) / 3, (0.2 + 0.3 + 0.2) / 3]
    )
    assert arrays["against_twins"].values.tolist() == ["above all twins", "above all twins", "no verdict"]
    assert arrays["back"].dims == ("layer_",)
    withheld = match_arrays((["a", "b", "c"], ["x", "y", "z"]), estimate, twins, "some reason")
    assert set(withheld["against_twins"].values) == set(withheld["back_against_twins"].values) == {"no verdict"}
