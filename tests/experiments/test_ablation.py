"""The ablation table: what follows a layer that is gone fits again, and rows that give the same numbers twice."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from experiments import ablation as module
from experiments.ablation import NETWORK, VARIANTS, Variant, docs_section, run_ablation
from microtome import networks
from microtome.errors import BadOption, Uneditable, UnknownName
from microtome.training.zoo.data import SceneSeries, scene_series
from microtome.training.zoo.loop import fresh_network, train_zoo_network
from microtome.training.zoo.removal import remove_blocks

DOCS = Path(__file__).resolve().parents[2] / "docs"
TINY = replace(NETWORK, epochs=1, count=16, batch=8)
ALL_FOUR = VARIANTS[4]


@pytest.fixture(scope="module")
def few() -> SceneSeries:
    return scene_series(16, seed=77)


def parameters(net: nn.Module) -> int:
    return sum(one.numel() for one in net.parameters())


def test_what_follows_takes_the_units_that_it_now_gets() -> None:
    """Widths 24, 64, 96, 96, 64 and 256, 256: conv5 reads conv2's 64, and fc8 the 64 maps of one cell after the last pooling."""
    net: Any = fresh_network(ALL_FOUR.recipe(NETWORK, 0))
    convolutions = (3 * 121 * 24 + 24) + (24 * 25 * 64 + 64) + (64 * 9 * 64 + 64)
    assert parameters(net) == convolutions + 2 * (24 + 64) + (64 * 10 + 10)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    net.eval()
    layers = [getattr(net.features, name) for name in ("conv1", "relu1", "pool1", "norm1", "conv2", "relu2", "pool2", "norm2",
                                                       "conv5", "relu5", "pool5")]  # fmt: skip
    with torch.no_grad():
        by_hand = net.classifier.fc8(nn.Sequential(*layers)(x).flatten(1))
        assert torch.equal(net(x), by_hand)


def test_widths_of_the_table() -> None:
    wide: Any = fresh_network(VARIANTS[8].recipe(NETWORK, 0))
    assert [wide.features.get_submodule(f"conv{one}").out_channels for one in range(1, 6)] == [24, 64, 128, 256, 128]
    assert wide.classifier.fc7.weight.shape == (512, 512)
    with pytest.raises(BadOption, match="takes five widths"):
        networks.build("zfnet", widths=(1, 2))


def test_new_weights_spread_as_the_old_by_fan_in_and_come_from_the_seed() -> None:
    whole: Any = fresh_network(NETWORK)
    one, two, other = (
        fresh_network(Variant(title="", without=("features.conv3",)).recipe(NETWORK, seed)) for seed in (0, 0, 1)
    )
    new: Any = one.get_submodule("features.conv4")
    assert new.weight.shape == (96, 64, 3, 3)
    # 96 inputs became 64; 55,296 draws know their spread to 0.3 %
    assert float(new.weight.detach().std()) == pytest.approx(
        float(whole.features.conv4.weight.detach().std()) * (96 / 64) ** 0.5, rel=0.02
    )
    assert torch.equal(new.weight, two.get_submodule("features.conv4").weight)
    assert not torch.equal(new.weight, other.get_submodule("features.conv4").weight)
    kept = whole.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in one.state_dict().items() if name != "features.conv4.weight")


def test_width_changes_in_the_mini_zoo() -> None:
    for name, gone in (("mini_vgg", "features.4"), ("mini_vgg", "features.0"), ("mini_inception", "Mixed_5b")):
        net = remove_blocks(networks.build(name), [gone]).eval()
        assert net(torch.zeros(2, 3, 64, 64)).shape == (2, 10)


