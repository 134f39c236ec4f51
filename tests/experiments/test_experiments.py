"""Blocks taken out: what is left, what is refused, and an experiment that gives the same numbers twice."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from experiments import experiments
from experiments.experiments import Budget, block_variants, result_table, run_removal
from experiments.runs import loss_text
from microtome import networks
from microtome.errors import Uneditable
from microtome.numerics.statistics.intervals import wilson_interval
from microtome.training.zoo.data import SceneSeries, scene_series
from microtome.training.zoo.loop import fresh_network
from microtome.training.zoo.recipes import zoo_recipe

DOCS = Path(__file__).resolve().parents[2] / "docs"
TINY = Budget(epochs=1, count=16, seeds=2)


@pytest.fixture(scope="module")
def few() -> SceneSeries:
    return scene_series(16, seed=77)


def parameters(net: nn.Module) -> int:
    return sum(one.numel() for one in net.parameters())


def test_every_variant_of_every_network_runs() -> None:
    with pytest.raises(Uneditable, match="mini_densenet has no block"):
        block_variants("mini_densenet")
    for name in ("mini_inception", "mini_hrnet", "mini_seresnet"):
        for blocks in block_variants(name):
            net = fresh_network(TINY.recipe(name, blocks, 0)).eval()
            assert net(torch.zeros(1, 3, 64, 64)).shape == (1, 10)


def test_recipes_without_blocks_say_what_they_always_said() -> None:
    assert "without" not in zoo_recipe("mini_vgg").json()
    assert all(
        networks.weights_card(name)["recipe"].items() <= zoo_recipe(name).json().items() for name in networks.SHIPPED
    )
    assert TINY.recipe("mini_vgg", ("features.11",), 0).json()["without"] == ["features.11"]


def test_an_experiment_gives_the_same_numbers_twice_and_resumes(few: SceneSeries, tmp_path: Path) -> None:
    chosen = [("features.18", "features.21")]
    one = run_removal("mini_vgg", tmp_path / "one", TINY, chosen=chosen, learn=few, judge=few)
    two = run_removal("mini_vgg", tmp_path / "two", TINY, chosen=chosen, learn=few, judge=few)
    assert one == two
    assert run_removal("mini_vgg", tmp_path / "one", TINY, chosen=chosen, learn=few, judge=few) == one
    files = [sorted((tmp_path / name).rglob("*.safetensors")) for name in ("one", "two")]
    assert len(files[0]) == 4
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(*files, strict=True))
    whole, cut = one["rows"]
    assert whole["without"] == []
    assert whole["lost"] == [0.0, None, None]  # nothing varies
    assert cut["lost"][0] == pytest.approx((sum(whole["right"]) - sum(cut["right"])) / 32)
    assert cut["lost"][1:] == [None, None]  # 16 scenes of which too few changed
    assert loss_text(cut["lost"]).endswith("(interval unknown)")
    assert loss_text([0.02, 0.01, 0.03]) == "+2.0 (+1.0 to +3.0)"
    low, high = wilson_interval(whole["right"][0], 16)[1:]
    assert f"({100 * low:.1f}–{100 * high:.1f})" in result_table(one)


def test_the_command_trains_judges_and_writes(
    few: SceneSeries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(experiments, "TEST_COUNT", 16)
    words = ["mini_vgg", "--out", str(tmp_path), "--epochs", "1", "--count", "16", "--seeds", "1", "--without", "features.18"]
    assert experiments.main(words) == 0
    assert "| `features.18` | 64,602 |" in capsys.readouterr().out
    said = json.loads((tmp_path / "removal.json").read_text())
    assert said["removal"][0]["judged"] == 16
    assert experiments.main(["--page", str(tmp_path / "removal.json")]) == 0
    assert "Given 1 epochs over 16 scenes" in capsys.readouterr().out
    assert experiments.main([*words[:-1], "features.12"]) == 2
    assert "There is no block or fully connected layer 'features.12'" in capsys.readouterr().err
    assert experiments.main(["mini_vgg"]) == 2


def test_the_page_says_what_was_measured() -> None:
    said = json.loads((DOCS / "experiments.json").read_text(encoding="utf-8"))
    assert (DOCS / "experiments.md").read_text(encoding="utf-8").startswith(experiments.docs_page(said))
    for found in said["removal"]:
        for row in found["rows"]:
            net = fresh_network(Budget().recipe(found["network"], tuple(row["without"]), 0))
            assert parameters(net) == row["parameters"]
            assert all(0 <= one <= found["judged"] for one in row["right"])
    assert np.isfinite([row["lost"] for found in said["removal"] for row in found["rows"]]).all()
