"""The recipes of training: one for each shipped network, and the JSON that older cards and runs are compared with."""

import json

import pytest

from microtome import networks
from microtome.errors import UnknownName
from microtome.training.zoo.recipes import RECIPES, ZooRecipe, zoo_recipe


def test_every_network_has_a_recipe_and_an_unknown_one_names_the_nearest() -> None:
    assert set(RECIPES) == set(networks.SHIPPED)
    with pytest.raises(UnknownName, match="Did you mean 'mini_vgg'"):
        zoo_recipe("mini_vg")


def test_what_came_later_stands_in_the_json_only_where_it_is_set() -> None:
    plain = ZooRecipe(network="mini_vgg", epochs=1).json()
    later = {"radius", "edits", "decorrelated", "options"}
    assert not later & plain.keys()
    assert {"muon", "teacher"} <= plain.keys()  # were there from the first, and stay where they are not set
    full = ZooRecipe(
        network="mini_vgg", epochs=1, radius=0.1, edits=("b",), decorrelated=True, options={"widths": (1, 2)}
    ).json()
    assert later <= full.keys()
    assert (full["edits"], full["options"]) == (["b"], {"widths": [1, 2]})
    assert json.loads(json.dumps(full)) == full


def test_only_networks_of_maps_learn_a_class_for_every_pixel() -> None:
    assert [name for name, recipe in RECIPES.items() if recipe.segments] == ["mini_deeplab"]


def test_recipes_of_the_shipped_networks_are_on_their_cards() -> None:
    different = {name for name in RECIPES if networks.weights_card(name)["recipe"] != RECIPES[name].json()}
    assert different == set()
