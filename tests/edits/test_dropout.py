"""Dropout in residual branches: the law of edits, the place by hand, no batch norm deceived, and blocks that have no place."""

import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.audit.dropout import norm_input_variances, variance_shifts
from microtome.edits.dropout import Dropout
from microtome.errors import Uneditable
from microtome.instruments.dropouts import find_dropouts


class PreActivation(nn.Module):
    """BN-ReLU-conv1-[drop]-BN-ReLU-conv2, added: the dropout lies before the last norm, where it should not."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(units), nn.Conv2d(units, units, 3, padding=1, bias=False)
        self.drop = nn.Dropout(0.5)
        self.norm2, self.conv2 = nn.BatchNorm2d(units), nn.Conv2d(units, units, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv2(torch.relu(self.norm2(self.drop(self.conv1(torch.relu(self.norm1(x)))))))


@pytest.fixture(scope="module")
def net() -> mt.Specimen:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        blocks = [PreActivation(8), PreActivation(8)]
        made = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    return mt.open(made.eval(), recipe={"size": 32})


def test_the_law_of_edits(tmp_path) -> None:
    net = mt.open("timm:resnetv2_18", weights=None, recipe={"size": 64})
    edited = testing.check_edit(Dropout(p=0.3, stages=(3, 4)), net, mt.Images.scenes(4, seed=4, size=64), tmp_path)
    assert sum(isinstance(part, nn.Dropout) and part.p == 0.3 for part in edited.net.modules()) == 4
    assert edited.edits[-1].preserves == "exactly"


def test_the_place_is_before_the_last_weights_and_only_there(net: mt.Specimen) -> None:
    edited = Dropout(p=0.5)(net)
    drops = [path for path, part in edited.net.named_modules() if isinstance(part, nn.Dropout)]
    assert drops == ["1.conv2.0", "2.conv2.0"]
    assert "took 2 others out" in edited.edits[-1].line
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert torch.equal(edited.run(x), net.run(x))


@pytest.mark.parametrize(
    ("position", "where"),
    [(1, "norm1.0"), (2, "norm1.1"), (3, "conv1.0"), (4, "norm2.0"), (5, "norm2.1"), (6, "conv2.0"), (7, "conv2.1")],
)
def test_positions_along_the_branch(position: int, where: str, net: mt.Specimen) -> None:
    """BN ReLU conv BN ReLU conv: P1 … P7 stand before and behind them in order; functional activations have no module of their own."""
    edited = Dropout(p=0.5, position=position)(net)
    assert [path for path, part in edited.net.named_modules() if isinstance(part, nn.Dropout)] == [f"1.{where}", f"2.{where}"]
    assert f"at P{position} of 2 residual branches" in edited.edits[-1].line
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert torch.equal(edited.run(x), net.run(x))


def test_positions_of_other_blocks(tmp_path) -> None:
    post = mt.open("microtome:mini_resnet", weights=None)  # conv BN ReLU conv BN, added
    edited = testing.check_edit(Dropout(position=7), post, mt.Images.scenes(4), tmp_path)
    assert isinstance(edited.net.get_submodule("layer1.0.conv2")[1], nn.Dropout)  # type: ignore[index]
    with pytest.raises(Uneditable, match=r"layer1\.0 has no position P1: no norm stands before its last but one weights"):
        Dropout(position=1)(post)
    fused = mt.open("timm:resnetv2_18", weights=None, recipe={"size": 32})  # norms that hold their activation
    assert isinstance(Dropout(position=5)(fused).net.get_submodule("stages.0.blocks.0.norm2.act")[0], nn.Dropout)  # type: ignore[index]


def test_no_norm_of_the_branch_is_deceived_any_more(net: mt.Specimen) -> None:
    """Before: norm2 sees Var / (Var + …) well below one. After: norm2 sees what it saw; the next block's norm1 is diluted only."""

    def told(one: mt.Specimen, path: str) -> dict[str, float]:
        sites = find_dropouts(one.net, one.recipe).sites
        return variance_shifts(norm_input_variances(one, sites, ()), norm_input_variances(one, sites, ((path, 0),)))

    before = told(net, "1.drop")
    assert before["1.norm2"] < 0.6
    edited = Dropout(p=0.5)(net)
    after = told(edited, "1.conv2.0")
    assert after["1.norm2"] == 1.0
    assert before["1.norm2"] < after["2.norm1"] < 1.0


def test_blocks_that_end_with_a_norm_have_no_place() -> None:
    with pytest.raises(Uneditable, match="end with a norm .*no place in them"):
        Dropout()(mt.open("microtome:mini_resnet", weights=None))
    with pytest.raises(Uneditable, match="no residual blocks"):
        Dropout()(mt.open("microtome:mini_vgg", weights=None))
