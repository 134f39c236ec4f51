"""Experiments as TOML: what a file means, and what is refused before anything is trained."""

from pathlib import Path
from typing import Any

import pytest

from microtome.errors import BadOption, UnknownName
from microtome.training.experiment.definition import (
    BASELINE,
    NumberQuery,
    check_seeds,
    flatten_keys,
    load_experiment,
    read_experiment,
)

RECIPE = {"network": {"name": "microtome:mini_vgg"}, "data": {"images": "scenes:40"}}
TOML = """
title = "Gates"
question = "Do gates help?"
seeds = [0, 3]
numbers = ["accuracy", "banding: banding index, maps", "stem: index[conv*]"]
notes = ["Small."]

[recipe.network]
name = "microtome:mini_vgg"
options = { width = 0.5 }
[recipe.data]
images = "scenes:40"

[[variant]]
name = "gates"
changes = { network.edits = ["squeeze_excitation:ratio=4"], run.epochs = 3 }
[[variant]]
name = "wide"
changes = { network.options.width = 2.0 }
[[variant]]
name = "other options"
changes = { "network.options" = { depth = 3 } }

[analyses.banding]
over_epochs = true
[analyses.stem]
analysis = "banding"
units = 16
"""


def changed(**keys: Any) -> dict[str, Any]:
    content = {"recipe": RECIPE, "variant": [{"name": "a", "changes": {"run.epochs": 2}}], **keys}
    return {key: value for key, value in content.items() if value is not None}


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "gates.toml"
    path.write_text(TOML, encoding="utf-8")
    experiment = load_experiment(path)
    assert (experiment.name, experiment.title, experiment.seeds, experiment.notes) == ("gates", "Gates", (0, 3), ("Small.",))
    assert [variant.name for variant in experiment.variants] == [BASELINE, "gates", "wide", "other options"]
    assert experiment.reference == BASELINE
    recipes = [experiment.variant_recipe(variant, 3) for variant in experiment.variants]
    assert [recipe.run.seed for recipe in recipes] == [3] * 4 and [recipe.run.epochs for recipe in recipes] == [10, 3, 10, 10]
    assert [dict(recipe.network.options) for recipe in recipes] == [
        {"width": 0.5},
        {"width": 0.5},
        {"width": 2.0},
        {"depth": 3},
    ]
    assert recipes[1].network.edits == ("squeeze_excitation:ratio=4",)
    banding, stem = experiment.analyses
    assert (banding.analysis, banding.images, banding.over_epochs, stem.options) == ("banding", "none", True, {"units": 16})
    assert experiment.numbers[1:] == (
        NumberQuery("banding: banding index, maps", "banding", "banding index, maps"),
        NumberQuery("stem: index[conv*]", "stem", "index", "conv*"),
    )


def test_a_recipe_may_be_a_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(
        '[network]\nname = "microtome:mini_vgg"\n[data]\nimages = "scenes:9"\n', encoding="utf-8"
    )
    (tmp_path / "e.toml").write_text('recipe = "base.toml"\n', encoding="utf-8")
    experiment = load_experiment(tmp_path / "e.toml")
    assert experiment.recipe.data.images == "scenes:9" and [variant.name for variant in experiment.variants] == [BASELINE]


def test_the_first_variant_without_changes_is_the_reference() -> None:
    variants = [{"name": "a", "changes": {"run.epochs": 2}}, {"name": "plain"}]
    experiment = read_experiment(changed(variant=variants))
    assert [variant.name for variant in experiment.variants] == ["a", "plain"] and experiment.reference == "plain"
    assert read_experiment(changed(variant=variants, reference="a")).reference == "a"


def test_the_digest_of_the_analyses_follows_what_is_measured() -> None:
    plain = read_experiment(changed(analyses={"banding": {}}))
    same = read_experiment(changed(analyses={"banding": {}}, title="Another"))
    other = read_experiment(changed(analyses={"banding": {"units": 9}}))
    assert plain.analyses_digest == same.analyses_digest != other.analyses_digest


def test_nested_tables_become_dotted_keys() -> None:
    assert flatten_keys({"a": {"b": {"c": 1}, "d": [2]}, "e.f": 3}) == {"a.b.c": 1, "a.d": [2], "e.f": 3}


@pytest.mark.parametrize(
    ("keys", "kind", "sentence"),
    [
        ({"sedes": [0]}, UnknownName, r"no 'sedes' in the experiment.*'seeds'"),
        ({"recipe": None}, BadOption, r"has no recipe; write \[recipe.network\]"),
        ({"recipe": {"network": {"name": "microtome:mini_vgg"}}}, BadOption, r"no data.images"),
        ({"variant": [{"name": "a", "changes": {"run.epoch": 2}}]}, BadOption, r"no 'run.epoch'.*run.epochs"),
        ({"variant": [{"name": "a", "change": {}}]}, UnknownName, r"no 'change' in a variant.*changes"),
        ({"variant": [{"changes": {"run.epochs": 2}}]}, BadOption, r"give it a name"),
        ({"variant": {"name": "a"}}, BadOption, r"no list of tables"),
        ({"variant": [{"name": "a b"}, {"name": "a/b", "changes": {"run.epochs": 2}}]}, BadOption, r"in the folder 'a-b'"),
        ({"reference": "b"}, UnknownName, r"reference 'b' is no variant; there are baseline, a"),
        ({"analyses": {"bandng": {}}}, UnknownName, r"bandng.*banding"),
        ({"analyses": {"banding": {"unit": 4}}}, UnknownName, r"unit.*units"),
        ({"analyses": {"banding": 3}}, BadOption, r"\[analyses.banding\]"),
        ({"analyses": []}, BadOption, r"analyses of 'experiment' is no table"),
        ({"analyses": {"compare": {}}}, BadOption, r"compare reads findings"),
        ({"analyses": {"banding": {"limit": 0}}}, BadOption, r"limit is 0; give a number"),
        ({"analyses": {"banding": {"twins": 1}}}, BadOption, r"twins is 1; a verdict takes 2"),
        ({"analyses": {"banding": {"over_epochs": 1}}}, BadOption, r"over_epochs is 1; give bool"),
        ({"numbers": ["acuracy"]}, UnknownName, r"'acuracy' is not known.*'accuracy'"),
        ({"numbers": ["banding: index"]}, UnknownName, r"of which there are none here"),
        ({"numbers": "accuracy"}, BadOption, r"give a list of texts"),
    ],
)
def test_what_is_refused(keys: dict[str, Any], kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        read_experiment(changed(**keys))


@pytest.mark.parametrize("seeds", [[], [0, 0], [-1], [True], 3, ["0"]])
def test_seeds_are_different_whole_numbers(seeds: object) -> None:
    with pytest.raises(BadOption, match="give different whole numbers"):
        check_seeds(seeds)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="cannot be read"):
        load_experiment(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("title = ", encoding="utf-8")
    with pytest.raises(BadOption, match="is not TOML"):
        load_experiment(tmp_path / "bad.toml")
