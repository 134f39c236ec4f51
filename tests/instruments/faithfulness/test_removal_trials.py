"""Deletion, insertion, ROAD and average drop on networks whose probabilities can be written down."""

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome.instruments.faithfulness.removal_trials import (
    ROAD_FRACTIONS,
    Canvas,
    RemovalPlan,
    confidence_through,
    curve_areas,
    patch_side,
    removal_curves,
    road_scores,
)
from microtome.numerics.maps.imputation import noisy_linear_imputation
from microtome.numerics.maps.removal import first_pixels

SIDE = 6
PLAIN = {"size": SIDE, "mean": (0.0,) * 3, "std": (1.0,) * 3, "crop": 1.0}


class Additive(nn.Module):
    """The logit of class 0 is a weighted sum of the first channel, that of class 1 is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 1, bias=False)
        self.head = nn.Linear(SIDE * SIDE, 2, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1))
            self.head.weight.copy_(torch.stack([torch.linspace(-1, 2, SIDE * SIDE), torch.zeros(SIDE * SIDE)]))

    def forward(self, x):
        return self.head(self.conv(x).flatten(1))


def canvas(fill: str = "mean", patch: int = 1, steps: int = 6) -> Canvas:
    x = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    plan = RemovalPlan(steps, patch, fill)  # type: ignore[arg-type]
    return Canvas.prepare(mt.open(Additive(), recipe=PLAIN), x, torch.zeros(2, dtype=torch.int64), plan)


def contributions(made: Canvas) -> torch.Tensor:
    """What each pixel adds to the logit beyond its fill (image, row, col)."""
    weights = torch.linspace(-1, 2, SIDE * SIDE).view(SIDE, SIDE)
    return weights * (made.x - made.blank)[:, 0]


def test_deletion_and_insertion_of_an_additive_network_by_hand() -> None:
    made = canvas()
    gains = contributions(made)
    deletion, insertion = removal_curves(made, made.order(gains))
    blank = (torch.linspace(-1, 2, SIDE * SIDE) * made.blank[:, 0].flatten(1)).sum(1).double()
    sums = gains.flatten(1).sort(dim=1, descending=True).values.double().cumsum(1)
    sums = torch.cat([torch.zeros(2, 1), sums], 1)[:, :: SIDE * SIDE // 6]  # after 0, 6, 12, … pixels
    assert insertion == pytest.approx((blank[:, None] + sums).sigmoid().numpy(), abs=1e-5)
    assert deletion == pytest.approx((blank[:, None] + sums[:, -1:] - sums).sigmoid().numpy(), abs=1e-5)
    areas = curve_areas(made, (deletion, insertion))
    by_hand = (insertion[:, 1:] + insertion[:, :-1]).sum(1) / 12
    assert areas["insertion"] == pytest.approx(by_hand) and areas["score"] == pytest.approx(
        areas["insertion"] - areas["deletion"]
    )


def test_no_order_scores_above_that_of_the_contributions() -> None:
    made = canvas()
    best = curve_areas(made, removal_curves(made, made.order(contributions(made))))["score"]
    draw = torch.Generator().manual_seed(2)
    for _ in range(20):
        other = curve_areas(made, removal_curves(made, made.order(torch.rand(2, SIDE, SIDE, generator=draw))))["score"]
        assert bool((other < best).all())


def test_a_map_and_its_opposite_have_opposite_scores() -> None:
    """Since both curves share one fill: so a random order scores zero on average, whatever the network."""
    made = canvas("blur")
    order = made.order(torch.rand(2, SIDE, SIDE, generator=torch.Generator().manual_seed(3)))
    score, opposite = (curve_areas(made, removal_curves(made, each))["score"] for each in (order, order.flip(1)))
    assert score == pytest.approx(-opposite, abs=1e-6)


def test_random_maps_score_nothing_on_average() -> None:
    made = canvas("grey")
    draw = torch.Generator().manual_seed(4)
    scores = [
        curve_areas(made, removal_curves(made, made.order(torch.rand(2, SIDE, SIDE, generator=draw))))["score"]
        for _ in range(200)
    ]
    error = np.std(scores) / np.sqrt(len(scores) * 2)
    assert abs(np.mean(scores)) < 4 * error < 0.1


def test_road_by_explicit_imputation() -> None:
    made = canvas()
    order = made.order(contributions(made))

    def probability(images: torch.Tensor) -> np.ndarray:
        return made.specimen.run(images).double().softmax(1)[:, 0].numpy()

    wanted = np.zeros(2)
    for fraction in ROAD_FRACTIONS:
        most, least = (
            noisy_linear_imputation(made.x, first_pixels(way, fraction, (SIDE, SIDE)), made.plan.seed)
            for way in (order, order.flip(1))
        )
        wanted += (probability(least) - probability(most)) / len(ROAD_FRACTIONS)
    road = road_scores(made, order)
    assert road == pytest.approx(wanted, abs=1e-6) and bool((road > 0).all())
    assert road_scores(made, order.flip(1)) == pytest.approx(-road, abs=1e-6)


def test_the_image_seen_through_a_map_by_hand() -> None:
    made = canvas()
    everything = confidence_through(made, torch.full((2, SIDE, SIDE), 0.5))
    assert everything["drop"].tolist() == [0.0, 0.0] and everything["increase"].tolist() == [0.0, 0.0]
    nothing = confidence_through(made, torch.zeros(2, SIDE, SIDE) - 1)
    clean, blank = made.ends.T
    assert nothing["drop"] == pytest.approx(np.maximum(clean - blank, 0) / clean)
    through = confidence_through(made, contributions(made).relu().sign())  # only what speaks for the class
    assert through["increase"].tolist() == [1.0, 1.0] and through["drop"].tolist() == [0.0, 0.0]


def test_probabilities_do_not_depend_on_how_many_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = canvas()
    variants = [made.x * part for part in (0.0, 0.3, 1.0)]
    together = made.probabilities(variants)
    monkeypatch.setattr("microtome.instruments.faithfulness.removal_trials.fitting_batch", lambda *_: 1)
    assert made.probabilities(variants) == pytest.approx(together) and together.shape == (2, 3)


def test_patches_grow_with_the_image() -> None:
    assert [patch_side((224, 300)), patch_side((64, 64)), patch_side((12, 12)), patch_side((224, 224), 1)] == [8, 2, 1, 1]
