"""Every analysis on networks of one, two and five input channels: it gives a finding whose figures draw, or the true reason why not."""

from functools import cache

import matplotlib.pyplot as plt
import pytest
import torch
from torch import nn

from microtome import catalog
from microtome.analysis import Collation
from microtome.errors import ImagesError, Unmeasurable
from microtome.images import Images
from microtome.opening.opening import open as open_specimen
from microtome.scan import Pace
from microtome.specimen import Specimen

SIDE = 32
NAMES = [name for name, entry in catalog.analysis_entries().items() if not issubclass(entry.load(), Collation)]
# Reasons that hold for this network with three channels as well; only corruptions are defined on 8-bit images alone.
REASONS = (
    "corruptions are defined on 8-bit images",
    "none of its convolutions is dilated",
    "it needs a second network",
    "it needs checkpoints of one training",
    "it has no gate",
    "it has no attention over positions",
    "it has no dense block",
    "it needs example images of a concept",
)


class Residual(nn.Module):
    def __init__(self, units: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(units, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.act1, self.act2 = nn.ReLU(), nn.ReLU()
        self.shortcut = nn.Identity() if units == out else nn.Sequential(nn.Conv2d(units, out, 1, stride), nn.BatchNorm2d(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act2(self.bn2(self.conv2(self.act1(self.bn1(self.conv1(x))))) + self.shortcut(x))


class SmallResNet(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1, self.act = nn.Conv2d(channels, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
        self.layer1, self.layer2, self.layer3 = Residual(8, 8, 1), Residual(8, 16, 2), Residual(16, 16, 1)
        self.pool, self.fc = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.pool(self.layer3(self.layer2(self.layer1(self.act(self.bn1(self.conv1(x))))))))


@cache
def specimen(channels: int) -> Specimen:
    torch.manual_seed(0)
    net = SmallResNet(channels).eval()
    return open_specimen(net, recipe={"size": SIDE, "crop": 1.0}, labels=["a", "b", "c"]).with_twins(2)


@cache
def images(channels: int, count: int = 15) -> Images:
    masks = torch.zeros(count, SIDE, SIDE)
    masks[:, 8:20, 8:20] = 1
    x = torch.rand(count, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    return Images.tensors(x, labels=[0, 1, 2] * (count // 3), classes=["a", "b", "c"], masks=masks)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_the_number_of_channels_is_found(channels: int) -> None:
    assert specimen(channels).recipe.channels == channels
    assert len(specimen(channels).recipe.mean) == len(specimen(channels).recipe.std) == channels
    note = f"It takes {channels} channels, and nothing says their mean and std; 0 and 1 are used"
    assert any(line.startswith(note) for line in specimen(channels).notes) == (channels not in (1, 3))


@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("name", NAMES)
def test_an_analysis_measures_any_number_of_channels_or_says_why_not(name: str, channels: int) -> None:
    analysis = catalog.analysis_entry(name).load()()
    shown = images(channels, 60 if name == "slimming" else 15)  # it reports on other images than it repairs by
    try:
        finding = analysis(specimen(channels), shown, Pace(batch=15, device="cpu"), twins=2)
    except Unmeasurable as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert any(reason in refused for reason in REASONS), refused
        return
    for figure in finding.figures().values():
        assert figure.axes
        plt.close(figure)
    shown = "figures show bands 1, 2 and 3 as red, green and blue"
    luminance = "it was given the luminance (ITU-R BT.601) of each image"
    caveats = " ".join(finding.caveats)
    assert (shown in caveats) == (channels == 5 and analysis.needs != "weights")
    assert (luminance in caveats) == (channels == 1 and analysis.needs != "weights")


def test_images_of_another_number_of_channels_are_refused_before_anything_is_measured() -> None:
    analysis = catalog.analysis_entry("accuracy").load()()
    with pytest.raises(
        ImagesError, match=r"accuracy of SmallResNet: the network takes 5 channels and 'tensors' holds images of 3"
    ):
        analysis(specimen(5), images(3), Pace(batch=12, device="cpu"))
    with pytest.raises(ImagesError, match=r"takes 1 channel and 'tensors' holds images of 5"):
        analysis(specimen(1), images(5), Pace(batch=12, device="cpu"))
