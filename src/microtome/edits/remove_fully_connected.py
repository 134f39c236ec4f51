"""Removes fully connected layers before the head; the next one is made anew.

A layer goes with the activation and the dropout that follow it. Where the next layer then gets another number of units, it is made
anew with random first weights of the spread that the old ones had, so the network wants to be trained. Fully connected layers over tokens
belong to blocks: `remove_blocks`.

Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 5.1 and table 3.
"""

import fnmatch
from typing import ClassVar, final

import torch
from torch import nn

from microtome.edit import Edit, Preservation, option, replace_module
from microtome.errors import did_you_mean
from microtome.instruments.block_removal import unit_paths
from microtome.instruments.remaking import remake_layers
from microtome.prose import name_list, plural
from microtome.specimen import Specimen
from microtome.specimen.blocks import Unit
from microtome.specimen.layers import head_path, kind_of
from microtome.specimen.tracing import Call, example_input


@final
class RemoveFullyConnected(Edit):
    """Fully connected layers removed."""

    title: ClassVar[str] = "Fully connected layers removed"
    lead: ClassVar[str] = "at"

    at: tuple[str, ...] = option((), "fully connected layers to remove: names or globs")

    def refusal(self, specimen: Specimen) -> str:
        names = [unit.path for unit in _connected_units(specimen)]
        if not names:
            return "it has no fully connected layer of whole images before its head"
        if not self.at:
            return f"no layer is named; its fully connected layers before the head are {name_list(names, 12)}"
        for pattern in self.at:
            if not fnmatch.filter(names, pattern):
                near = did_you_mean(pattern, names) or f" There are {', '.join(names)}"
                return f"no fully connected layer before its head is called '{pattern}'.{near}".rstrip(".")
        return ""

    def with_choices(self, specimen: Specimen) -> "RemoveFullyConnected":
        return RemoveFullyConnected(at=tuple(unit.path for unit in self._units(specimen)))

    def operate(self, net: nn.Module, specimen: Specimen) -> str:
        units = self._units(specimen)
        for path in dict.fromkeys(path for unit in units for path in unit_paths(specimen, unit)):
            replace_module(net, path, nn.Identity())
        remade = remake_layers(net, example_input(net, specimen.recipe), torch.Generator().manual_seed(0))
        anew = f", and made {name_list(remade, 4)} anew" if remade else ""
        return f"removed {plural(len(units), 'fully connected layer')} ({name_list([unit.path for unit in units], 8)}){anew}"

    def preserves(self, specimen: Specimen) -> Preservation:
        return Preservation("no", "what the removed layers computed is missing")

    def _units(self, specimen: Specimen) -> list[Unit]:
        return [unit for unit in _connected_units(specimen) if any(fnmatch.fnmatchcase(unit.path, each) for each in self.at)]


def _connected_units(specimen: Specimen) -> list[Unit]:
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
