"""Key numbers and caveats of the distances between weights, from findings made by hand."""

import numpy as np
import pytest

from microtome.analyses.weights.wording import distance_key_numbers, distance_panels, network_caveats
from microtome.finding import Finding, array
from microtome.numerics.weights.pairs import LIKE_ROLE

NAN = float("nan")


def made(
    distance=(0.1, 0.3, 0.9),
    match=(LIKE_ROLE, LIKE_ROLE, "same role, other shape"),
    trained=True,
    folded=None,
    read=100,
    **facts,
):
    pairs, layers = {"pair": ["a → b", "b → c", "c → d"]}, {"layer": ["a", "b"]}
    measures = {"measure": ["W1/σ"]}
    both = ("pair", "measure")
    against = np.array(["below all twins", "above all twins", "above all twins"], dtype=object)

    def column(values):
        return array(np.array(values)[:, None], both, "1", pairs | measures)

    arrays = {
        "distance": column(distance), "twin_distance": column([0.2, 0.2, 0.5]), "against_twins": array(against, ("pair",), "text", pairs),
        "match": array(np.array(match, dtype=object), ("pair",), "text", pairs),
        "w1_over_sigma": array(list(distance), ("pair",), "1", pairs),
        "statistic": array([[100.0, 100], [read, 100]], ("measure", "layer"), "1", {"measure": ["weights", "weights read"]} | layers),
        "density": array(np.zeros((2, 3)), ("layer", "bin"), "1", layers),
        "dtype": array(np.array(["float32", "int8"], dtype=object), ("layer",), "text", layers),
    }  # fmt: skip
    if folded is not None:
        arrays |= {"folded_distance": column(folded), "twin_folded_distance": column([0.2, 0.4, 9.0])}
        arrays["folded_w1_over_sigma"] = array(list(folded), ("pair",), "1", pairs)
    told = {"groups": ["a", "b", "c", "d"], "without_partner": []} | facts
    return Finding(analysis="weights", arrays=arrays, origin={"specimen": {"name": "n", "trained": trained}, "facts": told})


def test_medians_are_over_pairs_of_one_role_and_shape() -> None:
    first, second = distance_key_numbers(made())
    assert (first.value, first.baseline, first.at) == (pytest.approx(0.2), 0.2, "a to d")
    assert (second.name, second.value) == ("pairs further apart than in every twin", 0.5)
    every = distance_key_numbers(made(match=("x", "x", "x")))
    assert (every[0].value, every[1].value) == (0.3, pytest.approx(2 / 3))
    assert distance_key_numbers(made(distance=(NAN, 0.3, 0.9)))[0].value == 0.3
    assert distance_key_numbers(made(distance=(NAN, NAN, NAN))) == []
    assert distance_key_numbers(made(groups=["a", "b"]))[0].at == "a, b"


def test_folded_distances_are_told_where_there_are_any() -> None:
    folded = distance_key_numbers(made(folded=(0.5, NAN, 7.0)))[2]
    assert (folded.value, folded.baseline) == (0.5, pytest.approx(0.3))
    assert len(distance_key_numbers(made(folded=(NAN, NAN, 7.0)))) == 2
    assert [len(distance_panels(made(folded=values))) for values in (None, (NAN, NAN, NAN), (0.5, NAN, NAN))] == [2, 2, 3]


@pytest.mark.parametrize(
    ("finding", "said", "there"),
    [
        (made(), "not stored as float32", True),
        (made(), "untrained", False),
        (made(trained=False), "These weights are untrained", True),
        (made(trained=None), "It is not known whether", True),
        (made(read=40), "Moments and distances of a are from 40 of its 100 weights", True),
        (made(), "Moments and distances", False),
        (made(groups=["a"]), "Fewer than two layers with weights", True),
        (made(distance=(NAN, NAN, NAN)), "No two neighbours of a, b, c", True),
        (
            made(match=("x", "x", "nearest name")),
            "1 pair has different roles, matched by kernel size and nearest name: c → d",
            True,
        ),
        (made(match=("x", "x", "x")), "No compared pair has the same role and the same shape", True),
        (made(), "No compared pair", False),
        (made(without_partner=["e", "f"]), "Not compared, for lack of a partner of the same role: e", True),
        (made(folded=(0.1, 0.1, 0.1)), "folding them in changes almost nothing", True),
        (made(), "No batch norm was folded in", True),
    ],
)
def test_caveats_are_said_where_they_hold(finding: Finding, said: str, there: bool) -> None:
    assert any(said.lower() in one.lower() for one in network_caveats(finding)) == there
