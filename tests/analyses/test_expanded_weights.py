"""`expanded_weights` against composed kernels by hand, through pools, norms and shortcuts, and its refusals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import microtome as mt
from microtome import testing
from microtome.analyses.expanded_weights import ExpandedWeights
from microtome.errors import Unmeasurable

RECIPE = {"size": 16, "mean": (0.5,) * 3, "std": (0.25,) * 3, "crop": 1.0}


def opened(*parts: nn.Module, units: int = 5) -> mt.Specimen:
    return mt.open(nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(units, 4)).eval(), recipe=RECIPE)


def seeded(make: Any, seed: int = 0) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def three(*between: nn.Module) -> list[nn.Module]:
    """3 → 4 → 6 → 5 channels, with `between` behind the second convolution."""
    return seeded(lambda: [
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1), *between, nn.Conv2d(6, 5, 3, padding=1),
    ])  # fmt: skip


def composed(second: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
    """The kernel (unit, channel, row, col) that does what `first` and then `second` do, by the sums written out."""
    units, middle, high, wide = second.shape
    _, channels, rows, cols = first.shape
    whole = torch.zeros(units, channels, high + rows - 1, wide + cols - 1)
    for row in range(high):
        for col in range(wide):
            part = torch.einsum("um,mcij->ucij", second[:, :, row, col], first)
            whole[:, :, row : row + rows, col : col + cols] += part
    assert middle == first.shape[0]
    return whole


def all_of(found: Any, name: str) -> torch.Tensor:
    """The weights put back in the order of units and channels."""
    channels = found["channel" if name == "slice" else "expanded_channel"].values
    values = found[name].values
    whole = np.zeros(values.shape, dtype=values.dtype)
    for place, unit in enumerate(found[name].unit.values):
        whole[int(str(unit).split()[1]), channels[place]] = values[place]
    return torch.from_numpy(whole)


WHOLE = {"units": 64, "k": 64}


def test_two_convolutions_without_their_relu_are_the_composed_kernel() -> None:
    parts = three(nn.ReLU(inplace=True))
    found = ExpandedWeights(**WHOLE)(opened(*parts))
    assert found.facts["source"] == "0"
    # from the outputs of layer 0 through layers 2 and 4: the kernel of both, 5 × 5 over the 4 channels of layer 0
    expected = composed(parts[4].weight.detach(), parts[2].weight.detach())
    assert torch.allclose(all_of(found, "expanded"), expected, atol=1e-6)
    assert torch.equal(all_of(found, "slice"), parts[4].weight.detach())
    assert found["inside"].item() == pytest.approx(1)
    assert found["bend"].item() == pytest.approx(0, abs=1e-5)
    assert list(found.facts["left out"].values()) == [2, 0, 0]


def test_one_step_is_the_kernel_itself() -> None:
    parts = three(nn.ReLU())
    found = ExpandedWeights(**WHOLE, steps=1)(opened(*parts))
    assert found.facts["source"] == "2"
    assert torch.allclose(all_of(found, "expanded"), parts[4].weight.detach(), atol=1e-6)


def test_batch_norm_scales_what_passes_through_it() -> None:
    norm = nn.BatchNorm2d(6)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(-1, 2, 6))
        norm.running_var.copy_(torch.linspace(0.5, 3, 6))
        norm.running_mean.fill_(0.7)
    parts = three(norm, nn.GELU())
    found = ExpandedWeights(**WHOLE)(opened(*parts))
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach().view(-1, 1, 1, 1)
    expected = composed(parts[5].weight.detach(), scale * parts[2].weight.detach())
    assert torch.allclose(all_of(found, "expanded"), expected, atol=1e-6)


def test_a_maximum_pool_counts_as_the_average_of_its_window() -> None:
    parts = three(nn.ReLU(), nn.MaxPool2d(2))
    found = ExpandedWeights(**WHOLE)(opened(*parts))
    # one step of the last kernel is two cells of the layer before the pool, each cell a quarter of the window
    spread = parts[5].weight.detach().repeat_interleave(2, 2).repeat_interleave(2, 3) / 4
    assert torch.allclose(all_of(found, "expanded"), composed(spread, parts[2].weight.detach()), atol=1e-6)
    assert list(found.facts["left out"].values()) == [2, 1, 0]


def test_a_shortcut_adds_its_own_path(net: mt.Specimen) -> None:
    """stem → x + conv2(conv1(x)): the first block's own output is x plus the composed kernel, seen here by the next block's conv1."""
    found = ExpandedWeights(at=("blocks.1.conv1",), source="stem", **WHOLE)(net)
    one, two = (net.net.blocks[0].get_submodule(name).weight.detach() for name in ("conv1", "conv2"))
    block = composed(two, one)
    block[:, :, 2, 2] += torch.eye(8)
    expected = composed(net.net.blocks[1].conv1.weight.detach(), block)
    assert torch.allclose(all_of(found, "expanded"), expected, atol=1e-5)


def test_the_strongest_come_first_with_their_shares() -> None:
    parts = three(nn.ReLU())
    found = ExpandedWeights(units=3, k=2)(opened(*parts))
    weight = parts[4].weight.detach()
    norms = weight.flatten(1).norm(dim=1)
    best = torch.argsort(norms, descending=True)[:3].tolist()
    assert found["slice"].unit.values.tolist() == [f"unit {unit}" for unit in best]
    unit = best[0]
    energy = weight[unit].square().sum((1, 2))
    best = torch.argsort(energy, descending=True)[:2]
    assert found["channel"].values[0].tolist() == best.tolist()
    np.testing.assert_allclose(found["strength"].values[0], (energy[best] / energy.sum()).numpy(), rtol=1e-5)
    np.testing.assert_array_equal(found["slice"].values[0], weight[unit][best].numpy())


def test_one_strong_channel_is_told_from_the_twin() -> None:
    parts = three(nn.ReLU())
    with torch.no_grad():
        parts[4].weight[:, 1] *= 30
    found = ExpandedWeights(k=1)(opened(*parts))
    assert found["share"].sel(measure="own inputs").item() > 0.95
    assert found["twin_share"].sel(measure="own inputs").item() < 0.5
    own = found.key("weights in the strongest channels")
    assert own.value > 0.95 and own.at.endswith(", 1 of 6 channels")
    assert own.baseline < 0.5
    untrained = ExpandedWeights()(mt.open("microtome:mini_vgg", weights=None)).key_numbers[0]
    assert untrained.value <= 1.1 * untrained.baseline


def test_what_is_not_affine_is_said() -> None:
    class Norm(nn.Module):
        """A norm over channels and positions, as a layer norm on a map is."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.layer_norm(x, x.shape[1:])

    found = ExpandedWeights()(opened(*three(Norm())))
    assert found["bend"].item() > 1e-3
    assert "is not affine" in " ".join(found.caveats)
    assert "is not affine" not in " ".join(ExpandedWeights()(opened(*three(nn.ReLU()))).caveats)


