"""`frontend` on planted first layers: dead filters, gratings, gaps in the spectrum, empty rims; and on untrained ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.frontend.frontend import Frontend
from microtome.errors import Unmeasurable


def opened(weight: torch.Tensor, stride: int = 2, norm: nn.Module | None = None) -> mt.Specimen:
    """A network whose first layer holds `weight` (unit, rgb, row, col)."""
    units, channels, rows, cols = weight.shape
    first = nn.Conv2d(channels, units, (rows, cols), stride, (rows // 2, cols // 2))
    with torch.no_grad():
        first.weight.copy_(weight)
    middle = [] if norm is None else [norm]
    net = nn.Sequential(first, *middle, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(units, 10)).eval()
    return mt.open(net, recipe={"size": 32, "channels": channels})


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(6))


def wave(side: int, frequency: float, units: int, angle: float = 0.0) -> torch.Tensor:
    """Gratings of one frequency under a round window, in `units` phases."""
    at = torch.arange(side) - (side - 1) / 2
    along = np.cos(angle) * at[:, None] + np.sin(angle) * at[None, :]
    phases = torch.arange(units) * (np.pi / units)
    window = torch.exp(-(at[:, None] ** 2 + at[None, :] ** 2) / (2 * (side / 4) ** 2))
    made = (2 * np.pi * frequency * along + phases[:, None, None]).cos() * window
    return made[:, None].expand(-1, 3, -1, -1)


def test_planted_dead_filters_are_found() -> None:
    weight = noise(12, 3, 7, 7)
    weight[[2, 9]] *= 1e-3
    weight[5] = 0
    found = Frontend()(opened(weight))
    dead = found["dead"]
    assert sorted(dead.unit.values[dead.values].tolist()) == [2, 5, 9]
    assert found["value"].sel(criterion="dead filters").item() == 0.25
    assert not found["twin_dead"].values.any()
    assert "3 of 12 filters are dead (2, 5, 9)" in found["verdict"].sel(criterion="dead filters").item()
    assert (found.key("dead filters").value, found.key("dead filters").baseline, found.key("faults").value) == (0.25, 0, 1)
    assert found.headline == "0 has 1 fault (first: dead filters); 25.0% of its filters are dead (untrained twins 0%)."
    assert found["colour"].sel(unit=5).item() == "dead"
    assert found["spectrum"].unit.values[-1] == 5  # no frequency: shown last
    # half of the filters may be dead and the others still differ from them
    weight[:7] = 0
    assert int(Frontend()(opened(weight))["dead"].values.sum()) == 8


def test_a_norm_can_revive_a_small_filter_or_kill_a_large_one() -> None:
    weight = noise(8, 3, 5, 5)
    weight[0] *= 1e-3
    weight[1] *= 1e-3
    norm = nn.BatchNorm2d(8)
    with torch.no_grad():
        norm.weight[0] = 1e3
    found = Frontend(sort="first")(opened(weight, norm=norm))
    assert found["dead"].values.tolist() == [False, True, *[False] * 6]


def test_a_planted_grating_shows_in_spectrum_and_order() -> None:
    weight = torch.cat([wave(11, 0.25, 4), wave(11, 0.1, 4)])
    found = Frontend()(opened(weight, stride=4))
    assert set(found["dead"].unit.values[:4]) == {4, 5, 6, 7}  # low frequencies first
    for unit, frequency in ((1, 0.25), (6, 0.1)):
        row = found["spectrum"].sel(unit=unit)
        assert row.frequency.values[int(row.values.argmax())] == pytest.approx(frequency, abs=0.045)
        assert row.sum().item() == pytest.approx(1)
    # a stride of 4 carries 1/8 cycle per pixel: the finer four are folded, the coarser four hardly
    above = found["above"]
    assert above.sel(unit=[0, 1, 2, 3]).values.min() > 0.9
    assert above.sel(unit=[4, 5, 6, 7]).values.max() < 0.35
    aliasing = found["verdict"].sel(criterion="above Nyquist").item()
    assert "Stride 4 aliases" in aliasing and "stride 2 would alias" in aliasing
    assert bool(found["finding"].sel(criterion="above Nyquist"))
    assert found.key("energy above Nyquist").value == found["value"].sel(criterion="above Nyquist").item()


def test_extremes_without_the_middle_are_told_apart_from_the_middle() -> None:
    gap = torch.cat([wave(11, 0.03, 8), wave(11, 0.45, 8), wave(11, 0.45, 8, np.pi / 2), wave(11, 0.6, 8, np.pi / 4)])
    found = Frontend()(opened(gap, stride=4))
    assert found["value"].sel(criterion="middle to extremes").item() < 0.8
    assert bool(found["finding"].sel(criterion="middle to extremes"))
    assert "7 x 7 / 2" in found["verdict"].sel(criterion="middle to extremes").item()
    assert found.key("middle over extremes").value < 0.8
    whole = Frontend()(opened(torch.cat([wave(11, 0.19, 8), gap]), stride=4))
    assert not bool(whole["finding"].sel(criterion="middle to extremes"))


def test_an_empty_rim_is_advised_away() -> None:
    weight = torch.zeros(8, 3, 11, 11)
    weight[:, :, 2:9, 2:9] = noise(8, 3, 7, 7)
    found = Frontend()(opened(weight))
    assert found["value"].sel(criterion="inner kernel").item() == pytest.approx(1)
    assert bool(found["finding"].sel(criterion="inner kernel"))
    assert "The inner 7 x 7 weights hold 100" in found["verdict"].sel(criterion="inner kernel").item()


def test_one_filter_that_dominates() -> None:
    weight = noise(16, 3, 7, 7)
    weight[3] *= 10
    found = Frontend()(opened(weight))
    assert found["value"].sel(criterion="largest filter").item() == pytest.approx(16 * 100 / 115, rel=0.15)
    assert bool(found["finding"].sel(criterion="largest filter"))
    assert "One filter has" in found["verdict"].sel(criterion="largest filter").item()
    assert not found["dead"].values.any()  # the others are as usual


def test_random_filters_are_flat_and_no_finding() -> None:
    found = Frontend()(opened(noise(64, 3, 11, 11), stride=4))
    assert found["density"].values == pytest.approx(1, abs=0.15)
    assert found["value"].sel(criterion="above Nyquist").item() == pytest.approx(1 - 1 / 16, abs=0.02)
    assert not found["finding"].values.any()
    assert "as flat as random filters" in found["verdict"].sel(criterion="above Nyquist").item()
    assert found.key("faults").value == 0 and found.headline.startswith("0 has 0 faults;")


def test_untrained_weights_have_no_findings() -> None:
    found = Frontend()(mt.open("microtome:mini_vgg", weights=None))
    assert found.headline.startswith("Untrained weights, not judged: ") and found.key("faults").value == 0
    assert set(found["verdict"].values) == {"untrained: not judged"}


@pytest.mark.parametrize(
    ("shape", "stride", "kind"),
    [
        ((8, 3, 11, 11), 4, "11 x 11 / 4 stem"),
        ((8, 3, 3, 3), 1, "3 x 3 / 1 stem"),
        ((8, 3, 4, 4), 4, "patch embedding of 4 x 4 px"),
    ],
)
def test_stems_are_called_what_they_are(shape: Any, stride: int, kind: str) -> None:
    found = Frontend()(opened(noise(*shape), stride=stride))
    assert (found.facts["layer"], found.facts["kind"]) == ("0", kind)
    verdict = found["verdict"].sel(criterion="above Nyquist").item()
    said = {1: "stride 1 aliases nothing", 4: "as flat as random filters" if shape[-1] == 11 else "windows do not overlap"}
    assert said[stride] in verdict
    assert (found["value"].sel(criterion="above Nyquist").item() == 0) == (stride == 1)


def test_a_kernel_with_holes_is_what_it_spans() -> None:
    first = nn.Conv2d(3, 8, 3, 2, 2, dilation=2)
    spread = torch.zeros(8, 3, 5, 5)
    spread[:, :, ::2, ::2] = first.weight.detach()
    net = nn.Sequential(first, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)).eval()
    told = Frontend()(mt.open(net, recipe={"size": 32}))
    same = Frontend()(opened(spread))
    np.testing.assert_allclose(told["spectrum"].values, same["spectrum"].values, rtol=1e-9)


def test_single_channel_images(tmp_path: Path) -> None:
    found = testing.check(Frontend(), opened(noise(8, 1, 5, 5)), None, tmp_path)
    assert found["filter"].sizes["rgb"] == 3
    assert found["grey"].values == pytest.approx(1)


def test_broken_or_missing_first_layers_are_refused() -> None:
    weight = noise(8, 3, 5, 5)
    weight[1, 0, 0, 0] = float("nan")
    with pytest.raises(Unmeasurable, match="NaN or infinite"):
        Frontend()(opened(weight))
    flat = mt.open(nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 10)).eval(), recipe={"size": 8})
    with pytest.raises(Unmeasurable, match="no convolution"):
        Frontend()(flat)
    with pytest.raises(Unmeasurable, match=r"4 is no convolution but a Linear; the first one is 0"):
        Frontend(at="4")(opened(noise(8, 3, 5, 5)))


def test_a_layer_of_nothing_but_zeros() -> None:
    found = Frontend()(opened(torch.zeros(8, 3, 5, 5)))
    assert found.key("dead filters").value == 1
    assert "8 of 8 filters are dead" in found["verdict"].sel(criterion="dead filters").item()
    assert "nan" not in found.headline


def test_common_suite(tmp_path: Path) -> None:
    found = testing.check(Frontend(sort="norm"), mt.open("microtome:mini_resnet"), None, tmp_path)
    assert found["spectrum"].dims == ("unit", "frequency")
    assert (np.diff(found["rms"].values) <= 0).all()
