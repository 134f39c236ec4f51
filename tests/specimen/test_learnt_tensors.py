"""The untrained twin is untrained: over generated networks, every tensor that was learnt differs, and nothing of the original moved."""

import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from microtome.opening.opening import open as open_specimen
from microtome.specimen.learnt_tensors import alike, learnt_tensors, unchanged_tensors
from microtome.testing import fingerprint

RECIPE = {"size": 16, "mean": 0.5, "std": 0.5, "crop": 1}


class Phase(nn.Module):
    """A complex gate of every channel: its phase shift, and no initialiser."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.randn(units, 16, dtype=torch.complex64))
        self.frequency = nn.Linear(16, units, dtype=torch.complex64)

    def forward(self, x: Tensor) -> Tensor:
        return x * (self.gate.abs().mean(1) + self.frequency(self.gate).abs().mean())[:, None, None]


class Doubled(nn.Module):
    """A parametrisation without an inverse."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


class Generated(nn.Module):
    """Two convolutions, what the example asks for around them, and a head; `width` keeps its constructor from being called blindly."""

    def __init__(self, width: int, batch_norm: bool, complex_gate: bool, loose: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 2, 1)
        self.norm = nn.BatchNorm2d(width) if batch_norm else nn.Identity()
        self.gate = Phase(width) if complex_gate else nn.Identity()
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1)
        self.token = nn.Parameter(torch.randn(1, width, 1, 1))
        self.tables = [nn.Parameter(torch.randn(width, 1, 1))] if loose else []
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.gate(self.norm(self.conv1(x)))) + self.token
        for table in self.tables:
            x = x * table
        return self.head(torch.relu(self.conv2(x)).mean((2, 3)))


def train(net: nn.Module, steps: int = 3) -> nn.Module:
    """A few steps of gradient descent and of running statistics, so that nothing is as its initialiser left it."""
    net.train()
    draw = torch.Generator().manual_seed(1)
    optimiser = torch.optim.SGD([*net.parameters(), *getattr(net, "tables", [])], lr=0.1, momentum=0.9)
    for _ in range(steps):
        x = torch.rand(8, 3, 16, 16, generator=draw)
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(net(x), torch.arange(8) % 5).backward()
        optimiser.step()
        optimiser.zero_grad()
    with torch.no_grad():
        for parameter in net.parameters():
            noise = torch.randn(parameter.shape, generator=draw).to(parameter.dtype)
            parameter.add_(0.01 * noise)
    return net.eval()


DECORATIONS: dict[str, Callable[[nn.Module], object]] = {
    "pruned": lambda conv: prune.l1_unstructured(conv, "weight", 0.5),
    "weight norm, hook": lambda conv: weight_norm(conv),
    "spectral norm, hook": lambda conv: spectral_norm(conv),
    "weight norm": lambda conv: parametrizations.weight_norm(conv),
    "spectral norm": lambda conv: parametrizations.spectral_norm(conv),
    "no inverse": lambda conv: nn.utils.parametrize.register_parametrization(conv, "weight", Doubled()),
    "frozen": lambda conv: conv.requires_grad_(False),
    "half": lambda conv: None,
}


def generators() -> tuple[bytes, bytes, object]:
    return torch.get_rng_state().numpy().tobytes(), np.random.get_state()[1].tobytes(), random.getstate()  # type: ignore[index, union-attr]


@settings(max_examples=40, deadline=None)
@given(
    width=st.sampled_from([4, 6, 8]),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    decorations=st.tuples(*[st.sampled_from(["plain", *DECORATIONS])] * 2),
    seed=st.integers(0, 3),
)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_every_learnt_tensor_differs_and_the_original_is_untouched(
    width: int, flags: tuple[bool, bool, bool], decorations: tuple[str, str], seed: int
) -> None:
    torch.manual_seed(seed)
    net = Generated(width, *flags)
    for conv, decoration in zip((net.conv1, net.conv2), decorations, strict=True):
        DECORATIONS.get(decoration, lambda _: None)(conv)
    train(net)
    if "half" in decorations:
        net = net if flags[1] or flags[2] else net.to(torch.bfloat16)
    specimen = open_specimen(net, recipe=RECIPE)
    before, values = fingerprint(net), {name: one.detach().clone() for name, one in learnt_tensors(net).items()}
    assert specimen.layers  # traced before: the type checks of these tests draw from Python's generator
    states = generators()
    twin, other = specimen.twin(seed), specimen.twin(seed + 1)

    assert twin.unchanged == other.unchanged == ()
    for name, value in values.items():
        new = learnt_tensors(twin.net)[name].detach()
        assert new.dtype == learnt_tensors(specimen.net)[name].dtype and new.shape == value.shape
        if bool((value != value.flatten()[0]).any()):
            assert not torch.equal(new, value), name
    assert unchanged_tensors(net, twin.net) == []
    assert not torch.equal(
        twin.net.conv2(torch.ones(1, width, 4, 4)), net.conv2(torch.ones(1, width, 4, 4).to(net.token)).float()
    )
    assert not torch.equal(twin.net.token, other.net.token)
    assert bool(torch.isfinite(twin.run(torch.rand(2, 3, 16, 16).to(twin.net.token))).all())

    assert fingerprint(net) == before
    assert all(torch.equal(one, values[name]) for name, one in learnt_tensors(net).items())
    assert generators()[1:] == states[1:]
    assert [p.requires_grad for p in twin.net.parameters()] == [p.requires_grad for p in net.parameters()]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "kind", ["pruned", "weight norm, hook", "weight norm", "spectral norm", "spectral norm, hook", "no inverse"]
)
def test_a_decorated_twin_is_spread_as_its_class_draws(kind: str) -> None:
    """A convolution with fan-in 64·9 is drawn evenly from ±1/√576 by torch: standard deviation 1/√(3·576); σ of a spectral norm is 1."""
    torch.manual_seed(0)
    conv = nn.Conv2d(64, 64, 3)
    net = nn.Sequential(nn.Conv2d(3, 64, 1), conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2))
    DECORATIONS[kind](conv)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(5.0)
    twin = open_specimen(net.eval(), recipe=RECIPE).twin().net
    twin(torch.rand(1, 3, 16, 16))
    weight = twin[1].weight.detach()
    if kind == "pruned":
        weight = weight[weight != 0]
        assert weight.numel() == conv.weight_mask.sum()
    if "spectral" in kind:
        assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1.0, abs=0.02)
    else:
        factor = 2 if kind == "no inverse" else 1  # it was put over weights that the class had drawn
        assert weight.std().item() == pytest.approx(factor / np.sqrt(3 * 576), rel=0.02)


