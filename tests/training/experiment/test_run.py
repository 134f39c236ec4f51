"""Experiments for real, in small: planted and null variants, runs that fail, nothing repeated, kill -9 in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import microtome as mt
from microtome.errors import BadOption, CheckpointError, MissingExtra
from microtome.report.html import report_bundle
from microtome.training.experiment.definition import Experiment, read_experiment
from microtome.training.experiment.workers import RunEvent
from microtome.training.train import train

EPOCHS = 3


def tiny_tables(epochs: int = 1, **keys: Any) -> dict[str, Any]:
    return {
        "recipe": {
            "network": {"name": "microtome:mini_vgg"},
            "data": {"images": "scenes:24,seed=3,size=32", "validation": "scenes:30,seed=4,size=32", "size": 32},
            "run": {"epochs": epochs, "batch": 8},
        },
        **keys,
    }


def tiny_experiment(**keys: Any) -> Experiment:
    return read_experiment(tiny_tables(**keys), "tiny")


def test_planted_null_and_failing_variants(tmp_path: Path) -> None:
    """A rate of 0 learns nothing; another title is the same training; blocks that do not exist fail with their reason, the rest goes on."""
    experiment = tiny_experiment(
        variant=[
            {"name": "no learning", "changes": {"optimiser.lr": 0.0}},
            {"name": "same", "changes": {"title": "same"}},
            {"name": "impossible", "changes": {"network.edits": ["remove_blocks:at=nothing"]}},
        ],
        numbers=["accuracy", "loss", "banding: banding index, raw weights", "banding: index[last]", "learnt: top-1 accuracy"],
        analyses={
            "banding": {"over_epochs": True, "twins": 0},
            "learnt": {"analysis": "accuracy", "images": "training"},
        },
    )
    events: list[RunEvent] = []
    pages: dict[tuple[str, str], bool] = {}

    def listen(event: RunEvent) -> None:
        events.append(event)
        pages[event.kind, event.run] = (tmp_path / "report.html").exists()

    outcome = mt.run_experiment(experiment, tmp_path, listener=listen)
    assert [name for name, _ in outcome.failed] == ["impossible, seed 0"]
    assert "nothing" in outcome.failed[0][1] and "Traceback" not in outcome.failed[0][1]
    rows = {(row["variant"], row["number"]): row for row in outcome.summary["differences"]}
    assert all(rows["same", number]["by_seed"] == [0.0] for number in ("accuracy", "loss", "banding: index[last]"))
    assert rows["no learning", "loss"]["by_seed"][0] != 0
    runs = {run["variant"]: run for run in outcome.summary["runs"]}
    still = runs["no learning"]["over_epochs"]["banding: index[last]"]
    moved = runs["baseline"]["over_epochs"]["banding: index[last]"]
    assert [epoch for epoch, _ in still] == [0, 1] and still[0][1] == still[1][1] == moved[0][1] != moved[1][1]
    assert runs["baseline"]["numbers"]["banding: index[last]"]["value"] == moved[1][1]
    assert [event.kind for event in events if event.run == "same, seed 0"] == ["begun", "epoch", "finished"]
    shown = {
        (card["analysis"], (card["origin"].get("specimen") or {}).get("name")) for card in report_bundle(tmp_path)["findings"]
    }
    assert {("experiment", None), ("banding", "baseline, seed 0"), ("accuracy", "same, seed 0")} <= shown
    assert {("training", f"{name}, seed 0") for name in ("baseline", "no learning", "same")} <= shown
    assert pages[("begun", "baseline, seed 0")] is False and pages[("begun", "same, seed 0")] is True  # it grows

    result = tmp_path / "runs" / "baseline" / "seed-0" / "result.json"
    before = result.stat().st_mtime_ns
    events.clear()
    again = mt.run_experiment(experiment, tmp_path, listener=events.append)
    assert [(event.kind, event.run) for event in events if event.kind != "epoch"] == [
        *(("reused", f"{name}, seed 0") for name in ("baseline", "no learning", "same")),
        ("begun", "impossible, seed 0"),
        ("failed", "impossible, seed 0"),
    ]
    assert result.stat().st_mtime_ns == before and again.summary["differences"] == outcome.summary["differences"]

    other = tiny_experiment(epochs=2, variant=[{"name": "same", "changes": {"title": "same"}}])
    with pytest.raises(CheckpointError, match="holds a run of another recipe"):
        mt.run_experiment(other, tmp_path)


def test_what_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    for workers in (0, "two", True, -1, 1.5):
        with pytest.raises(BadOption, match="give a number of processes"):
            mt.run_experiment(tiny_experiment(), tmp_path, workers)  # type: ignore[arg-type]
    with pytest.raises(BadOption, match="different whole numbers"):
        mt.run_experiment(tiny_experiment(), tmp_path, seeds=[1, 1])
    try:
        import ray  # noqa: F401
    except ImportError:
        with pytest.raises(MissingExtra, match=r"pip install 'microtome\[ray\]'"):
            mt.run_experiment(tiny_experiment(), tmp_path, "ray")
    assert not list(tmp_path.iterdir())


def write_toml(folder: Path) -> Path:
    path = folder / "tiny.toml"
    path.write_text(
        f"""
[recipe.network]
name = "microtome:mini_vgg"
[recipe.data]
images = "scenes:24,seed=3,size=32"
validation = "scenes:30,seed=4,size=32"
size = 32
[recipe.run]
epochs = {EPOCHS}
batch = 8
[[variant]]
name = "slow"
changes = {{ optimiser.lr = 1e-4 }}
""",
        encoding="utf-8",
    )
    return path


def wait_for(path: Path, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} was not written"
        time.sleep(0.01)


def test_killed_in_the_middle_it_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    """Killed by SIGKILL in its second run, it repeats no finished run and ends with the weights of a training never killed."""
    path, out = write_toml(tmp_path), tmp_path / "out"
    first, second = (out / "runs" / name / "seed-0" for name in ("baseline", "slow"))
    command = [sys.executable, "-W", "ignore", "-m", "microtome", "experiment", str(path), "--out", str(out), "--quiet"]
    parent = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
    wait_for(second / "trained" / "log.jsonl")  # written after the state of the first epoch
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert (first / "result.json").exists() and not (second / "result.json").exists()
    finished = (first / "result.json").stat().st_mtime_ns
    events: list[RunEvent] = []
    outcome = mt.run_experiment(path, out, listener=events.append)
    assert [(event.kind, event.run) for event in events if event.kind != "epoch"] == [
        ("reused", "baseline, seed 0"), ("begun", "slow, seed 0"), ("finished", "slow, seed 0")
    ]  # fmt: skip
    assert len([event for event in events if event.kind == "epoch"]) < EPOCHS  # it did not begin again
    assert (first / "result.json").stat().st_mtime_ns == finished and not outcome.failed
    whole = train(json.loads((second / "protocol.json").read_text(encoding="utf-8"))["recipe"], tmp_path / "whole")
    weights, expected = load_file(second / "trained" / "weights.safetensors"), load_file(whole.weights)
    assert all(torch.equal(weights[name], expected[name]) for name in expected) and len(weights) == len(expected)
