"""Three repairs of a network without some of its blocks: norms estimated again, linear maps in their place, a short fine-tune.

Norms: the running statistics of the norms after the first removed block are estimated again on the calibration images. Linear: in place of
each removed block stands the linear map of its input that comes nearest to what the block gave in the full network, by least squares over
all positions of the calibration images; of several blocks the first is fitted first, and the next on what it then gets. Fine-tune:
after the norms, all weights follow the full network's answers for the calibration images (no labels) by AdamW for a few steps.

Source: statistics as in `specimen.calibration`; distillation, Hinton et al. 2015, arXiv:1503.02531; closed-form repair is ours.
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from microtome.instruments.prefix_runs import PrefixRuns
from microtome.networks.stand_ins import LinearBlock
from microtome.specimen import Specimen
from microtome.specimen.blocks import Unit
from microtome.specimen.calibration import estimate_statistics
from microtome.specimen.outputs import output_tensors

SHRINK = 1e-6  # of the mean variance of the inputs, added to each, so that the equations have one answer
RATE = 5e-4  # of AdamW at its peak
AT_ONCE = 32  # images in a step


def estimate_norms(net: nn.Module, runs: PrefixRuns, unit: Unit) -> int:
    """Estimate the statistics of the norms of `net` after that block on the images of `runs`, in place; how many were reached."""
    begun = unit.entry.begun
    later = {call.path for call in runs.trace.calls if call.begun >= begun}
    modules = [module for path, module in net.named_modules() if path in later]
    return estimate_statistics(net, runs.inputs(net), modules)


def fit_linear(net: nn.Module, specimen: Specimen, runs: PrefixRuns, units: Sequence[Unit]) -> None:
    """Fit the linear maps in `net` that stand in place of these blocks, in execution order, in place."""
    for unit in units:
        stand_in = net.get_submodule(_first_path(net, unit))
        assert isinstance(stand_in, LinearBlock)
        sums = [_Sums() for _ in stand_in.maps]
        wanted: list[list[Tensor]] = []
        with torch.no_grad():
            for x in runs.inputs(specimen.net):
                wanted.append(_given(specimen.net, unit, x))
            for x, targets in zip(runs.inputs(net), wanted, strict=True):
                given = _taken(net, stand_in, x)
                for total, x_in, x_out in zip(sums, given, targets, strict=True):
                    total.add(_rows(x_in, stand_in.channels_first), _rows(x_out, stand_in.channels_first))
            for total, layer in zip(sums, stand_in.maps, strict=True):
                _set_map(cast(Any, layer), *total.solution())


def fine_tune(
    net: nn.Module, specimen: Specimen, batches: Sequence[Tensor], steps: int, seed: int = 0, rate: float = RATE, train_norms: bool = False
) -> None:  # fmt: skip
    """Train all weights of `net` in place to answer for these images as the specimen does.

    Norms keep their statistics, unless `train_norms` lets them take those of each batch, as in training.
    """
    x = torch.cat(list(batches))
    with torch.no_grad():
        answers = torch.cat([_scores(specimen, specimen.net(part)) for part in batches])
    wanted = answers.softmax(1)
    generator = torch.Generator().manual_seed(seed)
    flags = [parameter.requires_grad for parameter in net.parameters()]
    net.requires_grad_(True)
    norms = [module for module in net.modules() if train_norms and isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.0)
    order = torch.randperm(len(x), generator=generator)
    place = 0
    with torch.inference_mode(False), torch.enable_grad():
        for step in range(steps):
            if place + AT_ONCE > len(order):
                order, place = torch.randperm(len(x), generator=generator), 0
            chosen = order[place : place + AT_ONCE]
            place += AT_ONCE
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, (step + 1) / 5) * 0.5 * (1 + math.cos(math.pi * step / steps))
            loss = nn.functional.cross_entropy(_scores(specimen, net(x[chosen])), wanted[chosen])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
    for norm in norms:
        norm.eval()
    for parameter, flag in zip(net.parameters(), flags, strict=True):
        parameter.grad = None
        parameter.requires_grad_(flag)


class _Sums:
    """Sums in float64 that a least-squares fit with a constant needs."""

    def __init__(self) -> None:
        self.count = 0
        self.totals: dict[str, Tensor] = {}

    def add(self, x: Tensor, y: Tensor) -> None:
        """Add rows (position, unit) of inputs and of what they should become."""
        x, y = x.cpu().double(), y.cpu().double()
        parts = {"x": x.sum(0), "y": y.sum(0), "xx": x.T @ x, "xy": x.T @ y}
        self.count += len(x)
        for name, part in parts.items():
            self.totals[name] = self.totals[name] + part if name in self.totals else part

    def solution(self) -> tuple[Tensor, Tensor]:
        """The map (output, input) and its constant (output,)."""
        mean_x, mean_y = self.totals["x"] / self.count, self.totals["y"] / self.count
        square = self.totals["xx"] / self.count - torch.outer(mean_x, mean_x)
        cross = self.totals["xy"] / self.count - torch.outer(mean_x, mean_y)
        square.diagonal().add_(SHRINK * square.diagonal().mean().clamp_min(1e-12))
        weight = torch.linalg.solve(square, cross).T
        return weight, mean_y - weight @ mean_x


def _first_path(net: nn.Module, unit: Unit) -> str:
    return unit.entry.path if isinstance(net.get_submodule(unit.entry.path), LinearBlock) else unit.path


def _given(net: nn.Module, unit: Unit, x: Tensor) -> list[Tensor]:
    """What a block gives for one batch."""
    kept: list[Tensor] = []

    def look(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if not kept:
            kept.extend(tensor.clone() for tensor in output_tensors(output))

    handle = net.get_submodule(unit.exit.path).register_forward_hook(look)
    try:
        net(x)
    finally:
        handle.remove()
    return kept


def _taken(net: nn.Module, stand_in: LinearBlock, x: Tensor) -> list[Tensor]:
    """What the linear maps of a stand-in get for one batch."""
    kept: list[Tensor] = []
    handles = [
        layer.register_forward_pre_hook(lambda _module, inputs: kept.append(inputs[0].clone())) for layer in stand_in.maps
    ]
    try:
        net(x)
    finally:
        for handle in handles:
            handle.remove()
    return kept[: len(stand_in.maps)]


def _rows(value: Tensor, channels_first: bool) -> Tensor:
    return value.movedim(1, -1).flatten(0, -2) if channels_first else value.flatten(0, -2)


def _set_map(layer: Any, weight: Tensor, constant: Tensor) -> None:
    layer.weight.copy_(weight.reshape(layer.weight.shape))
    layer.bias.copy_(constant)


def _scores(specimen: Specimen, output: Any) -> Tensor:
    return specimen.class_scores(specimen.pick(output)).float()
