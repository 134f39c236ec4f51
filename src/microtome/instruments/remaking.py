"""Layers rebuilt for their new input, after an earlier layer was removed from a network that is trained from scratch.

Convolutions, fully connected layers and batch norms that meet another number of units than they were made for are replaced by new
ones. Their first weights are drawn from a normal distribution with the spread that the old ones had, by fan-in: a layer with twice as
many inputs begins with weights √2 smaller.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from microtome.edit import replace_module
from microtome.errors import Uneditable

UNIT_MODULES = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)


class _Misfit(Exception):
    def __init__(self, path: str, units: int) -> None:
        super().__init__(path)
        self.path, self.units = path, units


def remake_layers(net: nn.Module, example: Tensor, generator: torch.Generator) -> list[str]:
    """The paths of the layers of `net` that were replaced in place, so that `example` (image, rgb, row, col) goes through it.

    Raises:
        Uneditable: a grouped convolution meets another number of units, or what does not fit are two things to be joined.
    """
    layers: list[str] = []
    while (misfit := _first_misfit(net, example)) is not None:
        if misfit.path in layers:
            raise Uneditable(f"'{misfit.path}' is called with several numbers of units, so that no new layer fits all.")
        replace_module(net, misfit.path, _with_inputs(net.get_submodule(misfit.path), misfit, generator))
        layers.append(misfit.path)
    return layers


def _first_misfit(net: nn.Module, example: Tensor) -> _Misfit | None:
    def check(path: str) -> Any:
        def hook(module: nn.Module, given: tuple[Tensor, ...]) -> None:
            units = given[0].shape[-1 if isinstance(module, nn.Linear) else 1]
            if units != _input_count(module):
                raise _Misfit(path, units)

        return hook

    held = [
        module.register_forward_pre_hook(check(path))
        for path, module in net.named_modules()
        if isinstance(module, UNIT_MODULES)
    ]
    training = net.training
    try:
        with torch.no_grad():
            net.eval()(example)
    except _Misfit as misfit:
        return misfit
    except RuntimeError as error:
        raise Uneditable(
            "The remaining layers do not fit together: a removed layer was added or concatenated to one that remains, as residual networks "
            f"do where the number of units changes ({str(error).splitlines()[0]})."
        ) from error
    finally:
        for handle in held:
            handle.remove()
        net.train(training)
    return None


def _input_count(module: Any) -> int:
    if isinstance(module, nn.Conv2d):
        return module.in_channels
    return module.in_features if isinstance(module, nn.Linear) else module.num_features


def _with_inputs(old: Any, misfit: _Misfit, generator: torch.Generator) -> nn.Module:
    """A layer as `old`, for `misfit.units` inputs."""
    if isinstance(old, nn.BatchNorm2d):
        return nn.BatchNorm2d(misfit.units, old.eps, old.momentum, old.affine, old.track_running_stats)
    if isinstance(old, nn.Linear):
        new: nn.Conv2d | nn.Linear = nn.Linear(misfit.units, old.out_features, old.bias is not None)
    elif old.groups > 1:
        raise Uneditable(
            f"'{misfit.path}' works on {old.groups} groups of units, and would get {misfit.units} units instead of {old.in_channels}."
        )
    else:
        new = nn.Conv2d(
            misfit.units, old.out_channels, old.kernel_size, old.stride, old.padding, old.dilation, 1, old.bias is not None,
            old.padding_mode,
        )  # fmt: skip
    with torch.no_grad():
        spread = float(old.weight.std()) * math.sqrt(_input_count(old) / misfit.units)
        new.weight.normal_(0.0, spread, generator=generator)
        if new.bias is not None:
            new.bias.copy_(old.bias)
    return new
