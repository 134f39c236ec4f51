"""A network with some of its layers removed: each is replaced by the identity, and later layers are rebuilt where the units change."""

from collections.abc import Sequence

import torch
from torch import nn

from microtome import networks
from microtome.edit import replace_module
from microtome.errors import Uneditable, UnknownName, did_you_mean
from microtome.instruments.block_removal import unit_paths
from microtome.instruments.remaking import remake_layers
from microtome.opening.opening import open as open_specimen
from microtome.specimen import Specimen
from microtome.specimen.blocks import Unit
from microtome.specimen.layers import head_path, kind_of
from microtome.specimen.tracing import Call


def removable_blocks(net: nn.Module) -> list[str]:
    """The names of the blocks of a small network whose output has the shape of their input, in execution order."""
    return [block.name for block in _open_network(net).blocks if block.keeps_shape]


def remove_blocks(net: nn.Module, names: Sequence[str], seed: int = 0) -> nn.Module:
    """`net` itself, after the named layers were replaced in place by the identity; what is left keeps its weights.

    A name is a block, or a fully connected layer between the last block and the one that answers. A block of a plain network is a
    convolution with the norm and activation that follow it; a fully connected layer goes with its activation and dropout. Where
    the number of units changes, the next layers are made anew for the units that they now get, with first weights drawn from `seed`.

    Raises:
        UnknownName: a name that is neither.
        Uneditable: it changes the sides of the maps, or what is left cannot be joined.
    """
    specimen = _open_network(net)
    paths = [path for name in names for path in unit_paths(specimen, _removable_unit(specimen, name))]
    for path in dict.fromkeys(paths):
        replace_module(net, path, nn.Identity())
    if paths:
        remake_layers(net, torch.zeros(2, 3, *networks.SIZE), torch.Generator().manual_seed(seed))
    return net


def _open_network(net: nn.Module) -> Specimen:
    """The network as a specimen; it is traced in eval mode and left in the mode that it was in."""
    training = net.training
    specimen = open_specimen(net.eval(), recipe={"size": networks.SIZE})
    assert specimen.blocks  # traced now, while it is in eval mode
    net.train(training)
    return specimen


def _removable_unit(specimen: Specimen, name: str) -> Unit:
    """The block or fully connected layer of that name, if it can go."""
    connected = _fully_connected(specimen)
    units = {unit.path: unit for unit in (*specimen.anatomy.units, *connected)}
    if name not in units:
        raise UnknownName(
            f"There is no block or fully connected layer '{name}' that could go.{did_you_mean(name, list(units))}"
        )
    unit = units[name]
    if unit not in connected and unit.entry.inputs[0][2:] != unit.exit.outputs[0][2:]:
        can = [
            path for path, held in units.items() if held in connected or held.entry.inputs[0][2:] == held.exit.outputs[0][2:]
        ]
        raise Uneditable(
            f"'{name}' cannot be removed: it changes the sides of the maps, so that all after it would see larger ones; "
            f"{', '.join(can) if can else 'no layer'} of this network can."
        )
    return unit


def _fully_connected(specimen: Specimen) -> list[Unit]:
    """Fully connected layers before the one that answers, each with the activation and dropout that follow it."""
    trace = specimen.anatomy.trace
    leaves = [call for call in trace.calls if next(call.module.children(), None) is None]
    head = head_path(trace)
    inside = tuple(f"{unit.path}." for unit in specimen.anatomy.units if unit.entry is unit.exit)
    units: list[Unit] = []
    for place, call in enumerate(leaves):
        if not isinstance(call.module, nn.Linear) or call.path == head or call.path.startswith(inside):
            continue
        if len(call.inputs[0]) != 2:  # of tokens, not of whole images
            continue
        last = place
        while last + 1 < len(leaves) and _is_activation(leaves[last + 1]):
            last += 1
        units.append(Unit(call.path, call, leaves[last], sum(parameter.numel() for parameter in call.module.parameters())))
    return units


def _is_activation(call: Call) -> bool:
    return kind_of(call.module) == "act" or isinstance(call.module, nn.Dropout)
