"""Theoretical receptive fields as a finding: the recursion by hand, border layers planted and absent, what is not followed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.receptive_field import ReceptiveField
from microtome.errors import BadOption, UnknownName, Unmeasurable


def chain(*layers: tuple[int, int, int]) -> nn.Module:
    """Convolutions by (kernel, stride, dilation), and a mean over positions."""
    convs = [nn.Conv2d(3 if place == 0 else 4, 4, k, s, (k - 1) * d // 2, d) for place, (k, s, d) in enumerate(layers)]
    return nn.Sequential(*convs, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4))


def recursion(layers: tuple[tuple[int, int, int], ...]) -> list[tuple[int, int]]:
    """[(field, jump)] after each layer: r += (k - 1) · d · j, j *= s (Araujo et al., eq. 2)."""
    told, field, jump = [], 1, 1
    for k, s, d in layers:
        field += (k - 1) * d * jump
        jump *= s
        told.append((field, jump))
    return told


def test_chain_is_the_recursion() -> None:
    layers = ((7, 2, 1), (3, 2, 1), (3, 1, 2), (1, 1, 1), (5, 2, 1))
    found = ReceptiveField(at=("blocks",))(mt.open(chain(*layers), recipe={"size": 64}))
    expected = recursion(layers)
    assert found["size"].sel(axis="row").values.tolist() == [field for field, _ in expected]
    assert found["jump"].sel(axis="col").values.tolist() == [jump for _, jump in expected]
    assert found["smallest"].values.tolist() == found["size"].values.tolist()
    assert (found["center"].values == 0).all()  # odd kernels, half of them as padding
    assert found.key("receptive field").value == expected[-1][0]
    assert found.key("border layers").value == 0
    assert f"is {expected[-1][0]} px (" in found.headline


def test_border_layers_are_those_whose_input_sees_it_all() -> None:
    """Fields 3, 7, 15, 31, 63: on 16 px the layer after 31 is the first that begins with more than the image; 31 to 63 and on."""
    layers = ((3, 2, 1),) * 5
    net = mt.open(chain(*layers), recipe={"size": 16})
    found = ReceptiveField(at=("blocks",))(net)
    assert found["size"].sel(axis="row").values.tolist() == [3, 7, 15, 31, 63]
    assert found["border"].values.tolist() == [False, False, False, False, True]
    assert found["border_layer"].values.tolist() == ["4"]
    assert found["matters"].values.tolist() == [[31.0, 31.0]]
    assert (found.key("border layers").value, found.key("border layers").at, found.key("layers").value) == (1, "4", 5)
    assert found.headline == "The largest receptive field is 63 px (4) in an image of 16 px, with 1 border layer."
    assert "4, the first border layer, adds information only for images larger than 31 px." in found.caveats
    assert not ReceptiveField(at=("blocks",), size=32)(net)["border"].any()
    assert ReceptiveField(at=("blocks",), size=31)(net)["border"].values.tolist() == [False] * 4 + [True]


def test_rows_are_held_against_rows_and_columns_against_columns() -> None:
    """1 x 3 kernels at stride 2 see 1 row and 3, 7, 15, 31 columns: on 8 rows no layer sees all, however many columns it sees."""
    steps = [nn.Conv2d(3 if place == 0 else 4, 4, (1, 3), (1, 2), (0, 1)) for place in range(5)]
    net = mt.open(nn.Sequential(*steps, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4)), recipe={"size": (8, 16)})
    found = ReceptiveField(at=("0", "1", "2", "3", "4"))(net)
    assert found["size"].sel(axis="row").values.tolist() == [1.0] * 5
    assert found["size"].sel(axis="col").values.tolist() == [3.0, 7.0, 15.0, 31.0, 63.0]
    assert not found["border"].any()
    assert found["largest"].dims == ("axis", "layer")
    assert found["picture"].sel(axis="row").values.tolist() == [8.0] * 5
    assert found["largest"].sel(axis="col").values.tolist() == [3.0, 7.0, 15.0, 31.0, 63.0]
    assert found.headline == "The largest receptive field is 63 px (4) in an image of 16 px wide, with 0 border layers."
    leading = found.key("receptive field")
    assert (leading.value, leading.baseline, leading.baseline_name) == (63.0, 16.0, "image width")


def test_a_border_layer_may_widen_the_shorter_side_alone() -> None:
    """Rows 3, 7, 7 and columns 3, 7, 15 (7 + 2 · 4) of 7 x 6 px: the third begins with the whole image and widens columns alone."""
    parts = [nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.Conv2d(4, 4, (1, 3), 1, (0, 1))]
    net = mt.open(nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4)), recipe={"size": (7, 6)})
    found = ReceptiveField(at=("0", "1", "2"))(net)
    assert found["size"].values.tolist() == [[3, 3], [7, 7], [7, 15]]
    assert found["border"].values.tolist() == [False, False, True]
    assert found["matters"].values.tolist() == [[7.0, 7.0]]


def test_shortcuts_keep_layers_from_the_border(net: mt.Specimen) -> None:
    """The shortest path of a residual network stays short, so no layer is useless, however far the largest reaches."""
    found = ReceptiveField(size=8)(net)
    assert float(found["size"].max()) > 8
    assert found["smallest"].sel(layer="blocks.2").values.tolist() == [3.0, 3.0]
    assert not found["border"].any()


def test_published_sizes_of_resnet18() -> None:
    found = ReceptiveField(at=("layer4",))(mt.open("timm:resnet18", weights=None))
    assert found["size"].values.tolist() == [[435.0, 435.0]]
    assert found["smallest"].values.tolist() == [[11.0, 11.0]]
    assert found.key("receptive field").text == "435 px" and found.key("receptive field").baseline_text == "224 px"
    assert (found.key("receptive field").at, found.key("receptive field").value) == ("layer4", 435)
    assert (found.key("receptive field, shortest path").value, found.key("stride").value) == (11, 32)


def test_gates_and_attention_are_named() -> None:
    gated = ReceptiveField()(mt.open("microtome:mini_seresnet", weights=None))
    assert gated["gated"].sel(layer="layer4.2")
    assert not gated["whole"].any()
    assert float(gated["size"].sel(layer="layer4.2", axis="row")) == 215
    assert any("gates" in text and "layer1.0" in text for text in gated.caveats)
    attending = ReceptiveField()(mt.open("microtome:mini_deit", weights=None))
    assert attending["whole"].sel(layer="blocks.0")
    assert np.isinf(attending["size"].sel(layer="blocks.0").values).all()
    whole = attending.key("layers that cover the whole image")
    assert (whole.value, whole.at, attending.key("layers").value) == (6, "blocks.0", 7)


class Summing(nn.Module):
    """Row j sees the rows up to j, by an operation that is not followed."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.sums, self.head = nn.Conv2d(3, 4, 1), Cumulative(), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.sums(self.conv(x)).mean((2, 3)))


