"""Recipes: defaults of the documented table, changes by dotted keys, the digest, and one sentence for every mistake."""

from pathlib import Path

import pytest

from microtome.errors import BadOption
from microtome.training.recipe import TrainingRecipe, load_recipe, parse_changes, recipe_from, recipe_keys

NAMED = {"network": {"name": "timm:resnet18"}, "data": {"images": "photos/"}}


def test_a_file_becomes_a_recipe_and_what_it_leaves_out_has_its_default(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(
        'title = "Photos"\n[network]\nname = "timm:resnet18"\noptions = { width = 0.25 }\nedits = ["squeeze_excitation:ratio=16"]\n'
        '[data]\nimages = "photos/"\nturn = 90\n[augmentation]\ncrop_scale = [0.35, 1.0]\n[optimiser]\nlr = 3\n[run]\nprecision = 32\n'
    )
    recipe = load_recipe(file)
    assert (recipe.title, recipe.network.options, recipe.network.edits) == (
        "Photos",
        {"width": 0.25},
        ("squeeze_excitation:ratio=16",),
    )
    assert (recipe.data.turn, recipe.run.precision) == ("90", "32")  # TOML's numbers mean the words
    assert recipe.augmentation.crop_scale == (0.35, 1.0)
    assert (recipe.optimiser.lr, type(recipe.optimiser.lr)) == (3.0, float)
    assert (recipe.optimiser.name, recipe.run.batch, recipe.data.validation_fraction) == ("adamw", 64, 0.1)  # the defaults


def test_changes_go_by_dotted_keys_and_leave_the_recipe_alone() -> None:
    recipe = recipe_from(NAMED)
    other = recipe.with_changes({"network.edits": ["cut:layer3"], "data.turn": 90, "run.epochs": 3, "network.options.width": 2})
    assert (other.network.edits, other.data.turn, other.run.epochs) == (("cut:layer3",), "90", 3)
    assert other.network.options == {"width": 2}
    assert (recipe.run.epochs, recipe.network.options) == (10, {})


def test_the_digest_is_of_all_that_decides_the_weights() -> None:
    recipe = recipe_from(NAMED)
    assert recipe.digest == recipe_from({**NAMED, "title": "other words"}).digest
    changed = {recipe.with_changes({key: value}).digest for key, value in (("run.seed", 1), ("optimiser.lr", 0.1))}
    assert len({recipe.digest, *changed}) == 3
    assert recipe_from({key: value for key, value in recipe.json().items() if key != "title"}) == recipe  # a round trip


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"optimiser.learning_rate": 1}, "no 'optimiser.learning_rate'. Did you mean"),
        ({"run.epoch": 1}, "Did you mean 'run.epochs'"),
        ({"network": 3}, "no 'network'"),
        ({"run.epochs": 2.5}, "run.epochs is 2.5"),
        ({"run.epochs": 0}, "option epochs is 0; it takes 1 to"),
        ({"run.epochs": True}, "run.epochs is True"),
        ({"data.turn": 45}, "it takes none, 90, 180, 270, random"),
        ({"augmentation.crop_scale": [2, 1]}, "smallest and the largest fraction"),
        ({"augmentation.flip": 3}, "augmentation.flip is 3"),
        ({"optimiser.lr": float("nan")}, "lr is nan"),
        ({"optimiser.lr": "fast"}, "lr is 'fast'"),
        ({"network.options": 3}, "it takes a table"),
        ({"network.name": ["a"]}, "network.name is ['a']"),
    ],
)
def test_a_mistake_is_one_sentence(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(BadOption) as raised:
        TrainingRecipe().with_changes(changes)
    assert sentence in str(raised.value)


def test_files_that_are_no_recipes_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="cannot be read"):
        load_recipe(tmp_path / "none.toml")
    file = tmp_path / "bad.toml"
    file.write_text("[run\n")
    with pytest.raises(BadOption, match="is not TOML"):
        load_recipe(file)
    file.write_text("[run]\nepoch = 3\n")
    with pytest.raises(BadOption, match=r"bad.toml: A training recipe has no 'run.epoch'"):
        load_recipe(file)


def test_network_and_images_must_be_named() -> None:
    with pytest.raises(BadOption, match=r"no network\.name"):
        TrainingRecipe().require_names()
    with pytest.raises(BadOption, match=r"no data\.images"):
        recipe_from({"network": {"name": "mini_vgg"}}).require_names()


def test_words_of_the_command_line_are_read_as_toml_or_as_text() -> None:
    words = ["run.epochs=3", "optimiser.name=sgd", "network.edits=['a','b']", "augmentation.flip=false", "data.images=a=b"]
    assert parse_changes(words) == {
        "run.epochs": 3, "optimiser.name": "sgd", "network.edits": ["a", "b"], "augmentation.flip": False, "data.images": "a=b",
    }  # fmt: skip
    with pytest.raises(BadOption, match="--set run.epochs is not understood"):
        parse_changes(["run.epochs"])


def test_every_key_has_a_default_and_a_line_of_help() -> None:
    assert set(recipe_keys()) == {"title"} | {
        f"{table}.{name}" for table, values in TrainingRecipe().json().items() if table != "title" for name in values
    }