def test_refusals_in_a_sentence(net: mt.Specimen) -> None:
    with pytest.raises(Unmeasurable, match="it takes two spatial convolutions .* and it has 1"):
        ExpandedWeights()(opened(nn.Conv2d(3, 5, 3)))
    with pytest.raises(Unmeasurable, match="no spatial convolution comes before stem"):
        ExpandedWeights(at=("stem",))(net)
    with pytest.raises(Unmeasurable, match="none of head holds a spatial convolution"):
        ExpandedWeights(at=("head",))(net)
    with pytest.raises(Unmeasurable, match=r"nothing leads from blocks\.2\.conv1 to blocks\.0\.conv1"):
        ExpandedWeights(at=("blocks.0.conv1",), source="blocks.2.conv1")(net)


def test_broken_and_half_precision_weights() -> None:
    parts = three(nn.ReLU())
    whole = ExpandedWeights(**WHOLE)(opened(*parts))
    low = ExpandedWeights(**WHOLE)(mt.open(opened(*parts).net.to(torch.bfloat16), recipe=RECIPE))
    assert torch.allclose(all_of(low, "expanded"), all_of(whole, "expanded"), atol=0.02)
    with torch.no_grad():
        parts[2].weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(Unmeasurable, match="what leads from 0 to 4 is NaN or infinite"):
        ExpandedWeights()(opened(*(part.float() for part in parts)))


def test_common_suite(net: mt.Specimen, tmp_path: Path) -> None:
    testing.check(ExpandedWeights(), net, None, tmp_path)