class Cumulative(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.cumsum(2)


def test_what_is_not_followed_is_measured_by_nan() -> None:
    found = ReceptiveField(at=("conv", "sums"))(mt.open(Summing(), recipe={"size": 16}))
    assert found["size"].sel(layer="sums").values.tolist() == [
        9.0,
        1.0,
    ]  # the middle position, row 8: rows 0 to 8, its own column
    assert found["remark"].values.tolist() == ["", "cumsum not followed: sizes measured by NaN at a middle position"]
    assert any("1 layer behind operations that are not followed" in text for text in found.caveats)


def test_a_property_of_the_architecture(net: mt.Specimen) -> None:
    """The untrained twin has the same fields: nothing here is learnt."""
    testing.check_equal(ReceptiveField()(net).arrays, ReceptiveField()(net.twin()).arrays, "the twin")


def test_bad_input(net: mt.Specimen, tiny: Callable[..., nn.Module]) -> None:
    with pytest.raises(UnknownName, match="No layer is called 'blok'"):
        ReceptiveField(at=("blok",))(net)
    with pytest.raises(Unmeasurable, match="has rows and columns that derive from the image"):
        ReceptiveField(at=("blocks.1.attn.q_norm",))(mt.open("microtome:mini_deit", weights=None))
    with pytest.raises(BadOption, match="does not run on 30 x 30 px; size=0 takes"):
        ReceptiveField(size=30)(mt.open("microtome:mini_deit", weights=None))
    with torch.no_grad():
        broken = tiny()
        next(broken.parameters()).fill_(float("nan"))
    found = ReceptiveField()(mt.open(broken, recipe={"size": 32}))  # weights do not matter
    assert float(found["size"].sel(layer="blocks.2", axis="row")) == 3 + 6 * 4


def test_common_suite(net: mt.Specimen, tmp_path: Path) -> None:
    finding = testing.check(ReceptiveField(), net, None, tmp_path)
    assert {"size", "jump", "center"} <= set(finding.arrays)
    assert finding["size"].dims == finding["jump"].dims == finding["center"].dims == ("layer", "axis")
