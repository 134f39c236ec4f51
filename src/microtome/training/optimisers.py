"""Update rules, parameter groups and the course of the learning rate.

Source: Loshchilov & Hutter 2019, arXiv:1711.05101 (AdamW); Liu et al. 2025, arXiv:2502.16982 (Muon and its rate relative to AdamW's);
Loshchilov & Hutter 2017, arXiv:1608.03983 (cosine); Smith & Topin 2018, arXiv:1708.07120 (one cycle).
"""

import math
from typing import Any

import torch
from torch import nn

from microtome.errors import BadOption, MissingExtra
from microtome.instruments.weight_decay import param_groups
from microtome.specimen import Specimen
from microtome.training.recipe import OptimiserChoice

STEP_FACTOR = 0.1  # at each milestone of the schedule "step"
ONE_CYCLE_START, ONE_CYCLE_END = 25.0, 1e4  # the first rate is the highest / 25, the last that / 1e4, as in torch's OneCycleLR


def rate_factor(choice: OptimiserChoice, step: int, steps: int) -> float:
    """The learning rate of update `step` (counted from 0) of `steps`, as a fraction of the highest."""
    if choice.schedule == "one_cycle":
        return _one_cycle(choice.warmup, step, steps)
    warm = round(choice.warmup * steps)
    if step < warm:
        return (step + 1) / warm
    if choice.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
    if choice.schedule == "step":
        return STEP_FACTOR ** sum(step >= milestone * steps for milestone in choice.milestones)
    return 1.0


def _one_cycle(warmup: float, step: int, steps: int) -> float:
    """Half a cosine up over the first part, half a cosine down over the rest."""
    top, last = warmup * steps - 1, steps - 1
    low, end = 1 / ONE_CYCLE_START, 1 / ONE_CYCLE_START / ONE_CYCLE_END
    if step <= top:
        return _between(low, 1.0, step / top if top > 0 else 1.0)
    return _between(1.0, end, (step - top) / max(1e-12, last - top))


def _between(start: float, end: float, fraction: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * min(1.0, fraction)))


def parameter_groups(specimen: Specimen, choice: OptimiserChoice) -> list[dict[str, Any]]:
    """Groups of the trainable parameters, with and without weight decay, none empty."""
    if choice.decay == "auditor":
        return param_groups(specimen, choice.weight_decay)
    named = {name: parameter for name, parameter in specimen.net.named_parameters() if parameter.requires_grad}
    spared: Any = getattr(specimen.net, "no_weight_decay", tuple)
    decayed = [name for name, parameter in named.items() if parameter.ndim >= 2 and name not in set(spared())]
    if choice.decay == "all":
        decayed = list(named)
    groups = [
        {"params": [named[name] for name in decayed], "weight_decay": choice.weight_decay},
        {"params": [parameter for name, parameter in named.items() if name not in decayed], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def make_optimisers(specimen: Specimen, choice: OptimiserChoice) -> list[torch.optim.Optimizer]:
    """The optimisers of a recipe; Muon has the matrices between the first and the last layer, AdamW beside it all the rest.

    Raises: BadOption where Muon would have nothing to train; MissingExtra where torch has no Muon.
    """
    groups = parameter_groups(specimen, choice)
    if choice.name == "sgd":
        return [torch.optim.SGD(groups, lr=choice.lr, momentum=choice.momentum)]
    betas = (choice.momentum, 0.999)
    if choice.name == "adamw":
        return [torch.optim.AdamW(groups, lr=choice.lr, betas=betas)]
    if not hasattr(torch.optim, "Muon"):
        raise MissingExtra("Muon is part of torch from 2.9 on; install it with: pip install 'torch>=2.9'.")
    matrices = _inner_matrices(specimen)
    if not matrices:
        raise BadOption(
            f"Muon trains matrices between the first and the last layer, and {specimen.name} has none (kernels of convolutions are none); "
            "take optimiser.name = adamw or sgd."
        )
    inner = [{**group, "params": [each for each in group["params"] if id(each) in matrices]} for group in groups]
    outer = [{**group, "params": [each for each in group["params"] if id(each) not in matrices]} for group in groups]
    muon = torch.optim.Muon(
        [group for group in inner if group["params"]], lr=choice.lr, momentum=choice.momentum, adjust_lr_fn="match_rms_adamw"
    )
    return [muon, torch.optim.AdamW([group for group in outer if group["params"]], lr=choice.lr, betas=betas)]


def _inner_matrices(specimen: Specimen) -> set[int]:
    """The identities of the weight matrices of fully connected layers other than the head."""
    return {
        id(module.weight)
        for path, module in specimen.net.named_modules()
        if isinstance(module, nn.Linear) and path != specimen.head and module.weight.requires_grad
    }
