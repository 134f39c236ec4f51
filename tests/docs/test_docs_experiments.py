"""The experiments beside the package: every file can be run, and every committed result is of the protocol that its file has today."""

import json
import tomllib
from pathlib import Path

import pytest

from microtome.training.experiment.definition import load_experiment, read_experiment
from microtome.training.experiment.markdown_page import markdown_page
from microtome.training.experiment.run_plan import FINISHED
from microtome.training.network import open_network

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = sorted((ROOT / "experiments").glob("*.toml"))
RESULTS = sorted((ROOT / "docs" / "experiments").glob("*.json"))


def test_the_earlier_scripts_have_files() -> None:
    assert {"ablation", "rates_cues", "rates_cues_seen", "rates_scenes", "removal", "stems", "transformers"} <= {
        path.stem for path in FILES
    }
    assert not list((ROOT / "experiments").glob("*.py")) and {path.stem for path in RESULTS} <= {path.stem for path in FILES}


def test_the_example_of_the_guide_can_be_run() -> None:
    text = (ROOT / "docs" / "own_experiment.md").read_text(encoding="utf-8")
    experiment = read_experiment(tomllib.loads(text.partition("```toml\n")[2].partition("```")[0]))
    assert [variant.name for variant in experiment.variants] == ["baseline", "gates", "gates, twice the rate"]
    for variant in experiment.variants:
        recipe = experiment.variant_recipe(variant, 0)
        assert open_network(recipe.network, 10, 0, recipe.data.size).outputs == 10


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_variant_can_be_built(path: Path) -> None:
    experiment = load_experiment(path)
    assert experiment.question and experiment.title and experiment.notes
    for variant in experiment.variants:
        recipe = experiment.variant_recipe(variant, 0)
        assert open_network(recipe.network, 10, 0, recipe.data.size).outputs in (10, None)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_committed_result_is_of_the_protocol_of_its_file(path: Path) -> None:
    summary = json.loads(path.read_text(encoding="utf-8"))
    experiment = load_experiment(ROOT / "experiments" / f"{path.stem}.toml")
    today = experiment.recipe.json()
    assert all(  # keys that recipes got since have their defaults
        today[table][key] == value
        for table, keys in summary["recipe"].items()
        if table != "title"
        for key, value in keys.items()
    )
    variants = [(each.name, json.loads(json.dumps(dict(each.changes)))) for each in experiment.variants]
    assert [(each["name"], each["changes"]) for each in summary["variants"]] == variants
    assert {(run["variant"], run["seed"]) for run in summary["runs"]} == {
        (name, seed) for name, _ in variants for seed in summary["seeds"]
    }
    assert {run["state"] for run in summary["runs"]} == {FINISHED} and summary["reference"] == experiment.reference
    assert summary["analyses"] == [analysis.json() for analysis in experiment.analyses]
    page = path.with_suffix(".md").read_text(encoding="utf-8")
    assert page == markdown_page(summary | {"notes": list(experiment.notes)}, path.name, f"experiments/{path.stem}.toml")
