"""Small networks whose class maps can be written down, and the gradient of a class score by hand of autograd."""

from collections.abc import Sequence

import torch
from hypothesis import strategies as st
from torch import nn

import microtome as mt
from microtome._torchvision import timm


def seeded(net: nn.Module, seed: int = 0) -> nn.Module:
    """The network in eval mode, its weights drawn under that seed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            fan = max(1, parameter[0].numel()) if parameter.dim() > 1 else 1
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * (2 / fan) ** 0.5)
    return net.eval()


def pooled(bias: bool = True, seed: int = 0) -> nn.Sequential:
    """Two strided convolutions with rectifiers, a mean over positions, a linear head of 4 classes; the second rectifier is "3"."""
    net = nn.Sequential(
        nn.Conv2d(3, 5, 3, 2, 1, bias=bias), nn.ReLU(), nn.Conv2d(5, 6, 3, 1, 1, bias=bias), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4, bias=bias),
    )  # fmt: skip
    return seeded(net, seed)


def flattened(rows: int, cols: int, bias: bool = True, seed: int = 0) -> nn.Sequential:
    """As `pooled`, for images of that size, but the head sees every position of every unit."""
    net = nn.Sequential(
        nn.Conv2d(3, 5, 3, 2, 1, bias=bias), nn.ReLU(), nn.Conv2d(5, 6, 3, 1, 1, bias=bias), nn.ReLU(),
        nn.Flatten(), nn.Linear(6 * ((rows + 1) // 2) * ((cols + 1) // 2), 4, bias=bias),
    )  # fmt: skip
    return seeded(net, seed)


class Twice(nn.Module):
    """One rectifier called twice, and a head that reads both calls."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.act = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()
        self.head = nn.Linear(4, 3, bias=False)

    def forward(self, x):
        x = self.act(self.first(x))
        return self.head(self.act(self.second(x)).mean((2, 3)))


def opened(net: nn.Module, rows: int = 12, cols: int = 12) -> mt.Specimen:
    """The network opened for images of that size, as they are."""
    return mt.open(net, recipe={"size": (rows, cols), "mean": (0.0,) * 3, "std": (1.0,) * 3, "crop": 1.0})


def timm_specimen(name: str, size: tuple[int, int], **options: object) -> mt.Specimen:
    """A network of timm with seeded weights, for images of that size, square or not."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return opened(timm().create_model(name, **options).eval(), *size)


def noise(count: int = 2, rows: int = 12, cols: int = 12, seed: int = 1) -> torch.Tensor:
    """Seeded noise images (image, rgb, row, col)."""
    return torch.randn(count, 3, rows, cols, generator=torch.Generator().manual_seed(seed))


def slow_gradients(net: nn.Sequential, cut: int, x: torch.Tensor, classes: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Activation after the first `cut` modules and the gradient of each image's class score, one image and one unit at a time (float64)."""
    whole = nn.Sequential(*net).double()
    activations, gradients = [], []
    with torch.enable_grad():
        for image, wanted in zip(x.double(), classes, strict=True):
            activation = whole[:cut](image[None]).detach()
            rows = []
            for unit in range(activation.shape[1]):
                part = activation[:, unit : unit + 1].clone().requires_grad_()
                given = torch.cat([activation[:, :unit], part, activation[:, unit + 1 :]], 1)
                rows.append(torch.autograd.grad(whole[cut:](given)[0, wanted], part)[0])
            activations.append(activation)
            gradients.append(torch.cat(rows, 1))
    result = torch.cat(activations), torch.cat(gradients)
    net.float()
    return result


@st.composite
def plain_networks(draw: st.DrawFn) -> tuple[nn.Sequential, tuple[int, int], int]:
    """A piecewise linear network without biases, the size of its images, and how many of its modules come before the layer looked at."""
    rows, cols = draw(st.integers(8, 14)), draw(st.integers(8, 14))
    units = 3
    parts: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 3))):
        wider = draw(st.integers(2, 5))
        kernel, stride = draw(st.sampled_from([(1, 1), (3, 1), (3, 2), (5, 2)]))
        parts += [nn.Conv2d(units, wider, kernel, stride, kernel // 2, bias=False), nn.ReLU()]
        if draw(st.booleans()):
            parts.append(nn.MaxPool2d(3, 1, 1))
        units = wider
    cut = draw(st.integers(1, len(parts)))
    with torch.no_grad():
        shape = nn.Sequential(*parts)(torch.zeros(1, 3, rows, cols)).shape
    if draw(st.booleans()):
        head: list[nn.Module] = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(units, 3, bias=False)]
    else:
        head = [nn.Flatten(), nn.Linear(shape[1] * shape[2] * shape[3], 3, bias=False)]
    net = seeded(nn.Sequential(*parts, *head), draw(st.integers(0, 99)))
    return net, (rows, cols), cut  # type: ignore[return-value]