def test_what_cannot_be_joined_is_refused() -> None:
    with pytest.raises(Uneditable, match="a removed layer was added or concatenated"):
        remove_blocks(networks.build("mini_resnet"), ["layer3.0"])
    with pytest.raises(Uneditable, match=r"'features.conv2' cannot be removed: it changes the sides .*features.conv3"):
        remove_blocks(
            fresh_network(replace(NETWORK, options={"num_classes": 10, "size": 64, "hidden": 8}, network="zfnet")),
            ["features.conv2"],
        )
    with pytest.raises(UnknownName, match="Did you mean 'classifier.fc7'"):
        remove_blocks(fresh_network(NETWORK), ["classifier.fc8"])  # it answers


def test_dropout_is_drawn_from_the_seed_and_resumes(few: SceneSeries, tmp_path: Path) -> None:
    plan = replace(TINY, epochs=2)
    before = torch.random.get_rng_state()
    whole = train_zoo_network(plan, tmp_path / "whole", data=few).read_bytes()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(3)  # another state of torch's own
    train_zoo_network(plan, tmp_path / "halved", data=few, stop_after=1)
    assert train_zoo_network(plan, tmp_path / "halved", data=few).read_bytes() == whole


def test_the_table_gives_the_same_numbers_twice_and_resumes(few: SceneSeries, tmp_path: Path) -> None:
    chosen = (VARIANTS[0], ALL_FOUR)
    one = run_ablation(TINY, tmp_path / "one", 2, variants=chosen, learn=few, judge=few)
    assert run_ablation(TINY, tmp_path / "two", 2, variants=chosen, learn=few, judge=few) == one
    assert run_ablation(TINY, tmp_path / "one", 2, variants=chosen, learn=few, judge=few) == one
    whole, cut = one["rows"]
    assert whole["lost"] == [0.0, None, None]  # nothing varies
    assert cut["lost"][0] == pytest.approx((sum(whole["right"]) - sum(cut["right"])) / 32)
    assert cut["learnt"] == cut["right"]  # the same scenes
    said = docs_section({"date": "2026-01-01", "torch": "2", "ablation": one})
    assert "| without layers 3, 4, 6, 7 | 84,954 |" in said
    assert "--epochs 1 --count 16 --seeds 2" in said
    assert "too few rows" in said


def test_the_order_is_held_against_the_papers() -> None:
    """Right as often as the paper's rows were is +1; the other way round −1."""
    titles = [variant.title for variant in VARIANTS[:5]]
    for sign in (1, -1):
        rows = [{"title": title, "right": [int(sign * 10 * (100 - module.PAPER_ERRORS[title]))]} for title in titles]
        assert f"rank correlation of {sign:+.2f}" in module._against_the_paper({"rows": rows})


def test_the_command(
    few: SceneSeries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "TEST_COUNT", 16)
    words = ["--out", str(tmp_path), "--epochs", "1", "--count", "64", "--seeds", "1", "--rows", "3"]
    assert module.main(words) == 0
    said = json.loads((tmp_path / "ablation.json").read_text())
    assert [row["title"] for row in said["ablation"]["rows"]] == ["all layers", "without layers 6, 7"]
    capsys.readouterr()
    assert module.main(["--section", str(tmp_path / "ablation.json")]) == 0
    assert capsys.readouterr().out == docs_section(said) + "\n"
    assert module.main(["--out", str(tmp_path), "--rows", "9"]) == 2
    assert "rows are 0 to 8" in capsys.readouterr().err
    assert module.main([]) == 2


def test_the_page_says_what_was_measured() -> None:
    said = json.loads((DOCS / "ablation.json").read_text(encoding="utf-8"))
    assert docs_section(said) in (DOCS / "experiments.md").read_text(encoding="utf-8")
    found = said["ablation"]
    rows = {row["title"]: row for row in found["rows"]}
    assert set(rows) == {variant.title for variant in VARIANTS}
    for variant in VARIANTS:
        assert parameters(fresh_network(variant.recipe(NETWORK, 0))) == rows[variant.title]["parameters"]
        assert all(0 <= one <= found["judged"] for one in rows[variant.title]["right"])
