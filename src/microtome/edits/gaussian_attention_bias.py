"""Adds a learned Gaussian distance bias to the logits of every self-attention.

A² · exp(-d² / 2σ²), d in patches, with one A and one σ for each layer, shared over heads, beside a learned relative bias where there is
one. It starts at A = 2 and σ = 5, as in the paper, which changes what the network computes: train afterwards. Neither A nor σ has an
axis, so that neither decays under timm's rule or `microtome.param_groups`.

`amplitude=0` leaves the function as it is. With A² such a start never leaves zero, for the square has no slope there; `form=plain` takes A
itself (which may then become a pit) and can be trained from zero: ours. Class and register tokens get no bias: the paper's networks
have none. Where the head reads the class token alone, the last block gets no bias: nothing would come of it, for its patches are not read.

It fits attention that takes a mask to add (timm's vision transformers, with and without class token, and Swin, window by window) and
timm's `rel_pos` tables, which are the paper's own networks.

Source: Kim et al. 2023, arXiv:2305.04722, eq. of the bias and its start; `form=plain` and what becomes of prefix tokens are ours.
"""

import inspect
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, final

from torch import nn

from microtome.edit import Edit, Preservation, option, replace_module
from microtome.instruments.attention import attention_paths, token_grid
from microtome.networks.attention_bias import BiasedAttention, BiasedTable, GaussianBias
from microtome.specimen import Specimen


@dataclass(frozen=True)
class _AttentionSite:
    """A module to wrap: its path, how it takes a bias, its grid, and the tokens before the grid."""

    path: str
    word: Literal["attn_mask", "mask", "rel_pos"]
    grid: tuple[int, int]
    prefix: int


@final
class GaussianAttentionBias(Edit):
    """A learnable hill over offsets in every self-attention."""

    title = "Gaussian attention bias"

    amplitude: float = option(2.0, "initial A", low=0.0, high=100.0)
    sigma: float = option(5.0, "initial σ, patches", low=0.1, high=1000.0)
    form: Literal["squared", "plain"] = option("squared", "amplitude of the bias: A² (never negative), or A itself")

    def refusal(self, specimen: Specimen) -> str:
        if not attention_paths(specimen.net):
            return "it has no attention over positions"
        if getattr(specimen.net, "dynamic_img_size", False):
            return "it takes images of any size (dynamic_img_size), and the bias is made for one grid"
        if not _attention_sites(specimen):
            return "none of its attention modules takes a mask or a relative bias on a grid that is known"
        return ""

    def operate(self, net: nn.Module, specimen: Specimen) -> str:
        places = _attention_sites(specimen)
        for place in places:
            module = net.get_submodule(place.path)
            bias = GaussianBias(place.grid, place.prefix, self.amplitude, self.sigma, self.form)
            replace_module(
                net,
                place.path,
                BiasedTable(module, bias) if place.word == "rel_pos" else BiasedAttention(module, bias, place.word),
            )
        many = len(places) > 1
        start = f"A = {self.amplitude:g} and σ = {self.sigma:g} patches"
        return f"put {len(places)} Gaussian bias{'es' if many else ''} into the attention, {start}{' each' if many else ''}"

    def preserves(self, specimen: Specimen) -> Preservation:
        if self.amplitude == 0:
            stays = ", and stays so in training: take form=plain to train it" if self.form == "squared" else ""
            return Preservation("exactly", f"the hill starts flat{stays}")
        return Preservation("no", "near tokens are looked at more from the start")


def _attention_sites(specimen: Specimen) -> list[_AttentionSite]:
    """Where a bias can be added, in the order modules are registered."""
    calls = specimen.anatomy.trace.by_path()
    sites: list[_AttentionSite] = []
    for path in attention_paths(specimen.net):
        module = specimen.net.get_submodule(path)
        (call, *_) = calls.get(path) or [None]
        if call is None or not call.inputs or len(call.inputs[0]) != 3:
            continue
        tokens = token_grid(specimen, path, call.inputs[0][1])
        if tokens is None:
            continue
        own: Any = getattr(module, "rel_pos", None)
        words = inspect.signature(module.forward).parameters
        if own is not None and hasattr(own, "get_bias"):
            if prod(own.window_size) == prod(tokens.grid):
                sites.append(_AttentionSite(f"{path}.rel_pos", "rel_pos", tokens.grid, tokens.prefix))
        elif "attn_mask" in words and not isinstance(module, nn.MultiheadAttention):
            sites.append(_AttentionSite(path, "attn_mask", tokens.grid, tokens.prefix))
        elif "mask" in words and hasattr(module, "window_size"):
            sites.append(_AttentionSite(path, "mask", tokens.grid, 0))
    idle = sites and sites[-1].prefix > 0 and getattr(specimen.net, "global_pool", "") == "token"
    return sites[:-1] if idle else sites
