"""Which layers are measured as maps: each tensor once, the outermost layer that gives it, and those that are named in any case."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import microtome as mt
from microtome.errors import UnknownName, Unmeasurable
from microtome.instruments.attribution import visible_layers
from microtome.instruments.layer_choice import has_map, layers_with_maps, reasons_not_measured, why_no_maps
from microtome.specimen import Specimen
from microtome.specimen.sameness import distinct_layers


class Stages(nn.Module):
    """Two stages of two blocks, a rectifier in place behind the second, and class scores."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1))
        self.second = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Sequential(nn.Conv2d(4, 4, 3, padding=1)))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x)).relu().mean((2, 3)))


@pytest.fixture
def stages() -> Specimen:
    torch.manual_seed(0)
    return mt.open(Stages().eval(), recipe={"size": 8, "crop": 1.0}).on("cpu")


MAPS = ("first*", "second*")


def asked_maps(specimen: Specimen, at: tuple[str, ...]) -> list[str]:
    return layers_with_maps(specimen, at)


def asked_evidence(specimen: Specimen, at: tuple[str, ...]) -> list[str]:
    return list(visible_layers(specimen, at, torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))).names)


@pytest.mark.parametrize("ask", [Specimen.distinct, asked_maps, asked_evidence])
def test_every_analysis_takes_the_same_layers(stages: Specimen, ask: Callable[[Specimen, tuple[str, ...]], list[str]]) -> None:
    """By hand: first.1 is first, second.1.0 and second.1 are second."""
    assert stages.find(MAPS) == ["first.0", "first.1", "first", "second.0", "second.1.0", "second.1", "second"]
    assert list(ask(stages, MAPS)) == ["first.0", "first", "second.0", "second"]
    assert list(ask(stages, (*MAPS, "second.1"))) == ["first.0", "first", "second.0", "second.1", "second"]


def test_a_list_of_names_without_repetitions(stages: Specimen) -> None:
    assert distinct_layers(stages, ["first.0", "first.1"]) == ["first.0", "first.1"]  # different tensors
    assert distinct_layers(stages, ["second.1.0", "second.1"]) == ["second.1"]
    assert distinct_layers(stages, ["second.1.0", "second.1"], ["second.1.0"]) == ["second.1.0", "second.1"]


def test_what_is_not_measured_is_named_with_the_reason(stages: Specimen) -> None:
    measured = ["second"]
    assert reasons_not_measured(stages, ("second.*", "second", "first"), measured) == {
        "first": "it does not come from the image alone", "second.0": "it does not come from the image alone",
    }  # fmt: skip
    assert reasons_not_measured(stages, ("head",), measured, {"head": "it is the last"}) == {"head": "it is the last"}
    assert why_no_maps(stages, "head") == "it has no rows and columns"


def test_no_layer_with_maps_is_one_sentence() -> None:
    specimen = mt.open("microtome:mini_deit", weights=None)
    (tokens,) = [layer.name for layer in specimen.layers if layer.layout == "other"][:1]
    with pytest.raises(Unmeasurable, match=f"None of the layers {tokens} of microtome:mini_deit gives maps"):
        layers_with_maps(specimen, (tokens,))


class Pairs(nn.Module):
    """Gives a scalar map of pairs of positions, which has no rows and columns of the image."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2)[:, :, :7]  # seven positions are no grid
        return tokens.transpose(1, 2) @ tokens[:, :, :2]


class Mixed(nn.Module):
    """A stage that hands on its last layer's tensor, the pairs, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.pairs = Pairs()
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage(x)
        return self.head(x.mean((2, 3))) + self.pairs(x).mean((1, 2))[:, None]


def test_tensors_that_cannot_be_laid_out_have_a_reason_of_their_own() -> None:
    mixed = mt.open(Mixed().eval(), recipe={"size": 8})
    assert [name for name in ("stage.0", "pairs", "head") if has_map(mixed, name)] == ["stage.0", "head"]
    assert layers_with_maps(mixed, ("head", "stage*")) == ["stage.0", "stage", "head"]
    assert reasons_not_measured(
        mixed, ("stage.*", "pairs", "head", "stage"), ["stage.0", "stage.1"], {"head": "too small"}
    ) == {
        "pairs": "rows and columns cannot be identified in its output of shape 7 x 2",
        "head": "too small",
    }  # stage gives the tensor of stage.1
    assert reasons_not_measured(mixed, (), ["stage.1"]) == {}
    with pytest.raises(Unmeasurable, match="None of the layers pairs of .* list the layers: specimen.layers"):
        layers_with_maps(mixed, ("pairs",))
    with pytest.raises(UnknownName):
        layers_with_maps(mixed, ("stag",))
