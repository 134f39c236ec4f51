"""What views amount to, by hand: distances as shares, consistency of answers, strides, and where nothing is known."""

import numpy as np
import pytest

from microtome.analyses.invariance.plan import WarpPlan
from microtome.analyses.invariance.summary import (
    answer_arrays,
    identity_amount,
    stride_arrays,
    view_column,
    warp_distance_arrays,
)
from microtome.tally import Rows

PLAN = WarpPlan(
    ("a", "output"), (4, 0), (("row_shift", -2.0), ("row_shift", 2.0), ("flip", 1.0)),
    {"row_shift": (-2.0, 0.0, 2.0), "flip": (0.0, 1.0)}, (32, 32), np.array([0, 0]), "",
)  # fmt: skip
DISTANCE = np.array([[[0.2, 0.4], [0.6, 0.8], [0.5, 1.0]], [[0.4, 0.4], [0.8, 0.8], [np.nan, 1.0]]])  # (image, view, layer)


APART = np.array([[1.0, 2.0], [1.0, 2.0]])


def rows(**changed: np.ndarray) -> Rows:
    columns = {
        "distance": DISTANCE,
        "pooled": np.array([[[0.1, 0.4, 0.5], [0, 0, 0]], [[0.3, 0.2, 0.5], [0, 0, 0]]]),
        "misfit": np.ones((2, 2, 3)),
        "chance": np.array([[0.5, 0.7, 0.9, 0.8, np.nan], [0.1, 0.3, 0.5, 0.4, np.nan]]),
        "answer": np.array([[1, 1, 2, 1, -1], [0, 3, 0, 0, -1]]),
    }
    made = Rows()
    made.add(np.arange(2), columns | changed)
    return made


def test_a_view_that_changes_nothing_is_the_unmoved_image() -> None:
    chance = rows().column("chance")
    assert view_column(PLAN, chance, "row_shift", 2.0).tolist() == [0.7, 0.3]
    assert view_column(PLAN, chance, "row_shift", 0.0).tolist() == [0.8, 0.4]
    assert np.isnan(view_column(PLAN, chance, "crop_shift", 0.0)).all()
    assert not view_column(PLAN, DISTANCE, "flip", 0.0).any()
    assert [identity_amount(warp) for warp in ("scale", "rotation", "flip")] == [1.0, 0.0, 0.0]


def test_distances_are_means_over_images_and_fractions_of_the_distance_between_images() -> None:
    found = warp_distance_arrays(PLAN, {"": rows()}, {"": APART}, 0)
    assert found["distance"].sel(warp="row_shift", layer="a").values == pytest.approx([0.3, 0, 0.7])
    assert found["distance"].sel(warp="flip", layer="a").values == pytest.approx([0, 0.5, np.nan], nan_ok=True)
    assert found["amount_value"].sel(warp="flip").values == pytest.approx([0, 1, np.nan], nan_ok=True)
    # means over the amounts that move something: 0.4 and 0.6 of 1; of 2 for the output
    assert found["change"].sel(warp="row_shift").values == pytest.approx([0.5, 0.3])
    assert np.isnan(found["change_low"].values).all(), "two images are too few for an interval"
    assert found["change"].sel(warp="flip", layer="a").item() == pytest.approx(0.5)  # of the image that has one
    assert found["distance/flip"].amount.values.tolist() == ["left and right"]
    assert np.isnan(warp_distance_arrays(PLAN, {"": rows()}, {"": np.zeros((2, 2))}, 0)["change"].values).all()


def test_ends_of_the_twins_are_those_of_one_twin() -> None:
    """Image 0 is of the first twin, image 1 of the second: row shifts move layer a by 0.4 and by 0.6, of 1 and of 2."""
    apart = np.array([[1.0, 2.0], [2.0, 2.0]])
    found = warp_distance_arrays(PLAN, {"": rows(), "twin_": rows()}, {"": apart, "twin_": apart}, 2)
    ends = [found[f"twin_change{end}"].sel(warp="row_shift", layer="a").item() for end in ("_low", "", "_high")]
    assert ends == pytest.approx([0.3, 0.35, 0.4])
    flip = [found[f"twin_change{end}"].sel(warp="flip", layer="a").item() for end in ("_low", "", "_high")]
    assert flip == pytest.approx([0.5] * 3)  # the second twin's distance is not known


def test_probabilities_and_how_often_the_answer_stays() -> None:
    """Answers under -2, 0 and 2: (1, 1, 1) and (0, 0, 3): all three pairs agree, and one of three."""
    found = answer_arrays(PLAN, {"": rows(), "twin_": rows()}, 2, 3.0)
    assert found["probability"].sel(warp="row_shift").values == pytest.approx([0.3, 0.6, 0.5])
    assert found["probability/flip"].values == pytest.approx([0.6, 0.7])
    assert found["consistency"].item() == found["twin_consistency"].item() == pytest.approx((1 + 1 / 3) / 2)
    assert found["small"].item() == 2  # 32 px / 16
    assert [found[f"twin_consistency_{end}"].item() for end in ("low", "high")] == pytest.approx(
        [1 / 3, 1]
    )  # one image, one twin
    assert found["answers"].values.tolist() == [2, 3]
    assert answer_arrays(PLAN, {"": rows(answer=np.full((2, 5), -1))}, 0, np.nan) == {}


def test_strides_alias_what_a_whole_stride_does_not() -> None:
    found = stride_arrays(PLAN, {"": rows()})
    assert found["stride"].layer.values.tolist() == ["a"]
    assert found["pooled"].values[0] == pytest.approx([0.2, 0.3, 0.5])
    assert found["aliasing"].item() == pytest.approx(0.3 / 0.5)
    plain = WarpPlan(PLAN.names, (0, 0), PLAN.views, PLAN.amounts, PLAN.size, PLAN.target, "")
    assert stride_arrays(plain, {"": rows()}) == {}
