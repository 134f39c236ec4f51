"""Columns of the network and its untrained twins put together, and the twins' range, by hand."""

import numpy as np
import pytest

from microtome.analyses.objects.arrays import merge_columns, object_arrays
from microtome.tally import Rows

COUNT = 30
THRESHOLD_COUNT = 3


def rows(energy, count: int) -> Rows:
    """A map of that energy on objects that cover a tenth of the image."""
    made, even = Rows(), np.full(count, 0.1)
    ones = np.ones(count)
    made.add(
        np.arange(count),
        {"ebpg": np.broadcast_to(energy, count).astype(float), "centre_ebpg": even, "pointing_game": ones, "coverage50": even,
         "coverage90": even, "iou": np.full((count, THRESHOLD_COUNT), 0.5), "area": even, "peak": ones, "correct": ones,
         "clutter": np.linspace(0, 1, count)},
    )  # fmt: skip
    return made


def arrays_of(energy, twins, withheld: str = ""):
    places = [np.arange(number, COUNT, len(twins)) for number in range(len(twins))]
    nulls = [(rows(each, len(at)), at) for each, at in zip(twins, places, strict=True)]
    return object_arrays(merge_columns(rows(energy, COUNT), nulls), 0, withheld)[0]


def test_each_twin_gives_the_mean_over_its_own_images() -> None:
    arrays = arrays_of(0.6, (0.1, 0.2, 0.4))
    assert float(arrays["twin_lift"]) == pytest.approx((0.0 + 0.1 + 0.3) / 3)
    assert (float(arrays["twin_lift_low"]), float(arrays["twin_lift_high"])) == (pytest.approx(0.0), pytest.approx(0.3))
    assert float(arrays["overall"].sel(measure="twin_lift")) == pytest.approx(0.4 / 3)
    assert np.isnan(arrays["overall_low"].sel(measure="twin_lift"))  # images of one twin are not independent


@pytest.mark.parametrize(
    ("center", "withheld", "verdict"),
    [
        (0.7, "", "above all twins"),
        (0.2, "", "within the twins' range"),
        (-0.3, "", "below all twins"),
        (0.7, "trained", "no verdict"),
    ],
)
def test_the_verdict_is_that_of_the_interval_against_all_twins(center: float, withheld: str, verdict: str) -> None:
    energy = center + np.random.default_rng(0).normal(0, 0.02, COUNT)
    assert str(arrays_of(energy, (0.1, 0.2, 0.15, 0.25), withheld)["lift_against_twins"].item()) == verdict


def test_without_twins_nothing_is_said_of_them() -> None:
    arrays = arrays_of(0.6, ())
    assert "twin_lift" not in arrays and "lift_against_twins" not in arrays
    assert np.isnan(arrays["twin_lift_by_size"].values).all()
