"""Dead pixels: planted by a strided 1 x 1, absent with even kernels; theorem 1 exact on a linear network; causes named."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.dead_pixels import DeadPixels
from microtome.errors import Unmeasurable, WatchError
from microtome.instruments.strides import uneven_readers

PLAIN = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "crop": 1.0}


def strided(kernel: int, size: int = 32, depth: int = 2, act: type[nn.Module] = nn.ReLU, units: int = 16) -> mt.Specimen:
    """Strided convolutions of one kernel size, a mean over positions, four classes."""
    torch.manual_seed(0)
    pairs = [(3, units)] + [(units, units)] * (depth - 1)
    layers = [part for a, b in pairs for part in (nn.Conv2d(a, b, kernel, 2, (kernel - 1) // 2), act())]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(units, 4))
    return mt.open(net, recipe={"size": size, **PLAIN})


def test_pixels_that_no_kernel_reads_are_dead(pics: mt.Images) -> None:
    found = DeadPixels(count=6)(strided(1), pics)
    alive = np.zeros((32, 32), dtype=bool)
    alive[::4, ::4] = True  # two strides of 2 by kernels of one pixel
    assert (found["forecast"].values > 0).tolist() == alive.tolist()
    assert not found["output"].values[~alive].any()
    assert found["evenness"].values.tolist() == [0.0, 0.0, 0.0]
    assert found["uneven"].values.tolist() == ["0", "2"]
    assert found["reads"].values.tolist() == ["0 to 1", "0 to 1"]
    assert found["remedy"].values.tolist() == ["2 x 2", "2 x 2"]
    assert [found.key(name).value for name in ("weakest phase", "weakest phase, forecast")] == [0, 0]
    assert (found.key("layers with uneven strides").value, found.key("layers with uneven strides").at) == (2, "0, 2")
    assert found.headline.startswith("The weakest pixels have 0% of the gradient of the strongest (chance ")


def test_forecast_by_hand_and_even_kernels(pics: mt.Images) -> None:
    """One 3 x 3 at stride 2: even pixels are read once, odd ones twice, along each axis."""
    found = DeadPixels(count=4)(strided(3, depth=1), pics)
    assert found["forecast"].values[8:10, 8:10] / found["forecast"].values[8, 8] == pytest.approx(np.array([[1, 2], [2, 4]]))
    assert found["evenness"].values[0] == pytest.approx(0.25)
    even = DeadPixels(count=4)(strided(2, depth=1), pics)
    assert even["evenness"].values[0] == pytest.approx(1.0)
    assert "uneven" not in even.arrays
    assert even.key("weakest phase, forecast").value == pytest.approx(1.0)
    assert even.key("layers with uneven strides").value == 0
    assert even.key("weakest phase").baseline == even["noise"].values[1]


def test_theorem_1_is_exact_on_a_linear_network(pics: mt.Images) -> None:
    found = DeadPixels(count=4, probes=3)(strided(3, act=nn.Identity), pics)
    np.testing.assert_allclose(found["moved"].values, found["expected"].values, rtol=1e-3, atol=1e-7)
    assert found["r2"].item() == pytest.approx(1.0, abs=1e-4)


def test_uneven_strides_stand_out_of_chance_and_even_ones_do_not() -> None:
    """White noise, random weights: with 3 x 3 kernels both networks fall far below chance, with non-overlapping sums neither does."""
    noise = mt.Images.tensors(
        torch.randint(0, 256, (16, 3, 96, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    )
    found = DeadPixels(count=16, probes=0)(strided(3, 96), noise)
    assert (found["evenness"].values[1:] < 0.5 * found["noise"].values[1:]).all()
    assert found["evenness"].values[0] < 0.3
    assert found["noise"].values[0] > 0.7  # the forecast itself, folded at a period that is not its own
    assert "r2" not in found.arrays
    smooth = strided(2, 96, depth=1)
    with torch.no_grad():
        smooth.net[0].weight.fill_(0.1)  # type: ignore[index,union-attr]
    even = DeadPixels(count=16, probes=0)(smooth, noise)
    assert even["evenness"].values[1] > 0.9


def test_smoothness_as_published_and_free_of_scale(pics: mt.Images) -> None:
    net = strided(3)
    louder = strided(3)
    with torch.no_grad():
        louder.net[-1].weight.mul_(10)  # type: ignore[index,union-attr]
        louder.net[-1].bias.mul_(10)  # type: ignore[index,union-attr]
    one, ten = (
        DeadPixels(count=4, probes=0)(specimen, pics)["smoothness"].sel({"method": "output"}) for specimen in (net, louder)
    )
    np.testing.assert_allclose(ten.values[:2], 10 * one.values[:2], rtol=1e-4)
    np.testing.assert_allclose(ten.values[2:], one.values[2:], rtol=1e-4)


def test_causes_of_resnet18() -> None:
    found = {one.name: (one.kernel[0], one.reads[0]) for one in uneven_readers(mt.open("torchvision:resnet18", weights=None))}
    wide, shortcut = (
        {f"layer{n}.0.conv1": (3, (1, 2)) for n in (2, 3, 4)},
        {f"layer{n}.0.downsample.0": (1, (0, 1)) for n in (2, 3, 4)},
    )
    assert found == {"conv1": (7, (3, 4)), "maxpool": (3, (1, 2))} | wide | shortcut


class Segments(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


def test_networks_that_give_maps(pics: mt.Images) -> None:
    found = DeadPixels(count=2, probes=1)(mt.open(Segments(), recipe={"size": 32, **PLAIN}), pics)
    assert found["evenness"].values[0] == pytest.approx(0.25)
    assert found["r2"].item() == pytest.approx(1.0, abs=1e-3)
    assert found.key("R² of gradient and change").value == found["r2"].item()
    # one step on all colours moves the mean of 4 x 16 x 16 scores by the step times the weights that read the pixel
    assert found["moved"].attrs["unit"] == found["expected"].attrs["unit"] == "mean score"


def test_bad_input(pics: mt.Images, tiny: Callable[..., nn.Module]) -> None:
    broken, dead = tiny(), tiny()
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
        dead.stem.weight.zero_()  # type: ignore[operator,union-attr]
    with pytest.raises(Unmeasurable, match=r"not finite.*mt.analyses.weights"):
        DeadPixels()(mt.open(broken, recipe={"size": 32, **PLAIN}), pics)
    with pytest.raises(WatchError, match="it does not depend on the image"):
        DeadPixels()(mt.open(dead, recipe={"size": 32, **PLAIN}), pics)


def test_common_suite(net: mt.Specimen, pics: mt.Images, tmp_path: Path) -> None:
    finding = testing.check(DeadPixels(count=9, probes=2), net, pics, tmp_path)
    assert finding["forecast"].dims == finding["output"].dims == finding["phase"].dims == ("row", "col")
    assert finding["uneven"].values.tolist() == ["stem"]
    assert finding.facts["images"] == 9
