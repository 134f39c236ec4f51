"""The proof of slimming: which points are compared, verdicts by hand, a stopped run, and the page of the numbers that are kept."""

import json

import numpy as np
import pytest

from benchmarks import slim_proof, slim_proof_page
from benchmarks.real_networks import RealNetwork
from benchmarks.slim_duels import OURS, duels, final_answers, near_misses, unpack
from benchmarks.slim_points import Workshop
from benchmarks.slim_proof import measure_network, pack
from benchmarks.slim_proof_page import page, verdicts
from benchmarks.torch_pruning_alone import prune_alone

IMAGES = 200


def point(method: str, latency: float, right: int, harder: int | None = None, **given: object) -> dict:
    """A point that has the first `right` of all images right."""
    own = {"method": method, "blocks": ["b"] if method in OURS else [], "ratio": 0.0, "target": 0.65}
    answers = {"repaired": answered(0), "fine-tune": answered(right)} | (
        {"harder fine-tune": answered(harder)} if harder else {}
    )
    return own | {"latency": [latency] * 3, "latency_16": [1.0] * 3, "parameters": 0.5, "operations": 0.5} | answers | given


def answered(right: int) -> str:
    return pack(np.arange(IMAGES) < right)


def result(points: list[dict]) -> dict:
    return {
        "name": "net", "family": "deeper", "blocks": 9, "skipped": 7, "linear": False, "images": {"repair": 100, "reported": IMAGES},
        "steps": 10, "full": answered(180), "singles": {"b": {"none": [0.005, -0.01, 0.02], "norms": [0.2, 0.1, 0.3]}},
        "points": points, "machine": slim_proof.machine.described("cpu"),
    }  # fmt: skip


def test_answers_survive_packing() -> None:
    right = np.random.default_rng(0).random(37) < 0.5
    assert np.array_equal(unpack(pack(right), 37), right)


def test_the_rival_is_the_most_accurate_that_is_as_fast() -> None:
    slow, equal, fast = (point("Torch-Pruning, Taylor", at, right) for at, right in ((0.8, 180), (0.625, 150), (0.3, 120)))
    row = result([point("depth", 0.6, 178), slow, equal, fast])
    (duel,) = duels(row, "latency")
    assert duel.rival == equal and duel.loss.value == pytest.approx(0.01)
    assert duel.difference is not None and duel.difference.value == pytest.approx(28 / 200) and duel.difference.low > 0
    (on_parameters,) = duels(row, "parameters")
    assert on_parameters.rival == slow  # all have half the parameters


def test_a_rival_that_is_a_little_slower_is_not_passed_over() -> None:
    near, far, worse = (point("Torch-Pruning, Taylor", at, right) for at, right in ((0.66, 170), (0.7, 170), (0.66, 150)))
    row = result([point("depth", 0.6, 160), near, far, worse])
    assert near_misses(row) == [(row["points"][0], near)]
    assert "A little slower, and more accurate than ours, in net" in verdicts([row])[-2]


def test_the_better_of_two_fine_tunes_counts() -> None:
    row = result([point("Torch-Pruning, magnitude", 0.5, 100, harder=120)])
    assert final_answers(row, row["points"][0]).sum() == 120


def test_verdicts_follow_from_the_numbers() -> None:
    met = result([point("depth", 0.6, 178), point("Torch-Pruning, Taylor", 0.6, 150)])
    lines = verdicts([met])
    assert "1 comparison in 1 network; significantly more accurate in 1, less in 0." in lines[0]
    assert "is met by net (depth: 1 block, 10 steps: 60.0%" in lines[-1] and "within 1 point for 0" in lines[-1]
    missed = result([point("depth", 0.6, 100), point("Torch-Pruning, Taylor", 0.9, 150)])
    lines = verdicts([missed])
    assert "none of Torch-Pruning's points is as fast" in lines[0] and "is missed; the nearest is net" in lines[-1]
    worse = verdicts([result([point("depth", 0.6, 140), point("Torch-Pruning, Taylor", 0.6, 150)])])
    assert "The estimate is below Torch-Pruning's in net." in worse[0]
    whole = page([met])
    assert "| depth: 1 block | 60.0%" in whole and "| net | 9 | 1: `b` | 0 | – | – |" in whole


def test_the_least_channels_go_first() -> None:
    """By hand: half of the channels of a layer are all zero, and exactly these are removed by their size."""
    import torch
    from torch import nn

    import microtome as mt

    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).eval()
    with torch.no_grad():
        net[0].weight[::2] = 0
        net[0].bias[::2] = 0
    specimen = mt.open(net, recipe={"size": 16})
    pruned, x = prune_alone(specimen, specimen.net, 0.5, "magnitude"), specimen.noise(2)
    assert torch.equal(pruned.get_submodule("0").weight, net[0].weight[1::2])
    with torch.no_grad():
        assert torch.allclose(pruned(x), net(x), atol=1e-6)  # what gave nothing is not missed


def test_a_stopped_run_goes_on(tmp_path, monkeypatch) -> None:
    for name, value in (("TARGETS", (0.9, 0.8, 0.7)), ("MIDDLE", 0.9), ("STEPS", 1), ("ROUNDS", 3), ("LATENCY_ROUNDS", 8)):
        monkeypatch.setattr(slim_proof, name, value)
    monkeypatch.setattr(slim_proof, "KEPT", tmp_path / "results" / "proof" / "kept")
    ratios = iter([[0.85, 0.8, 0.9]] * 3)
    monkeypatch.setattr(
        slim_proof,
        "latency_ratios",
        lambda _, nets, *__: [next(ratios, [0.75, 0.7, 0.8])] + [[0.75, 0.7, 0.8]] * (len(nets) - 1),
    )
    network = RealNetwork("mini", "microtome:mini_resnet", "", "deeper", images="scenes:60", count=60, slow=True)
    first = measure_network(network, tmp_path / "kept")
    assert {row["method"] for row in first["points"]} >= {"depth", *slim_proof.RIVALS}
    assert all(set(row) >= {"repaired", "fine-tune", "parameters"} for row in first["points"])
    lines = (tmp_path / "kept" / "mini.answers.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "kept" / "mini.answers.jsonl").write_text("".join(lines[:-1]) + lines[-1][:30])
    built = []
    original = Workshop.built
    monkeypatch.setattr(Workshop, "built", lambda shop, at: built.append(at) or original(shop, at))
    again = measure_network(network, tmp_path / "kept")
    assert len(built) == 1
    assert [row["fine-tune"] for row in again["points"]] == [row["fine-tune"] for row in first["points"]]


def test_the_page_is_that_of_the_numbers_that_are_kept() -> None:
    rows = json.loads(slim_proof_page.RESULTS.read_text(encoding="utf-8"))
    assert page(rows) == slim_proof_page.PAGE.read_text(encoding="utf-8")
