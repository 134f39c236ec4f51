"""Torch-Pruning by its own recipe, with nothing of ours: a copy of a network, one ratio for every group of channels.

The recipe is that of its README: `BasePruner`, `GroupMagnitudeImportance(p=2)` or `GroupTaylorImportance` after gradients of the loss on
labelled images, the classifier left out, widths rounded to a multiple (8; 4 where the narrowest layer has fewer than 32 channels, as
8 would then leave few choices), and numbers of heads given for transformers.
"""

import copy
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

import microtome as mt
from microtome.instruments.pruning.dependencies import torch_pruning

Criterion = Literal["magnitude", "Taylor"]
NARROW = 32  # channels of the narrowest layer below which widths are rounded to 4, not to 8


def prune_alone(
    specimen: mt.Specimen,
    net: nn.Module,
    ratio: float,
    criterion: Criterion,
    batches: Sequence[Tensor] = (),
    targets: Tensor | None = None,
) -> nn.Module:
    """A pruned copy of `net`, which is the specimen's network or that network without some of its blocks."""
    package: Any = torch_pruning()
    pruned = copy.deepcopy(net).cpu().eval()
    with warnings.catch_warnings(), torch.inference_mode(False), torch.enable_grad():
        warnings.simplefilter("ignore")
        pruned.requires_grad_(True)
        if criterion == "Taylor":
            assert targets is not None
            _add_gradients(specimen, pruned, batches, targets)
        importance = package.importance
        pruner = package.pruner.BasePruner(
            pruned, specimen.noise(2),
            importance=importance.GroupMagnitudeImportance(p=2) if criterion == "magnitude" else importance.GroupTaylorImportance(),
            pruning_ratio=ratio, ignored_layers=[pruned.get_submodule(specimen.head)] if specimen.head else [],
            num_heads=_head_numbers(pruned), round_to=rounding(net),
        )  # fmt: skip
        pruner.step()
    _set_head_numbers(pruned, pruner.num_heads)
    pruned.zero_grad()
    for parameter in pruned.parameters():
        parameter.grad = None
    return pruned.requires_grad_(False).eval()


def rounding(net: nn.Module) -> int:
    """The multiple that widths are rounded to."""
    widths = [module.out_channels for module in net.modules() if isinstance(module, nn.Conv2d)]
    return 8 if min(widths, default=NARROW) >= NARROW else 4


def _add_gradients(specimen: mt.Specimen, net: nn.Module, batches: Sequence[Tensor], targets: Tensor) -> None:
    start = 0
    for x in batches:
        scores = specimen.class_scores(specimen.pick(net(x)))
        nn.functional.cross_entropy(scores, targets[start : start + len(x)]).backward()
        start += len(x)


def _head_numbers(net: nn.Module) -> dict[nn.Module, int]:
    """The layers that give queries, keys and values, and how many heads read them."""
    fused = {module.qkv: module.num_heads for module in net.modules() if isinstance(getattr(module, "qkv", None), nn.Linear)}
    return {**fused, **{module: module.num_heads for module in net.modules() if isinstance(module, nn.MultiheadAttention)}}  # type: ignore[dict-item]


def _set_head_numbers(net: nn.Module, numbers: dict[nn.Module, int]) -> None:
    """What Torch-Pruning's example for timm's transformers does after pruning."""
    for module in net.modules():
        layer: Any = getattr(module, "qkv", None)
        if isinstance(layer, nn.Linear) and layer in numbers:
            attention: Any = module
            attention.num_heads, attention.attn_dim = numbers[layer], layer.out_features // 3
            attention.head_dim = attention.attn_dim // numbers[layer]
