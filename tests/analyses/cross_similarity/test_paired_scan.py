"""The scan through two networks: the inputs of both, and a scan that was interrupted."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome.analyses.cross_similarity.paired_scan import compare_layers
from microtome.scan import Pace, Step


class Recorder(nn.Module):
    """Remembers its inputs; its layer `keep` gives them back."""

    def __init__(self) -> None:
        super().__init__()
        self.keep = nn.Identity()
        self.inputs: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.inputs.append(x.clone())
        return self.keep(x).mean((2, 3))


@pytest.mark.parametrize("recipe", [{"size": 32, "mean": (0.1,) * 3}, {"size": 24, "crop": 0.7, "std": (0.4,) * 3}])
def test_each_network_sees_the_images_in_its_own_preprocessing(
    net: mt.Specimen, pics: mt.Images, recipe: dict[str, object]
) -> None:
    second = mt.open(Recorder(), recipe=recipe)
    second.layer("keep")
    second.net.inputs.clear()
    pair = compare_layers((net, second), (["blocks.0"], ["keep"]), pics, Pace(batch=16, device="cpu"), "both", ["key"])
    expected = second.recipe.normalise(torch.from_numpy(pics.pixels(second.recipe, pics.content_order())))
    assert torch.equal(torch.cat(second.net.inputs), expected)
    assert pair.count == 40 and pair.all_pairs and pair.cka.value.shape == (1, 1)


def test_an_interrupted_scan_goes_on_with_both(
    net: mt.Specimen, tiny: Callable[..., nn.Module], pics: mt.Images, tmp_path: Path
) -> None:
    both = (net, mt.open(tiny(seed=1), recipe=net.recipe.json()))
    layers = (["blocks.0", "blocks.2"], ["blocks.1"])
    pace = Pace(batch=10, device="cpu", keep=tmp_path, every=0.0)
    whole = compare_layers(both, layers, pics, replace(pace, keep=None), "both", ["key"])

    def stop(step: Step) -> None:
        if step.done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare_layers(both, layers, pics, replace(pace, listener=stop), "both", ["key"])
    steps: list[Step] = []
    again = compare_layers(both, layers, pics, replace(pace, listener=steps.append), "both", ["key"])
    assert steps[0].resumed == 10  # the second batch was not saved yet when it stopped
    np.testing.assert_array_equal(again.cka.value, whole.cka.value)
