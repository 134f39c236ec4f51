"""One run: what is written of a failure, and which images an analysis gets."""

import json
from pathlib import Path

import pytest

from hand_made_runs import gates_experiment
from microtome.errors import ImagesError
from microtome.training.experiment import single_run
from microtome.training.experiment.run_plan import FAILED, plan_runs
from microtome.training.experiment.single_run import complete_run, find_images


def test_an_unexpected_error_is_a_failure_with_its_traceback_in_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the third weight")

    monkeypatch.setattr(single_run, "train", broken)
    run = plan_runs(gates_experiment(), tmp_path)[0]
    result = complete_run(gates_experiment(), run, lambda facts: None)
    assert result["state"] == run.state() == FAILED and result["reason"].startswith(
        "ZeroDivisionError: the third weight (traceback in"
    )
    assert "Traceback" in (run.folder / "run.log").read_text(encoding="utf-8")
    written = json.loads((run.folder / "result.json").read_text(encoding="utf-8"))
    assert written == result and written["recipe_digest"] == run.recipe.digest


def test_the_images_of_an_analysis(tmp_path: Path) -> None:
    (run,) = plan_runs(gates_experiment(seeds=(0,), validation="scenes:20,seed=1"), tmp_path)[:1]
    validation, training, other = (find_images(word, run) for word in ("validation", "training", "scenes:7"))
    assert validation is not None and training is not None and other is not None
    assert (len(validation), len(training), len(other)) == (20, 40, 7) and find_images("none", run) is None
    nothing = gates_experiment(
        seeds=(0,),
        recipe={"network": {"name": "microtome:mini_vgg"}, "data": {"images": "scenes:40", "validation_fraction": 0}},
    )
    with pytest.raises(ImagesError, match="baseline, seed 0 has no validation images"):
        find_images("validation", plan_runs(nothing, tmp_path)[0])
