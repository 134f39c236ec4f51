"""Which names stand for one tensor, by what a forward pass really hands on."""

import pytest
import torch
from torch import Tensor, nn

from microtome.opening.opening import open as open_specimen
from microtome.specimen import same_values, watch


class Chain(nn.Module):
    """Two blocks with an in-place rectifier of nobody's between them, a third right behind, each a module; and a container."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = (nn.Sequential(nn.Conv2d(3, 3, 3, padding=1)) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.three(self.two(self.one(x).relu_()))


def test_the_next_block_reads_what_the_last_gave_unless_it_was_changed_in_between():
    specimen = open_specimen(Chain().eval(), recipe={"size": 8, "crop": 1.0})
    names = ["<one", "one.0", "one", "<two", "two.0", "two", "<three", "<three.0", "three"]
    assert same_values(specimen, names) == {
        "<one": "<one",
        "one.0": "one.0",
        "one": "one.0",  # a container gives its content's output
        "<two": "<two",  # the same object, changed in place
        "two.0": "two.0",
        "two": "two.0",
        "<three": "two.0",
        "<three.0": "two.0",
        "three": "three",
    }


@pytest.mark.parametrize("name", ["timm:resnet18", "timm:densenet121", "timm:hrnet_w18", "timm:deit_tiny_patch16_224"])
def test_what_is_said_to_be_the_same_is_the_same(opened, name):
    """Against the values of a real pass, for all outputs and inputs of a network; and something is found to be the same."""
    specimen = opened(name, None if "deit" in name else (64, 64))
    layers = [layer for layer in specimen.layers if layer.name not in specimen.aliases]
    names = [mark + layer.name for layer in layers for mark in ("<", "")]
    x = torch.randn(2, 3, *specimen.recipe.size, generator=torch.Generator().manual_seed(1))
    seen: dict[str, Tensor] = {}
    with watch(specimen, names, each=lambda name, value: seen.setdefault(name, value.clone())):
        specimen.run(x)
    found = same_values(specimen, names)
    for one, other in found.items():
        assert torch.equal(seen[one], seen[other]), (one, other)
    assert sum(one != other for one, other in found.items()) > len(specimen.blocks)
