"""Which layers give maps, each value once, and why the others are not measured."""

import pytest
from torch import Tensor, nn

import microtome as mt
from microtome.errors import UnknownName, Unmeasurable
from microtome.instruments.layer_choice import has_map, layers_with_maps, reasons_not_measured, why_no_maps


class Mixed(nn.Module):
    """A stage that hands on its last layer's tensor, a module that gives a scalar map of pairs, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.pairs = Pairs()
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage(x)
        return self.head(x.mean((2, 3))) + self.pairs(x).mean((1, 2))


class Pairs(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2)[:, :, :7]  # seven positions are no grid
        return tokens.transpose(1, 2) @ tokens[:, :, :2]


@pytest.fixture(scope="module")
def mixed() -> mt.Specimen:
    return mt.open(Mixed().eval(), recipe={"size": 8})


def test_layers_with_maps_come_once_in_execution_order(mixed: mt.Specimen) -> None:
    assert layers_with_maps(mixed, ("head", "stage", "stage.*")) == ["stage.0", "stage.1", "head"]
    assert [name for name in ("stage.0", "pairs", "head") if has_map(mixed, name)] == ["stage.0", "head"]
    with pytest.raises(Unmeasurable, match="None of the layers pairs of .* list the layers: microtome layers SPECIMEN"):
        layers_with_maps(mixed, ("pairs",))
    with pytest.raises(UnknownName):
        layers_with_maps(mixed, ("stag",))


def test_each_layer_that_is_not_measured_has_its_reason(mixed: mt.Specimen) -> None:
    assert reasons_not_measured(
        mixed, ("stage.*", "pairs", "head", "stage"), ["stage.0", "stage.1"], {"head": "too small"}
    ) == {
        "stage": "it gives the very tensor of stage.1",  # named, so it is said
        "pairs": "rows and columns cannot be identified in its output of shape 7 x 2",
        "head": "too small",
    }
    assert reasons_not_measured(mixed, ("stag*",), ["stage.1"]) == {"stage.0": "it does not come from the image alone"}
    assert reasons_not_measured(mixed, (), ["stage.1"]) == {}
    assert why_no_maps(mixed, "head") == "it has no rows and columns"
