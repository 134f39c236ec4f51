"""An experiment as a finding: bars, curves, differences; saved, loaded, drawn, and shown in the page."""

from pathlib import Path

import numpy as np
import pytest

from hand_made_runs import finished_runs, gates_experiment
from microtome.finding import Finding
from microtome.report.html import report_bundle
from microtome.training.experiment.experiment_finding import experiment_finding
from microtome.training.experiment.run_plan import plan_runs
from microtome.training.experiment.summary import summarise


def test_the_finding_holds_every_run(tmp_path: Path) -> None:
    experiment = gates_experiment()
    summary = summarise(experiment, finished_runs(experiment, tmp_path / "runs"))
    finding = experiment_finding(summary)
    values = finding["value/accuracy"]
    assert values.dims == ("seed", "variant") and values.sel(seed="seed 1", variant="gates") == pytest.approx(
        next(r["numbers"]["accuracy"]["value"] for r in summary["runs"] if (r["variant"], r["seed"]) == ("gates", 1))
    )
    lines = finding["epochs/banding: index[last]"]
    assert lines.sel(specimen="gates, seed 2").values == pytest.approx([0, 0.25, 0.5])
    assert [panel.title for panel in finding.panels] == [
        "Minus baseline", "Variants", "Accuracy", "Banding: index[last]", "banding: index[last] over epochs", "Training loss",
        "Validation accuracy",
    ]  # fmt: skip
    key = finding.key("accuracy: gates minus baseline")
    row = summary["differences"][0]
    assert [key.value, key.low, key.high] == row["over_seeds"] and len(finding.headline.split()) <= 20
    assert finding.headline.startswith("Accuracy of gates: +") and finding.headline.endswith("against baseline, over 3 seeds.")
    finding.save(tmp_path / "out" / "_together" / "experiment" / "k")
    again = Finding.load(tmp_path / "out" / "_together" / "experiment" / "k")
    assert np.array_equal(again["value/accuracy"], values) and len(again.figures()) == len(finding.panels)
    (shown,) = report_bundle(tmp_path / "out")["findings"]
    assert shown["analysis"] == "experiment"


def test_an_unfinished_experiment_is_a_finding_too(tmp_path: Path) -> None:
    experiment = gates_experiment(seeds=(0, 1))
    finding = experiment_finding(summarise(experiment, plan_runs(experiment, tmp_path)))
    assert finding.headline == "0 of 6 runs finished; no variant has a difference yet." and finding.key_numbers == ()
    assert any("With 2 seeds there is no interval" in line for line in finding.caveats)
    assert any(line.startswith("Not finished: baseline, seed 0") for line in finding.caveats)
