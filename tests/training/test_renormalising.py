"""Filter renormalisation: what is over the radius comes down to it, what is below stays to the bit, off by default."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from microtome.errors import BadOption
from microtome.training.renormalising import renormalise
from microtome.training.zoo.data import scene_series
from microtome.training.zoo.loop import train_zoo_network
from microtome.training.zoo.recipes import ZooRecipe


def net() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 6, 5), nn.BatchNorm2d(6), nn.ConvTranspose2d(6, 4, 3), nn.Flatten(), nn.Linear(8, 2))


def rms(weight: torch.Tensor, axis: int = 0) -> torch.Tensor:
    return weight.detach().double().movedim(axis, 0).flatten(1).square().mean(1).sqrt()


def test_over_comes_down_and_below_stays() -> None:
    one = net()
    with torch.no_grad():
        one[0].weight[2] *= 10  # type: ignore[index, operator]
        one[0].weight[4] *= 50  # type: ignore[index, operator]
    before = {name: value.clone() for name, value in one.state_dict().items()}
    radius = 2 * float(rms(before["0.weight"]).median())
    assert renormalise(one, radius) == 2
    told = rms(one[0].weight)  # type: ignore[arg-type]
    assert told.max().item() == pytest.approx(radius, rel=1e-6)
    assert told[[2, 4]].tolist() == pytest.approx([radius] * 2, rel=1e-6)
    for unit in (0, 1, 3, 5):
        assert torch.equal(one[0].weight[unit], before["0.weight"][unit])  # type: ignore[index]
    # only scaled: the direction of a filter is its own
    cosine = torch.cosine_similarity(one[0].weight[4].flatten(), before["0.weight"][4].flatten(), dim=0)  # type: ignore[index]
    assert cosine.item() == pytest.approx(1, abs=1e-6)
    for name in ("1.weight", "4.weight", "0.bias"):
        assert torch.equal(one.state_dict()[name], before[name])


def test_filters_of_a_transposed_convolution_are_its_outputs() -> None:
    one = net()
    weight = one[2].weight.detach().clone()  # (6 in, 4 out, 3, 3)
    radius = float(rms(weight, 1).sort().values[1:3].mean())  # type: ignore[arg-type]
    assert renormalise(nn.Sequential(one[2]), radius) == 2
    assert (rms(one[2].weight, 1) <= radius * (1 + 1e-6)).all()  # type: ignore[arg-type]


@pytest.mark.parametrize("radius", [0.0, -1.0, float("nan")])
def test_a_radius_must_be_above_zero(radius: float) -> None:
    with pytest.raises(BadOption, match="above 0"):
        renormalise(net(), radius)


def test_in_training_every_filter_ends_below(tmp_path: Path) -> None:
    data = scene_series(32, seed=77)
    plan = ZooRecipe(network="mini_vgg", epochs=1, count=32, batch=16, precision="32-true")
    radius = 0.05
    free = load_file(train_zoo_network(plan, tmp_path / "free", data=data))
    held = load_file(train_zoo_network(replace(plan, radius=radius), tmp_path / "held", data=data))
    kernels = [name for name, value in free.items() if value.ndim == 4]
    assert max(float(rms(free[name]).max()) for name in kernels) > 1.5 * radius
    assert max(float(rms(held[name]).max()) for name in kernels) <= radius * (1 + 1e-5)
    assert "radius" not in plan.json()
    assert replace(plan, radius=radius).json()["radius"] == radius
