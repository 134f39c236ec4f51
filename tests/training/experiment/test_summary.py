"""The summary of an experiment: a planted effect is found and a null is not; what failed or cannot be paired is said."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from hand_made_runs import IMAGES, finished_runs, gates_experiment, write_run
from microtome.training.experiment.run_plan import plan_runs
from microtome.training.experiment.summary import ONE_SET, OTHER_SETS, summarise


def test_a_planted_effect_is_found_and_a_null_is_not(tmp_path: Path) -> None:
    experiment = gates_experiment()
    summary = summarise(experiment, finished_runs(experiment, tmp_path))
    rows = {(row["variant"], row["number"]): row for row in summary["differences"]}
    planted, null = rows["gates", "accuracy"], rows["nothing", "accuracy"]
    assert planted["verdict"] == "higher" and planted["over_images"][1] > 0.1
    assert null["verdict"] == "not significant" and null["over_images"][1] < 0 < null["over_images"][2]
    # The oracle: scipy's paired t-test over the seeds.
    value = {
        (run["variant"], run["seed"]): run["numbers"]["accuracy"]["value"]
        for run in summary["runs"]
        if run["state"] == "finished"
    }
    first, second = ([value[name, seed] for seed in range(3)] for name in ("gates", "baseline"))
    oracle = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert planted["over_seeds"] == pytest.approx([np.mean(first) - np.mean(second), oracle.low, oracle.high])
    assert rows["gates", "banding: index[last]"]["by_seed"] == pytest.approx([0.3] * 3)
    assert rows["gates", "banding: index[last]"]["verdict"] == "no spread"
    assert rows["gates", "banding: index[last]"]["over_images"] == [None] * 3  # of accuracy alone
    assert summary["variants"][1]["parameters"] == 1234 and summary["date"] == "2026-11-30"
    json.dumps(summary, allow_nan=False)


def test_two_seeds_have_differences_and_no_verdict(tmp_path: Path) -> None:
    experiment = gates_experiment(seeds=(0, 1))
    rows = summarise(experiment, finished_runs(experiment, tmp_path))["differences"]
    assert {row["verdict"] for row in rows} == {"too few seeds"}
    assert all(len(row["by_seed"]) == 2 and row["over_seeds"][1:] == [None, None] for row in rows)
    assert rows[0]["over_images"][1] is not None


def test_runs_that_failed_or_have_not_begun_are_named_and_the_rest_is_compared(tmp_path: Path) -> None:
    experiment = gates_experiment()
    runs = plan_runs(experiment, tmp_path)
    random = np.random.default_rng(0)
    for run in runs:
        if run.seed == 0:
            write_run(run, random.random(IMAGES) < 0.5, 0.1)
        elif run.seed == 1:
            write_run(run, random.random(IMAGES) < 0.5, 0.1, state="failed", reason="The loss is NaN.")
    summary = summarise(experiment, runs)
    states = {(run["variant"], run["seed"]): (run["state"], run.get("reason")) for run in summary["runs"]}
    assert states["gates", 0] == ("finished", None) and states["gates", 2] == ("not begun", None)
    assert states["gates", 1] == ("failed", "The loss is NaN.")
    assert [row["seeds"] for row in summary["differences"]] == [[0]] * 4


def test_images_that_differ_are_not_paired(tmp_path: Path) -> None:
    own = gates_experiment()
    runs = finished_runs(own, tmp_path / "own")
    label = np.zeros(IMAGES, int)
    for run in runs:
        if run.variant.name == "gates":
            np.savez(run.training_folder / "answers.npz", predicted=label, label=label)
    rows = summarise(own, runs)["differences"]
    assert rows[0]["no_image_interval"] == OTHER_SETS and rows[0]["over_images"] == [None] * 3
    assert rows[0]["verdict"] == "higher"  # seeds are paired all the same
    split = gates_experiment(validation="")  # of each seed others
    rows = summarise(split, finished_runs(split, tmp_path / "split"))["differences"]
    assert rows[0]["no_image_interval"] == ONE_SET
    single = gates_experiment(seeds=(0,), validation="")
    assert "no_image_interval" not in summarise(single, finished_runs(single, tmp_path / "single"))["differences"][0]


def test_an_experiment_without_a_finished_run_has_a_summary(tmp_path: Path) -> None:
    experiment = gates_experiment()
    summary = summarise(experiment, plan_runs(experiment, tmp_path))
    assert summary["numbers"] == summary["differences"] == [] and len(summary["runs"]) == 9