FACTORIES = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, pretrained=False):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.table = nn.Parameter(torch.linspace(0, 1, 64).reshape(1, 1, 8, 8), requires_grad=False)
        self.head = nn.Linear(8, 4)
        nn.init.normal_(self.conv.weight, std=0.25)
        if pretrained:
            self.load_state_dict(torch.load(PATH))
    def forward(self, x):
        return self.head((torch.relu(self.conv(x)) + self.table).mean((2, 3)))

def by_option(pretrained=True): return Net(pretrained)
def always(): return Net(True)
def self_seeded():
    torch.manual_seed(0)
    return Net()
def by_generator():
    net = Net()
    with torch.no_grad():
        for p in (*net.conv.parameters(), *net.head.parameters()):
            p.copy_(0.25 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    return net
def backbone_only():
    net = Net()
    net.conv.load_state_dict({k[5:]: v for k, v in torch.load(PATH).items() if k.startswith("conv.")})
    return net
"""


@pytest.mark.parametrize("factory", ["by_option", "always", "self_seeded", "by_generator", "backbone_only"])
@pytest.mark.parametrize("weights", ["pretrained", None])
def test_twins_of_factories_that_bring_weights_or_seed_themselves(factory: str, weights: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"nets_{factory}_{weights}.py"
        torch.manual_seed(5)
        trained = {"conv.weight": torch.randn(8, 3, 3, 3), "conv.bias": torch.randn(8), "head.weight": torch.randn(4, 8),
                   "head.bias": torch.randn(4), "table": torch.linspace(0, 1, 64).reshape(1, 1, 8, 8)}  # fmt: skip
        torch.save(trained, Path(folder) / "trained.pth")
        path.write_text(f"PATH = {str(Path(folder) / 'trained.pth')!r}\n{FACTORIES}")
        specimen = open_specimen(f"{path}:{factory}", weights=weights, recipe=RECIPE)
        twins = [specimen.twin(seed).net for seed in (0, 1, 2)]
        nets = [specimen.net, *twins]
        if weights is None:
            nets.append(open_specimen(f"{path}:{factory}", weights=None, seed=7, recipe=RECIPE).net)
    if factory not in ("always", "by_generator"):  # there all comes out the same, so nobody can tell a table from weights
        assert all(torch.equal(net.table, specimen.net.table) for net in nets)
    for name in ("conv.weight", "conv.bias", "head.weight", "head.bias"):
        tensors = [net.state_dict()[name] for net in nets]
        assert not any(torch.equal(one, two) for place, one in enumerate(tensors) for two in tensors[:place]), name
        assert not any(torch.equal(one, trained[name]) for one in tensors[1:]), name
    if factory in ("by_option", "self_seeded"):  # the class's own initialiser, σ 0.25 over 216 values: four standard errors
        assert twins[0].conv.weight.std().item() == pytest.approx(0.25, abs=4 * 0.25 / np.sqrt(2 * 216))


@pytest.mark.parametrize("size", [100, 1 << 20])
def test_alike_is_decided_by_correlation_whatever_the_size(size: int) -> None:
    one, noise = torch.randn(2, size, generator=torch.Generator().manual_seed(0))
    mixed = lambda r: r * one + (1 - r * r) ** 0.5 * noise  # noqa: E731  # correlation r with `one`
    assert alike(one, one.clone())
    assert alike(one, mixed(0.97))
    assert not alike(one, mixed(0.7))
    assert not alike(one, noise)


def test_alike_sees_a_single_value_outside_the_sample() -> None:
    """A tensor of zeros but for one value is not constant, so finding it again means that it was not drawn anew."""
    lonely = torch.zeros(1 << 20)
    lonely[12_345] = 1.0
    assert alike(lonely, lonely.clone())
    assert not alike(lonely, torch.zeros(1 << 20))
    assert not alike(torch.zeros(1 << 20), torch.zeros(1 << 20))
