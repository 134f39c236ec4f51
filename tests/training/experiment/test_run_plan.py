"""Which runs there are, where they lie, how far each has come; a folder of another recipe is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from hand_made_runs import gates_experiment, write_run
from microtome.errors import CheckpointError
from microtome.training.experiment.run_plan import BEGUN, FAILED, FINISHED, NOT_BEGUN, plan_runs, read_json


def test_every_variant_and_seed_is_a_run_of_its_own_seed_by_seed(tmp_path: Path) -> None:
    runs = plan_runs(gates_experiment(), tmp_path)
    assert [run.name for run in runs[:4]] == ["baseline, seed 0", "gates, seed 0", "nothing, seed 0", "baseline, seed 1"]
    assert runs[4].folder == tmp_path / "runs" / "gates" / "seed-1" and runs[4].recipe.run.seed == 1
    assert len({run.recipe.digest for run in runs}) == 6  # `nothing` differs in its title alone, which decides no weight
    assert [run.seed for run in plan_runs(gates_experiment(), tmp_path, [7])] == [7, 7, 7]


def test_the_state_of_a_run(tmp_path: Path) -> None:
    run, failed, other = plan_runs(gates_experiment(), tmp_path)[:3]
    assert run.state() == NOT_BEGUN
    write_run(run, np.ones(20, bool), 0.0)
    assert run.state() == FINISHED
    write_run(failed, np.ones(20, bool), 0.0, state="failed")
    assert failed.state() == FAILED
    for stale in ({"analyses_digest": "x"}, {"recipe_digest": "x"}):
        (again,) = [each for each in plan_runs(gates_experiment(), tmp_path / str(stale)) if each.name == other.name]
        write_run(again, np.ones(20, bool), 0.0, **stale)
        assert again.state() == BEGUN and again.result() is None


def test_a_folder_of_another_recipe_is_refused(tmp_path: Path) -> None:
    run = plan_runs(gates_experiment(), tmp_path)[0]
    run.check_folder()
    run.folder.mkdir(parents=True)
    (run.folder / "protocol.json").write_text(json.dumps({"recipe_digest": run.recipe.digest}), encoding="utf-8")
    run.check_folder()
    (run.folder / "protocol.json").write_text(json.dumps({"recipe_digest": "0" * 64}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="holds a run of another recipe.*give another out"):
        run.check_folder()


def test_a_damaged_file_counts_as_none(tmp_path: Path) -> None:
    for text in ("{", "[1]", ""):
        (tmp_path / "a.json").write_text(text, encoding="utf-8")
        assert read_json(tmp_path / "a.json") is None
