"""The benchmark of choice on two candidates and three tiny tasks: rows, resume, page and evidence; heads and features by hand."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from benchmarks import choice, choice_page, choice_training
from benchmarks.choice_candidates import candidates, classifier_of, feature_reader
from benchmarks.choice_tasks import generated_tasks
from benchmarks.choice_training import HeadLayer, learning_rate, measure_truth, train_head

EVIDENCE = choice_page.EVIDENCE
SIZE = choice.Size(training=36, test=24, tasks=("texture", "hue", "count"), candidates=("mini_vgg", "mini_resnet", "mini_deit"))


@pytest.fixture(autouse=True)
def _short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice_training, "EPOCHS", 1)
    monkeypatch.setattr(choice, "real_tasks", lambda *_: ([], "no real images here"))


def without_times(row: dict) -> dict:
    return {name: value for name, value in row.items() if name != "seconds"}


def test_a_killed_run_goes_on_and_ends_with_the_same_rows(tmp_path, monkeypatch) -> None:
    """Killed in the middle of writing the fourth row: the cut line is measured again, the three before are not."""
    whole = choice.run(SIZE, tmp_path / "whole")
    (kept,) = (tmp_path / "whole").iterdir()
    lines = (kept / "rows.jsonl").read_text().splitlines(keepends=True)
    broken = tmp_path / "broken" / kept.name
    broken.mkdir(parents=True)
    (kept / "findings").rename(broken / "findings")
    (kept / "cost").rename(broken / "cost")
    (broken / "rows.jsonl").write_text("".join(lines[:3]) + lines[3][:40])
    measured = []
    original = choice.measure_row
    monkeypatch.setattr(choice, "measure_row", lambda *given: measured.append(given[0].name) or original(*given))
    again = choice.run(SIZE, tmp_path / "broken")
    assert len(measured) == 6
    assert [without_times(row) for row in again["rows"]] == [without_times(row) for row in whole["rows"]]
    assert again["recommendations"] == whole["recommendations"] and len(whole["rows"]) == 9

    assert {row["choice"] for row in whole["recommendations"]} <= {"", *SIZE.candidates}
    monkeypatch.setattr(choice_page, "PAGE", tmp_path / "choice.md")
    monkeypatch.setattr(choice_page, "EVIDENCE", tmp_path / "evidence.json")
    choice_page.write_pages(json.loads(json.dumps(whole)))
    page, evidence = (tmp_path / "choice.md").read_text(), json.loads((tmp_path / "evidence.json").read_text())
    assert "no real images here." in page and "nan" not in page.replace("nano", "")
    assert evidence["tasks"] == {"generated": 3, "real": 0} and evidence["candidates"] == 3
    assert {"recommendation", "logme", "ridge", "LEEP"} <= set(evidence["scores"])
    for score in evidence["scores"].values():
        assert {"tau_mean", "tau_low", "tau_high", "regret_mean", "tasks"} <= set(score)


def test_scores_and_truth_see_other_images(tmp_path, monkeypatch) -> None:
    """The findings are of the training images; no test image is given to an analysis."""
    task = generated_tasks(36, 24)[3]
    seen = []
    monkeypatch.setattr(choice, "measure_truth", lambda *given, **_: seen.append(given) or choice_training.Truth(0.5, 0.5))
    training, test = task.training(0), task.test()
    row = choice.measure_row(candidates()[1], task, 0, training, test, tmp_path)
    assert row["head"] == 0.5 and seen[0][1] is training and seen[0][2] is test
    digests = {finding.origin["images"]["digest"] for finding in _findings(tmp_path)}
    assert digests == {training.images(task.classes).digest()}


def _findings(folder):
    return [mt.Finding.load(path) for path in choice.Store(folder / "findings" / "texture-0").current()]


@pytest.mark.parametrize("name", mt.networks.NAMES)
def test_features_are_what_the_classifier_is_given(name: str) -> None:
    net = mt.open(f"microtome:{name}").net
    x = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    classifier = classifier_of(net, x[:1])
    assert isinstance(classifier, nn.Linear) and classifier.out_features == 10
    with torch.inference_mode(), feature_reader(net, classifier) as features:
        assert torch.allclose(classifier(features(x)), net(x), atol=1e-5)
    assert not classifier._forward_pre_hooks


def test_a_trunk_gives_its_output() -> None:
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    assert classifier_of(trunk, torch.zeros(1, 3, 8, 8)) is None
    with feature_reader(trunk, None) as features:
        assert features(torch.ones(2, 3, 8, 8)).shape == (2, 4)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_head_on_separated_classes_is_right_and_its_layer_agrees(classes: int) -> None:
    random = np.random.default_rng(0)
    labels = np.arange(60) % classes
    features = np.concatenate([np.eye(classes)[labels] * 1e3 + random.normal(size=(60, classes)), np.ones((60, 1))], axis=1)
    head = train_head(features, labels)
    scores = head.scores(features)
    assert (scores.argmax(1) == labels).all() and np.isfinite(scores).all()
    layer = HeadLayer(head)
    assert np.allclose(layer(torch.from_numpy(features).float()).detach().numpy(), scores, atol=1e-3)


def test_truth_leaves_the_network_as_it_was_and_is_the_same_twice() -> None:
    task, specimen = generated_tasks(36, 24)[3], mt.open("microtome:mini_resnet")
    before = {name: value.clone() for name, value in specimen.net.state_dict().items()}
    first = measure_truth(specimen, task.training(0), task.test())
    assert all(torch.equal(value, before[name]) for name, value in specimen.net.state_dict().items())
    assert not any(parameter.requires_grad for parameter in specimen.net.parameters()) and not specimen.net.training
    assert measure_truth(specimen, task.training(0), task.test()) == first
    assert 0 <= first.head <= 1 and 0 <= first.finetuned <= 1


def test_fine_tuning_learns_what_a_frozen_head_cannot(monkeypatch) -> None:
    """On its own training images a network with all weights free fits better than the head that it began with."""
    monkeypatch.setattr(choice_training, "EPOCHS", 8)
    task, specimen = next(task for task in generated_tasks(60, 24) if task.name == "count"), mt.open("microtome:mini_resnet")
    training = task.training(0)
    truth = measure_truth(specimen, training, training)
    assert truth.finetuned > truth.head or truth.head == 1.0


def test_the_rate_rises_and_falls() -> None:
    rates = [learning_rate(part / 100) for part in range(101)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == pytest.approx(1.0) and rates[100] == pytest.approx(0.0)
    assert rates.index(max(rates)) == 10


def test_the_page_and_the_evidence_are_those_of_the_numbers_that_are_kept(tmp_path, monkeypatch) -> None:
    kept = json.loads(choice.RESULTS.read_text(encoding="utf-8"))
    monkeypatch.setattr(choice_page, "PAGE", tmp_path / "choice.md")
    monkeypatch.setattr(choice_page, "EVIDENCE", tmp_path / "evidence.json")
    published = [path.read_text(encoding="utf-8") for path in (choice.RESULTS.parent / "choice.md", EVIDENCE)]
    choice_page.write_pages(kept)
    assert [(tmp_path / name).read_text(encoding="utf-8") for name in ("choice.md", "evidence.json")] == published


def test_generated_and_real_tasks_take_turns() -> None:
    tasks = generated_tasks(6, 6)
    names = [task.name for task in choice.interleaved(tasks[:3], tasks[5:7])]
    assert names == ["small_objects", "colour_shift", "large_objects", "count", "clutter"]


def test_advice_is_renewed_without_training(tmp_path, monkeypatch) -> None:
    """The trained accuracies stay, the recommendation is made again; another score than the one kept stops it."""
    monkeypatch.setattr(choice, "measure_truth", lambda *_, **__: choice_training.Truth(0.5, 0.25))
    small = choice.Size(training=36, test=24, tasks=("texture",), candidates=("mini_vgg", "mini_resnet"))
    kept = choice.run(small, tmp_path / "whole")
    stale = kept | {"recommendations": [kept["recommendations"][0] | {"choice": "nobody", "rank": {}}]}
    monkeypatch.delattr(choice, "measure_truth")
    renewed = choice.renew_advice(stale, tmp_path)
    assert renewed["rows"] == kept["rows"]
    assert renewed["recommendations"][0]["choice"] in {"", *small.candidates}
    assert set(renewed["recommendations"][0]["rank"]) == set(small.candidates)
    kept["rows"][0]["probe"] += 0.1
    with pytest.raises(RuntimeError, match="the best probe accuracy is"):
        choice.renew_advice(stale, tmp_path / "again")
