"""KernelSHAP: exact where patches add up, near the Shapley values where they do not, and its sum."""

from itertools import permutations

import numpy as np
import pytest
import torch
from torch import nn

from map_networks import flattened, noise, opened, seeded
from microtome.instruments.attribution import map_kind, patch_effects, target_maps
from microtome.instruments.attribution.patch_effects import patch_numbers
from microtome.specimen import Specimen

pytest.importorskip("captum")


def made_by(net, x, classes):
    def ask(scores):
        return [scores.gather(1, classes[:, None])[:, 0]]

    return target_maps(opened(net, *x.shape[2:]), ["input"], x, Specimen.logits, ask, map_kind("kernelshap"))


def test_of_a_linear_network_it_is_the_effect_of_each_patch():
    net, x, classes = seeded(nn.Sequential(nn.Flatten(), nn.Linear(588, 4))), noise(2, 14, 14), torch.tensor([1, 3])
    made = made_by(net, x, classes)
    effects = (net[1].weight.detach()[classes].unflatten(1, (3, 14, 14)) * x).sum(1)
    wanted = effects.unfold(1, 2, 2).unfold(2, 2, 2).sum((3, 4)).repeat_interleave(2, 1).repeat_interleave(2, 2) / 4
    assert torch.allclose(made.maps[0]["input"], wanted, atol=1e-3 * float(wanted.abs().max()))
    assert float(made.gaps.max()) < 1e-3


def test_near_the_values_of_all_orders_of_four_patches(monkeypatch):
    monkeypatch.setattr(patch_effects, "GRID", 2)
    monkeypatch.setattr(patch_effects, "SAMPLES", 4000)
    net, x = flattened(12, 12), noise(1)
    numbers = patch_numbers(12, 12)
    values = np.zeros(4)
    orders = list(permutations(range(4)))
    with torch.no_grad():
        for order in orders:
            shown = torch.zeros(1, 1, 12, 12)
            before = float(net(x * shown)[0, 2])
            for patch in order:
                shown = shown + (numbers == patch)
                after = float(net(x * shown)[0, 2])
                values[patch] += (after - before) / len(orders)
                before = after
    heat = made_by(net, x, torch.tensor([2])).maps[0]["input"][0]
    given = [float(heat[numbers[0, 0] == patch].sum()) for patch in range(4)]
    assert given == pytest.approx(values.tolist(), abs=0.05 * np.abs(values).max())
