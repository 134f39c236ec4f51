"""Where one number for each channel multiplies a map: the gates of libraries, and gates without a module by hand."""

import pytest
import torch
from torch import Tensor, nn

import microtome as mt
from gated_networks import made
from microtome.errors import SpecimenError
from microtome.instruments.gates import find_gates

RECIPE = {"size": 16, "mean": (0.0,) * 3, "std": (1.0,) * 3, "crop": 1.0}


KINDS = {
    "timm:legacy_seresnet18": (8, "Sigmoid", "layer1.0.se_module"),
    "timm:mobilenetv3_small_050": (9, "Hardsigmoid", "blocks.0.0.se"),
    "torchvision:mobilenet_v3_small": (9, "Hardsigmoid", "features.1.block.1"),
    "timm:regnety_002": (13, "Sigmoid", "s1.b1.se"),
    "timm:efficientnet_b0": (16, "Sigmoid", "blocks.0.0.se"),
    "timm:ecaresnet26t": (8, "Sigmoid", "layer1.0.se"),
    "microtome:mini_seresnet": (7, "Sigmoid", "layer1.0.se"),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_gate_of_a_library_is_found(name: str) -> None:
    """As many as the network has modules of that kind, each as wide as what it multiplies."""
    net = mt.open(name, weights=None, recipe={"size": 64})
    told, others = find_gates(net)
    count, form, first = KINDS[name]
    assert (len(told), told[0].form, told[0].name, others) == (count, form, first, ())
    assert all(net.layer(gate.watch).order == gate.order for gate in told)
    assert [gate.order for gate in told] == sorted(gate.order for gate in told)


def test_the_channel_part_of_cbam() -> None:
    net = mt.open("timm:resnet10t", weights=None, block_args={"attn_layer": "cbam"}, recipe={"size": 64})
    told, _ = find_gates(net)
    assert len(told) == 4 and all(gate.name.endswith("se.channel") for gate in told)


def test_the_values_of_a_gate_without_a_module_are_those_that_multiply() -> None:
    net = mt.open(made(), recipe=RECIPE)
    (gate,), others = find_gates(net)
    assert (gate.watch, gate.units, others) == ("excite", 4, ())
    kept: dict[str, Tensor] = {}
    with mt.specimen.watch(net, [gate.watch], each=lambda name, value: kept.update({name: value})):
        net.run(torch.rand(3, 3, 16, 16))
    assert torch.equal(gate.values(kept["excite"]), torch.sigmoid(kept["excite"]))
    with pytest.raises(SpecimenError, match=r"excite gives \(3, 3\), from which the 4 gates of"):
        gate.values(kept["excite"][:, :3])


def test_two_gates_in_one_module_are_numbered_in_execution_order() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.one, self.two = nn.Conv2d(3, 4, 3), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            x = x * torch.sigmoid(self.one(x.mean((2, 3))))[:, :, None, None]
            x = x * torch.tanh(self.two(x.amax((2, 3))))[:, :, None, None]
            return x * x.mean((2, 3), keepdim=True)  # from no one layer

    found, others = find_gates(mt.open(Twice().eval(), recipe={"size": 16}))
    assert [(gate.watch, gate.name) for gate in found] == [("one", "one"), ("two", "two")]
    assert [gate.form.split(" + ")[0] for gate in found] == ["sigmoid", "tanh"]
    assert others == ("the network itself",)
