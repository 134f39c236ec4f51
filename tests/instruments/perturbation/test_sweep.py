"""A plan carried out gives what the network gives on every image with its patch, and stops where a check refuses."""

import numpy as np
import pytest
import torch

from microtome.instruments.perturbation.patches import Patch, paste_patches, patch_spans
from microtome.instruments.perturbation.planning import cheapest_plan
from microtome.instruments.perturbation.sweep import Sweep
from microtome.instruments.perturbation.windows import reachable_nodes
from taped_networks import small, taped

X = torch.randn(4, 3, 16, 20, generator=torch.Generator().manual_seed(0))
UNITS = torch.tensor([1, 3, 0, 2])


def patches(count: int = 23) -> list[Patch]:
    """Patches of many sizes in three of four images, not in their order."""
    drawn, values = np.random.default_rng(0), torch.Generator().manual_seed(1)
    found = []
    for _ in range(count):
        rows, cols = (int(one) for one in drawn.integers(1, 9, 2))
        top, left = int(drawn.integers(0, 17 - rows)), int(drawn.integers(0, 21 - cols))
        found.append(Patch(int(drawn.choice([0, 1, 3])), top, left, torch.randn(3, rows, cols, generator=values)))
    return found


def sweep(layer: str, cut: int) -> tuple[Sweep, list[Patch]]:
    tape, asked = taped(small(), X[:1], layer), patches()
    plan = cheapest_plan(tape, cut, patch_spans(asked), cut) if cut else cheapest_plan(tape, 0, patch_spans(asked))

    def summed(value: torch.Tensor, units: torch.Tensor | None) -> torch.Tensor:
        assert units is not None
        return value.sum((2, 3), dtype=torch.float64).gather(1, units[:, None])[:, 0]

    return Sweep(tape, plan, asked, X, UNITS, summed), asked


@pytest.mark.parametrize("layer", ["1", "4"])
@pytest.mark.parametrize("cut", [0, 1, "all"])
def test_it_gives_what_the_network_gives_in_the_order_asked_for(layer: str, cut) -> None:
    net = small()
    made, asked = sweep(layer, reachable_nodes(taped(net, X[:1], layer)) if cut == "all" else cut)
    response = made.response()
    assert response is not None and response.activity is not None
    with torch.no_grad():
        pasted = paste_patches(X, asked)
        maps = net[: int(layer) + 1](pasted)
        assert torch.allclose(response.scores, net(pasted), atol=1e-5)
        for place, patch in enumerate(asked):
            wanted = float(maps[place, UNITS[patch.image]].sum())
            assert float(response.activity[place]) == pytest.approx(wanted, abs=1e-3)


def test_a_check_that_refuses_stops_at_once_and_sees_the_patch_in_the_middle() -> None:
    made, asked = sweep("4", 1)
    seen = []

    def check(job: int, response) -> bool:
        seen.append((job, len(response.scores)))
        return False

    assert made.response(check) is None
    assert seen == [(len(asked) // 2, 1)]
