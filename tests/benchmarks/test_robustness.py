"""The page of contrast: counts are those of the analysis, sentences follow from intervals, a stopped run goes on."""

import json

import numpy as np
import pytest

import microtome as mt
from benchmarks import robustness, robustness_page
from benchmarks.robustness import Budget, Subject, measure_answers, measure_subject, train_on
from benchmarks.robustness_page import page, retained, verdicts
from microtome.analyses.robustness import Robustness
from microtome.analyses.robustness.conditions import list_conditions
from microtome.training.zoo.data import scene_series


def test_counts_are_those_of_the_analysis() -> None:
    specimen, images = mt.open("microtome:mini_deit"), mt.Images.scenes(12, seed=3)
    conditions = list_conditions(["fog", "gaussian_noise"], [1, 5], ["contrast", "colour_scale"])
    right = measure_answers(specimen, images, conditions, batch=5)
    found = Robustness(corruptions=("fog", "gaussian_noise"), severities=(1, 5), sweeps=("contrast", "colour_scale"), count=12)(
        specimen, images, twins=0
    )
    assert right[:, 0].mean() == pytest.approx(found["clean"].sel(measure="accuracy").item())
    assert right[:, 1:5].mean(0).reshape(2, 2) == pytest.approx(found["accuracy"].values)
    sweep = found["accuracy/contrast"]
    for place, condition in enumerate(conditions, 1):
        if condition.is_sweep and condition.name == "contrast":
            assert right[:, place].mean() == pytest.approx(sweep.sel(amount=condition.amount).item())


def row(network: str, group: str, kept: float, other: float = 0.9, count: int = 200) -> dict:
    """A network that is right on all clean images and on the first part of them under contrast."""
    means = {"other": other, "contrast": kept, "colour_scale": kept}
    right = [
        ["fog", 1.0, False, count],
        ["contrast", 2.0, True, round(kept * count)],
        ["colour_scale", 2.0, True, round(kept * count)],
    ]
    return {
        "network": network, "group": group, "images": count, "clean": [1] * count, "right": right,
        "means": {name: (np.arange(count) < value * count).astype(float).tolist() for name, value in means.items()},
    }  # fmt: skip


def results(rows: list[dict]) -> dict:
    return {
        "machine": robustness.machine.described("cpu"), "budget": vars(Budget()), "skipped": "", "transformers": ["vit"], "rows": rows,
    }  # fmt: skip


def test_the_fraction_kept_is_over_the_clean_accuracy() -> None:
    half = row("a", "scenes", 0.3) | {"clean": [1, 0] * 100}
    assert retained(half, "contrast").value == pytest.approx(0.6)


def test_sentences_follow_from_the_intervals() -> None:
    rows = [row("vit", "CIFAR-10", 0.3), row("cnn", "CIFAR-10", 0.8), row("vit", "scenes", 0.8), row("cnn", "scenes", 0.8),
            row("mini_deit, seed 0", "trained on", 0.3), row("mini_deit + prelayernorm, seed 0", "trained on", 0.9)]  # fmt: skip
    groups = {group: [each for each in rows if each["group"] == group] for group in robustness_page.GROUPS}
    lines = verdicts(groups, ["vit"])
    assert len(lines) == 6
    assert (
        "above those of 0, below those of 0 and overlaps those of 1 of the 1 others. This does not contradict what is published."
        in lines[0]
    )
    assert "below those of 1" in lines[1] and lines[1].endswith("This is as published.")
    assert lines[3].endswith("The published loss is not shown.")  # as robust to contrast as the other
    assert "`mini_deit + prelayernorm, seed 0` keeps 90%" in lines[4] and lines[4].endswith("a significant repair.")
    whole = page(results(rows))
    assert "| *vit* |" in whole and "| x 1 | x 2 |" in whole and "nan" not in whole


def test_an_identity_is_no_missing_difference() -> None:
    """Where every image is answered as without a change, the ratio has no interval, and nothing is compared."""
    rows = [row("mini_deit, seed 0", "trained on", 0.3), row("mini_deit + prelayernorm, seed 0", "trained on", 1.0)]
    lines = verdicts({"CIFAR-10": [], "scenes": [], "trained on": rows}, ["vit"])
    assert "as rightly as at ordinary contrast, by construction; without the edit 30%" in lines[0]


def test_a_lower_network_under_other_corruptions_is_not_as_published() -> None:
    rows = [row("vit", "CIFAR-10", 0.3, other=0.5), row("cnn", "CIFAR-10", 0.8, other=0.9)]
    lines = verdicts({"CIFAR-10": rows, "scenes": [], "trained on": []}, ["vit"])
    assert lines[0].endswith("This is not as published.")


def test_a_stopped_run_goes_on(tmp_path, monkeypatch) -> None:
    opened = []

    def subject(name: str) -> Subject:
        return Subject(
            name, "scenes", lambda: opened.append(name) or mt.open(f"microtome:{name}"), lambda: mt.Images.scenes(2, seed=1)
        )

    monkeypatch.setattr(robustness, "subjects", lambda *_: [subject("mini_vgg"), subject("mini_deit")])
    first = robustness.run(Budget(count=2), tmp_path)
    (path,) = tmp_path.rglob("rows.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + lines[1][:50])
    second = robustness.run(Budget(count=2), tmp_path)
    assert opened == ["mini_vgg", "mini_deit", "mini_deit"] and second["rows"] == first["rows"]
    assert measure_subject(subject("mini_vgg")) == first["rows"][0]


def test_training_on_is_the_same_twice_and_changes_the_network() -> None:
    budget, data = Budget(scenes=16, epochs=1, batch=8), scene_series(16, 5)
    nets = [mt.open("microtome:mini_deit", edits=["prelayernorm"]).net for _ in range(3)]
    for net in nets[:2]:
        train_on(net, data, budget, 0)
    weights = [net.state_dict()["head.weight"] for net in nets]
    assert weights[0].equal(weights[1]) and not weights[0].equal(weights[2])
    assert not nets[0].training


def test_the_page_is_that_of_the_numbers_that_are_kept() -> None:
    assert page(json.loads(robustness.RESULTS.read_text(encoding="utf-8"))) == robustness_page.PAGE.read_text(encoding="utf-8")
