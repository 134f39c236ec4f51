"""A recipe that does not fit what the first batch norm stored is suspected, and one that does is not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import microtome as mt
from microtome.analyses.accuracy import NO_BETTER
from microtome.analyses.probe import _best_far_from_last  # pyright: ignore[reportPrivateUsage]
from microtome.finding import array
from microtome.specimen.calibration import estimate_statistics
from microtome.specimen.recipe import Recipe
from microtome.specimen.recipe_fit import other_recipes, photograph_noise, recipe_fit

BASE = Recipe(size=(32, 32), crop=1.0)
RECIPES = other_recipes(BASE)
PIXELS = photograph_noise((32, 32), 48)


def trained(recipe: Recipe, seed: int, units: int = 8, kernel: int = 3) -> nn.Sequential:
    """A network whose batch norm stored what the first images give through a recipe."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(3, units, kernel, 2, kernel // 2), nn.BatchNorm2d(units), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(units, 2),
    ).eval()  # fmt: skip
    estimate_statistics(net, [recipe.normalise(torch.from_numpy(PIXELS[:24]))])
    return net


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 999),
    st.integers(4, 16),
    st.sampled_from([3, 5]),
    st.tuples(*[st.floats(0.3, 0.6)] * 3),
    st.tuples(*[st.floats(0.15, 0.35)] * 3),
)
def test_the_recipe_of_the_training_is_not_suspected(
    seed: int, units: int, kernel: int, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> None:
    recipe = replace(BASE, mean=mean, std=std)
    fit = recipe_fit(trained(recipe, seed, units, kernel), recipe, PIXELS[24:])
    assert fit is not None and not fit.suspect


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.sampled_from(RECIPES), st.sampled_from(RECIPES))
def test_another_scale_or_normalisation_is_suspected_and_the_right_one_named(seed: int, right: Recipe, wrong: Recipe) -> None:
    assume(right != wrong)
    fit = recipe_fit(trained(right, seed), wrong, PIXELS[24:])
    assert fit is not None and fit.suspect
    assert fit.other == right
    assert f"'mean': {right.mean}" in fit.text("these images")


def test_exchanged_colours_are_suspected_where_a_filter_sees_them() -> None:
    net = trained(BASE, 0)
    with torch.no_grad():  # every filter reads one colour alone
        net[0].weight.zero_()  # pyright: ignore[reportOperatorIssue, reportCallIssue, reportIndexIssue, reportUnknownMemberType, reportAttributeAccessIssue]
        for unit in range(8):
            net[0].weight[unit, unit % 3, 1, 1] = 1  # pyright: ignore[reportArgumentType, reportCallIssue, reportIndexIssue, reportUnknownMemberType, reportAttributeAccessIssue]
    coloured = PIXELS.copy()
    coloured[..., 2] //= 2
    estimate_statistics(net, [BASE.normalise(torch.from_numpy(coloured[:24]))])
    fit = recipe_fit(net, BASE, np.ascontiguousarray(coloured[24:, ..., ::-1]))
    assert fit is not None and fit.suspect and fit.only_swapped
    assert "x.flip(1)" in fit.text("these images")


@pytest.mark.parametrize("name", ["mini_resnet", "mini_densenet"])
def test_shipped_weights_are_not_suspected(name: str) -> None:
    net = mt.open(f"microtome:{name}")
    assert net.recipe_doubt(mt.Images.scenes(32)) == ""
    assert not [note for note in net.notes if "recipe may not fit" in note]


def test_networks_without_stored_statistics_are_not_judged() -> None:
    fresh = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    assert recipe_fit(fresh, BASE, PIXELS) is None
    assert recipe_fit(nn.Conv2d(3, 8, 3), BASE, PIXELS) is None


def test_layers_accuracy_and_probe_say_it() -> None:
    images = mt.Images.scenes(48)
    right = mt.open("microtome:mini_resnet")
    given_wrongly = mt.open(right.net, recipe={"size": 64, "mean": 0.0, "std": 1 / 255, "crop": 1.0}, labels=right.labels)
    assert any(
        "recipe may not fit" in note and "images of any kind" in note for note in given_wrongly.notes
    )  # what `layers` prints
    for analysis in (mt.analyses.accuracy.Accuracy(), mt.analyses.probe.Probe(at=("last",))):
        first = analysis(given_wrongly, images, twins=2).caveats[0]
        assert first.startswith("The recipe may not fit the weights: through it these images")
        assert "recipe may not fit" not in " ".join(analysis(right, images, twins=2).caveats)


def test_trained_weights_at_chance_and_probes_best_early_are_caveats() -> None:
    facts = {"specimen": {"name": "net", "trained": True}, "images": {"count": 40}, "facts": {}}
    layers = {"layer": ["a", "b", "c", "d"]}

    def found(values: list[float], trained: bool = True) -> mt.Finding:
        rows = {"accuracy": values, "accuracy_low": [v - 0.05 for v in values], "accuracy_high": [v + 0.05 for v in values]}
        arrays = {name: array(row, ("layer",), "fraction", layers) for name, row in rows.items()}
        return mt.Finding(analysis="probe", arrays=arrays, origin=facts)

    assert _best_far_from_last(found([0.9, 0.8, 0.7, 0.5])).startswith("The best probe lies 3 layers before the last")
    assert _best_far_from_last(found([0.9, 0.8, 0.85, 0.85])) == ""  # not significantly better
    assert _best_far_from_last(found([0.5, 0.6, 0.9, 0.7])) == ""  # near the end
    net = mt.open("microtome:mini_resnet")
    images = mt.Images.scenes(40)
    shuffled = mt.open(net.net, labels=list(reversed(net.labels or ())), recipe=net.recipe)
    object.__setattr__(shuffled, "trained", True)
    assert NO_BETTER in mt.analyses.accuracy.Accuracy()(shuffled, images).caveats
    assert NO_BETTER not in mt.analyses.accuracy.Accuracy()(net, images).caveats
