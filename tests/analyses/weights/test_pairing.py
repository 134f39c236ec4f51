"""Which weights are compared: in execution order, by block and role, and what has no partner."""

import pytest
import torch
from torch import Tensor, nn

import microtome as mt
from microtome.analyses.weights.pairing import DEFAULT, ordered_weights, pair_weights
from microtome.errors import Unmeasurable


class Backwards(nn.Module):
    """Made in another order than it runs in, with a layer that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.unused, self.head, self.late, self.early = nn.Linear(2, 2), nn.Linear(4, 2), nn.Conv2d(4, 4, 1), nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.late(self.early(x)).mean((2, 3)))


def test_weights_come_in_execution_order_and_those_that_never_run_last() -> None:
    weights, dtypes = ordered_weights(mt.open(Backwards().half().float().eval(), recipe={"size": 8}))
    assert list(weights) == ["early", "late", "head", "unused"]
    assert dtypes == ["float32"] * 4
    with pytest.raises(Unmeasurable, match="no weight tensor of two or more axes.*before quantisation"):
        ordered_weights(mt.open(nn.Sequential(nn.BatchNorm2d(3)).eval(), recipe={"size": 8}))


def test_blocks_are_paired_role_by_role_with_their_neighbours(net: mt.Specimen) -> None:
    weights, _ = ordered_weights(net)
    found = pair_weights(net, weights, ("blocks.0", "blocks.1", "blocks.2"))
    assert found.groups == {f"blocks.{n}": [f"blocks.{n}.conv1", f"blocks.{n}.conv2"] for n in range(3)}
    assert [(pair.first, pair.second) for pair in found.pairs] == [
        (f"blocks.{n}.conv{m}", f"blocks.{n + 1}.conv{m}") for n in range(2) for m in (1, 2)
    ]
    assert (found.alone, found.empty) == ([], ())


def test_a_layer_inside_another_chosen_one_is_not_compared_with_itself(net: mt.Specimen) -> None:
    weights, _ = ordered_weights(net)
    assert list(pair_weights(net, weights, ("blocks.*",)).groups) == ["blocks.0", "blocks.1", "blocks.2"]


def test_single_layers_are_paired_in_order_and_those_without_weights_are_named() -> None:
    net = mt.open(Backwards().eval(), recipe={"size": 8})
    weights, _ = ordered_weights(net)
    found = pair_weights(net, weights, ("early", "late", "head"))
    assert [(pair.first, pair.second) for pair in found.pairs] == [("early", "late"), ("late", "head")]
    pooled = mt.open(nn.Sequential(nn.Conv2d(3, 4, 1), nn.MaxPool2d(2), nn.Conv2d(4, 5, 1)).eval(), recipe={"size": 8})
    assert pair_weights(pooled, ordered_weights(pooled)[0], ("*",)).empty == ("1",)


def test_without_convolutions_and_blocks_the_last_three_weights_stand_for_the_default() -> None:
    net = mt.open(nn.Sequential(nn.Flatten(), *(nn.Linear(48, 48) for _ in range(5))).eval(), recipe={"size": 4})
    weights, _ = ordered_weights(net)
    found = pair_weights(net, weights, DEFAULT)
    if "last3" in net.aliases:
        assert list(found.groups) == net.find("last3")
    else:
        assert list(found.groups) == ["3", "4", "5"] and [(p.first, p.second) for p in found.pairs] == [("3", "4"), ("4", "5")]
    assert torch.equal(weights["3"], net.net[3].weight.detach())
