"""Effective receptive field of the middle position of ResNet-50's last stage, 8 images of 224 px, against a bare pass forward and back."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

import microtome
from benchmarks.timing import Disagreement, Plan, Result, interleaved, row
from microtome.instruments.input_gradients import input_gradients, mean_over_units
from microtome.numerics.receptive.effective import sum_gradients

TITLE = "Effective receptive field, ResNet-50, 224 px, 8 images"
TIMED = (
    "From 8 normalised images to the summed field. Ours: `input_gradients` and `sum_gradients` on "
    "`specimen.on(device)`, what the erf analysis "
    "calls for each batch. Bare: the network's own forward pass with one hook and `torch.autograd.grad` of the same position by the "
    "input, in the same memory layout, parameters frozen, nothing else. Building and copying the network is timed for nobody."
)
LIMIT = 1e-5  # largest difference of two fields, as a fraction of the maximum
MOST = 1.15  # times the bare passes
STAGES = ("layer1", "layer2", "layer3", "layer4")
CELLS = {"layer1": (27, 27), "layer2": (13, 13), "layer3": (6, 6), "layer4": (3, 3)}


def run(plan: Plan) -> Result:
    """Rows for one layer and for all four stages in one forward pass."""
    specimen = microtome.open("timm:resnet50", weights=None, zero_init_last=False)
    worker = specimen.on(plan.device)
    x = torch.randn(8, 3, 224, 224, generator=torch.Generator().manual_seed(0)).to(plan.device)
    x = x.contiguous(memory_format=torch.channels_last)
    plain = copy.deepcopy(worker.net).requires_grad_(False)
    result = Result("erf", TITLE, TIMED)
    contenders: dict[str, Any] = {
        "ours, layer4": lambda: ours(worker, x, ("layer4",)),
        "bare, layer4": lambda: bare(plain, x, ("layer4",)),
        "ours, four stages": lambda: ours(worker, x, STAGES),
        "bare, four stages": lambda: bare(plain, x, STAGES),
    }
    apart = 0.0
    for kind in ("layer4", "four stages"):
        one, other = contenders[f"ours, {kind}"](), contenders[f"bare, {kind}"]()
        for name, field in one.items():
            apart = max(apart, float((field - other[name]).abs().max() / field.max()))
    if not apart <= LIMIT:
        raise Disagreement(f"The fields differ by {apart:.2g} of their maximum (allowed: {LIMIT:.0e}).")
    taken = interleaved(plan, contenders, 2 if plan.quick else plan.rounds)
    for kind in ("layer4", "four stages"):
        made = row(f"field of {kind}", taken, f"ours, {kind}", f"bare, {kind}", MOST, inverse=True)
        result.rows.append(made)
    result.notes.append(f"All fields agree: largest difference {apart:.1e} of the maximum.")
    result.details = {"seconds": taken, "largest_difference": apart}
    return result


def ours(worker: microtome.Specimen, x: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
    fields: dict[str, Tensor] = {}

    def each(name: str, slope: Tensor) -> None:
        fields[name] = sum_gradients(slope, "relu")

    input_gradients(worker, x, {name: mean_over_units(CELLS[name]) for name in names}, each)
    return fields


def bare(net: nn.Module, x: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
    kept: dict[str, Tensor] = {}
    handles = [
        net.get_submodule(name).register_forward_hook(lambda _m, _i, value, name=name: kept.update({name: value}))
        for name in names
    ]
    pixels = x.clone().requires_grad_()
    net(pixels)
    for handle in handles:
        handle.remove()
    fields: dict[str, Tensor] = {}
    for place, name in enumerate(names):
        row_, col = CELLS[name]
        target = kept[name][:, :, row_, col].mean(1).sum()
        (slope,) = torch.autograd.grad(target, pixels, retain_graph=place + 1 < len(names))
        fields[name] = slope.double().mean(1).clamp_min(0).sum(0)
    return fields
