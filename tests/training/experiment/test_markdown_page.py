"""The Markdown page: written from experiment.json alone, without torch, with every number, difference and gap."""

import json
import subprocess
import sys
from pathlib import Path

from hand_made_runs import finished_runs, gates_experiment, write_run
from microtome.training.experiment.markdown_page import markdown_page
from microtome.training.experiment.run_plan import plan_runs
from microtome.training.experiment.summary import summarise


def test_the_page_shows_protocol_results_differences_and_what_intervals_cover(tmp_path: Path) -> None:
    experiment = gates_experiment(notes=["Small networks."])
    summary = summarise(experiment, finished_runs(experiment, tmp_path))
    page = markdown_page(summary, "gates.json", "experiments/gates.toml", "A **reading**.")
    assert page.startswith("# Gates on scenes\n\nDo gates help?\n\nSource: ours.\n")
    assert "microtome experiment experiments/gates.toml --out runs/gates" in page and "[gates.json](gates.json)" in page
    assert '| gates | `network.edits = ["squeeze_excitation"]` | 1,234 |' in page
    by_hand = [run["numbers"]["accuracy"]["value"] for run in summary["runs"] if run["variant"] == "gates"]
    cells = [f"{100 * value:.1f}%".replace(".0%", ".0%") for value in by_hand]
    assert all(cell in page for cell in cells)
    assert "| gates | banding: index[last] | +0.300, +0.300, +0.300 | +0.300 | – | no spread |" in page
    assert "| gates | 0 | 0.200 (0.150 to 0.250) | 0.400 (0.300 to 0.500) |" in page  # over epochs, of 0.3, 0.4, 0.5
    assert "Not significant** never means equal" in page and "## What is missing" not in page
    assert page.endswith("- Small networks.\n\nA **reading**.\n")


def test_gaps_are_named(tmp_path: Path) -> None:
    experiment = gates_experiment(seeds=(0, 1))
    runs = plan_runs(experiment, tmp_path)
    import numpy as np

    write_run(runs[0], np.arange(40) % 2 == 0, 0.1, skipped=[{"analysis": "banding", "reason": "no kernel"}])
    write_run(runs[1], np.arange(40) % 2 == 0, 0.1, state="failed", reason="The loss is NaN.")
    page = markdown_page(summarise(experiment, runs))
    assert "- gates, seed 0: failed: The loss is NaN." in page and "- gates, seed 1: not begun" in page
    assert "- baseline, seed 0: banding not measured: no kernel" in page and "There is nothing to compare yet." in page
    assert "No run is finished." in markdown_page(summarise(experiment, plan_runs(experiment, tmp_path / "none")))


def test_two_seeds_are_called_too_few(tmp_path: Path) -> None:
    experiment = gates_experiment(seeds=(0, 1))
    page = markdown_page(summarise(experiment, finished_runs(experiment, tmp_path)))
    assert "With 2 seeds there is no interval over seeds" in page and "| too few seeds |" in page


def test_it_needs_no_torch(tmp_path: Path) -> None:
    experiment = gates_experiment(seeds=(0,))
    (tmp_path / "e.json").write_text(json.dumps(summarise(experiment, finished_runs(experiment, tmp_path))), encoding="utf-8")
    code = (
        "import json, sys; from microtome.training.experiment.markdown_page import markdown_page;"
        f"markdown_page(json.load(open({str(tmp_path / 'e.json')!r}))); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
