"""Small networks and images that many tests share; types and shapes of `microtome.numerics` checked. Nothing needs a download."""

import os
import sys
from collections.abc import Callable
from types import ModuleType

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

# The hook wants its checker by dotted name; this module exists in memory only, whatever pytest's import mode. It is set before
# anything of the package is imported: modules imported again later would have classes that are not those of their users.
NAME = "microtome_shape_checker"
if NAME not in sys.modules:
    checker = ModuleType(NAME)
    checker.checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # type: ignore[attr-defined]
    sys.modules[NAME] = checker
    install_import_hook("microtome.numerics", f"{NAME}.checked")

from collections.abc import Iterator

import pytest
import torch
from torch import nn

import microtome as mt
from microtome.errors import speak_to_shell

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _hints_in_python() -> Iterator[None]:
    """Commands called inside a test leave hints in the shell's language; the next test calls Python again."""
    yield
    speak_to_shell(False)


class Residual(nn.Module):
    """A block that keeps its shape: x + scale · conv(relu(conv(x)))."""

    def __init__(self, units: int, scale: float = 1.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(units, units, 3, padding=1)
        self.conv2 = nn.Conv2d(units, units, 3, padding=1)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.scale * self.conv2(torch.relu(self.conv1(x)))


class Tiny(nn.Module):
    """A stem, three residual blocks of 8 units on a grid of 16×16 (for 32 px), a mean over positions, ten outputs."""

    def __init__(self, scales: tuple[float, ...] = (1.0, 1.0, 1.0), outputs: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.blocks = nn.Sequential(*(Residual(8, scale) for scale in scales))
        self.head = nn.Linear(8, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(torch.relu(self.stem(x))).mean((2, 3)))


def tiny_net(seed: int = 0, **options: object) -> nn.Module:
    """A Tiny with seeded weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Tiny(**options).eval()  # type: ignore[arg-type]


@pytest.fixture
def tiny() -> Callable[..., nn.Module]:
    """The maker of tiny networks: tiny(seed=0, scales=…, outputs=…)."""
    return tiny_net


@pytest.fixture(scope="session")
def net() -> mt.Specimen:
    """A tiny network opened for 32 px."""
    return mt.open(tiny_net(), recipe={"size": 32, "mean": (0.5,) * 3, "std": (0.25,) * 3, "crop": 1.0})


@pytest.fixture(scope="session")
def pics() -> mt.Images:
    """Forty generated scenes of 32 px, with labels and masks."""
    return mt.Images.scenes(40, seed=5, size=32)
