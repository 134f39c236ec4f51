"""Processes of runs: one that is killed costs its own run, is written down as failed, and leaves the others alone."""

import os
import signal
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hand_made_runs import gates_experiment
from microtome.training.experiment import workers
from microtome.training.experiment.definition import read_experiment
from microtome.training.experiment.run_plan import FAILED, FINISHED, plan_runs
from microtome.training.experiment.workers import RunEvent, check_workers, epoch_event, work_off


def test_a_killed_process_costs_its_own_run(tmp_path: Path) -> None:
    """The child of the first run is killed as soon as it is there; the other run finishes; the reason names the signal."""
    tables: dict[str, Any] = {
        "recipe": {
            "network": {"name": "microtome:mini_vgg"},
            "data": {"images": "scenes:24,seed=3,size=32", "validation": "scenes:20,seed=4,size=32", "size": 32},
            "run": {"epochs": 2, "batch": 8},
        },
        "variant": [{"name": "other", "changes": {"optimiser.lr": 1e-4}}],
    }
    experiment = read_experiment(tables, "tiny")
    runs = plan_runs(experiment, tmp_path)
    events: list[RunEvent] = []

    def listen(event: RunEvent) -> None:
        events.append(event)
        if event.run == runs[0].name and "process" in event.facts:
            os.kill(event.facts["process"], signal.SIGKILL)

    work_off(experiment, runs, 2, listen)
    assert [run.state() for run in runs] == [FAILED, FINISHED]
    (failure,) = [event for event in events if event.kind == "failed"]
    assert failure.run == "baseline, seed 0" and "ended by signal 9" in failure.text
    assert [event.text.partition(",")[0] for event in events if event.kind == "epoch"] == ["epoch 1 of 2", "epoch 2 of 2"]
    work_off(experiment, runs[:1], 1, listen)
    assert [run.state() for run in runs] == [FINISHED, FINISHED]


def test_numbers_of_workers() -> None:
    assert check_workers("3") == 3 and check_workers(1) == 1


def test_the_event_of_an_epoch() -> None:
    event = epoch_event("a", {"epoch": 2, "epochs": 5, "loss": 0.25, "validation_accuracy": None})
    assert event.text == "epoch 2 of 5, loss 0.250" and event.kind == "epoch"


class FakeRay:
    """Ray's functions that are used, in this process; `broken` names a run whose task fails as Ray says it."""

    class exceptions:
        class RayError(Exception):
            pass

    def __init__(self, broken: str = "") -> None:
        self.broken, self.started, self.options = broken, False, {}

    def is_initialized(self) -> bool:
        return self.started

    def init(self, **options: Any) -> None:
        self.started = True

    def remote(self, **options: Any) -> Any:
        self.options = options
        return lambda _: type("Task", (), {"remote": staticmethod(lambda _, run: run.name)})

    def wait(self, left: list[Any], num_returns: int) -> Any:
        return left[:num_returns], left[num_returns:]

    def get(self, reference: str) -> None:
        if reference == self.broken:
            raise self.exceptions.RayError("details\nThe worker died.")


def test_tasks_of_ray_are_followed_by_their_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for Ray: a task that fails, and one that leaves nothing where this machine can see it, are failures."""
    ray = FakeRay(broken="gates, seed 0")
    monkeypatch.setattr(workers, "_import_ray", lambda: ray)
    experiment = gates_experiment(seeds=(0,))
    runs = plan_runs(experiment, tmp_path)
    events: list[RunEvent] = []
    work_off(experiment, runs, check_workers("ray"), events.append)
    assert ray.started and ray.options == {"num_cpus": 1, "max_retries": 0}
    reasons = {event.run: event.text for event in events if event.kind == "failed"}
    assert reasons["gates, seed 0"] == "its Ray task failed: The worker died."
    assert "do all machines see that folder?" in reasons["baseline, seed 0"] and len(reasons) == 3


def test_a_process_whose_parent_is_gone_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe whose other end is closed is ready at once, as the sentinel of a parent that has ended."""
    ear, mouth = Pipe()
    mouth.close()
    ends: list[int] = []
    monkeypatch.setattr(workers, "parent_process", lambda: SimpleNamespace(sentinel=ear))
    monkeypatch.setattr(os, "_exit", ends.append)
    workers._end_with_parent()
    assert ends == [1]
    monkeypatch.setattr(workers, "parent_process", lambda: None)  # no process of ours
    workers._end_with_parent()
    assert ends == [1]
