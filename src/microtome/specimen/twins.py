"""The untrained twin of a network: the same architecture with fresh, seeded weights, as a null for every measurement.

The weights come from the architecture's own maker with everything that brings trained weights switched off; where nobody can build it
again, or what was built is not fresh, from each module's own initialiser; where a tensor has none, from its own mean and spread. In
the end every learnt tensor is compared with the original's, and what could not be drawn anew is named.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import nn

from microtome.errors import BadOption, option_hint
from microtome.key_numbers import FRACTION, format_value
from microtome.prose import agree, plural
from microtome.specimen.copying import copy_network
from microtome.specimen.layers import device_of, is_norm
from microtome.specimen.learnt_tensors import (
    alike,
    fixed_tables,
    fraction_of_weights,
    is_number,
    learnt_tensors,
    unchanged_tensors,
    varying,
)
from microtome.specimen.own_initialisers import initialise
from microtome.specimen.plain_weights import plain_copy, take_from_plain
from microtome.specimen.seeding import seed_generators

TWIN_IMAGES = 64  # that each of them sees in a scan: five times 64 cost about what two and a half times 128 did
TWIN_COUNT = 5  # untrained twins that a verdict rests on, unless a run asks for another number
MIN_TWINS, MAX_TWINS = 2, 100  # nothing is concluded from one; 0 asks for none


def check_twins(count: int) -> None:
    """Raises BadOption for a number of twins that nothing can be concluded from, or that takes for ever; 0 is none."""
    if count and not MIN_TWINS <= count <= MAX_TWINS:
        raise BadOption(
            f"twins is {count}; a verdict takes {MIN_TWINS} to {MAX_TWINS} untrained twins, and 0 compares with none. "
            f"Try {option_hint('twins', TWIN_COUNT)}, the default."
        )


class Maker(Protocol):
    """Whatever can build the same architecture again."""

    @property
    def draws_from_seed(self) -> bool:
        """Whether it is known to draw all weights from the global generators: a library's, not the user's own code."""
        ...

    def fresh(self, seed: int) -> nn.Module:
        """The architecture with new weights drawn under `seed`, no residual branch switched off."""
        ...

    def json(self) -> dict[str, Any]:
        """How to build the architecture again, as plain values: what to open, with which options, after which edits."""
        ...


@dataclass(frozen=True)
class Fresh:
    """A network with fresh weights, how they were drawn, and the names of learnt tensors that stayed as they were."""

    net: nn.Module
    notes: tuple[str, ...]
    unchanged: tuple[str, ...] = ()


def draw_network(net: nn.Module, maker: Maker | None, seed: int) -> Fresh:
    """The same architecture with fresh weights on the same device, verified: nothing that was learnt is left in it."""
    inner = twin_seed(seed)
    notes, fixed = list[str](), list[str]()
    fresh = None if maker is None else maker.fresh(inner)
    if fresh is not None and _structure(fresh) != _structure(net):
        fresh, notes = None, ["Its maker builds another structure now, so a copy was redrawn, module by module."]
    if fresh is None or maker is None:
        fresh = copy_network(net).cpu()
        notes += redraw(fresh, inner)
    else:
        stale, fixed = _not_drawn(
            fresh, None if maker.draws_from_seed else maker.fresh(inner ^ 1), unchanged_tensors(net, fresh)
        )
        notes += _redraw_only(fresh, stale, inner)
    if stale := [name for name in unchanged_tensors(net, fresh) if name not in fixed]:
        notes += _draw_from_spread(fresh, stale, inner)
        stale = [name for name in unchanged_tensors(net, fresh) if name not in fixed]
    fresh = _like(fresh, net)
    if stale:
        notes.append(
            f"{plural(len(stale), 'tensor')} could not be drawn anew and {agree(len(stale), 'is', 'are')} as in the original: "
            f"{_some(stale)} "
            f"({format_value(fraction_of_weights(net, stale), FRACTION)} of the weights)."
        )
    return Fresh(fresh, (*notes, *silent_branches_notes(fresh)), tuple(stale))


def twin_seed(seed: int) -> int:
    """The seed that a twin's generators start at: far from the small numbers that networks and scripts seed themselves with."""
    return int.from_bytes(hashlib.sha256(f"untrained twin {seed}".encode()).digest()[:7], "big")


def untrained_network(build: Callable[[int], nn.Module], seed: int) -> tuple[nn.Module, list[str]]:
    """What the user's own `build` gives under a seed, with everything redrawn that another seed does not change; and how, in words."""
    net = build(seed)
    stale, _ = _not_drawn(net, build(seed ^ 1), [])
    return net, _redraw_only(net, stale, twin_seed(seed))


def _not_drawn(net: nn.Module, other: nn.Module | None, alike_original: Sequence[str]) -> tuple[list[str], list[str]]:
    """The tensors that do not depend on the seed, or are the original's; and those of them that are fixed by design.

    `other` is the same network under another seed, None where the maker is known to draw everything.
    """
    same = [] if other is None else unchanged_tensors(net, other)
    candidates = list(dict.fromkeys([*same, *alike_original]))
    fixed = [] if same and len(same) == len(varying(net)) else fixed_tables(net, candidates)
    return [name for name in candidates if name not in fixed], fixed


def _redraw_only(net: nn.Module, names: Sequence[str], seed: int) -> list[str]:
    """Draw these tensors anew, in place, by the modules' own initialisers; how, in words."""
    if not names:
        return []
    before = {name: value.detach().clone() for name, value in learnt_tensors(net).items()}
    other = copy_network(net)
    redraw(other, seed)
    new = learnt_tensors(other)
    with torch.no_grad():
        for name, value in learnt_tensors(net).items():
            if name in names:
                value.copy_(new[name])
    stale = [name for name in names if alike(before[name], learnt_tensors(net)[name])]
    return [
        f"{len(names)} of {plural(len(before), 'tensor')} do not depend on the seed (the factory brings trained "
        f"weights, or seeds itself), so "
        f"they were drawn anew, module by module: {_some(names)}.",
        *_draw_from_spread(net, stale, seed),
    ]


def redraw(net: nn.Module, seed: int) -> list[str]:
    """Draw all weights anew, in place: by each module's own initialiser, else from a tensor's own mean and spread; how, in words."""
    with torch.inference_mode(False), torch.no_grad(), seed_generators(seed, alone=True):
        before = {name: value.detach().clone() for name, value in learnt_tensors(net).items()}
        plain = plain_copy(net)
        failed = initialise(plain)
        take_from_plain(net, plain)
        now = learnt_tensors(net)
        stale = [name for name, value in before.items() if alike(value, now[name])]
    notes = [f"The initialiser of {plural(len(failed), 'module')} failed: {_some(failed)}."] if failed else []
    return notes + _draw_from_spread(net, stale, seed)


def _draw_from_spread(net: nn.Module, names: Sequence[str], seed: int) -> list[str]:
    """Draw these tensors from their own mean and standard deviation, in place, as far as they can be written to."""
    generator = torch.Generator().manual_seed(seed)
    tensors, drawn = learnt_tensors(net), list[str]()
    with torch.inference_mode(False), torch.no_grad():
        for name in names:
            value = tensors[name]
            if not (value.is_floating_point() or value.is_complex()) or value.is_meta:
                continue
            parts = (
                torch.view_as_real(value.cpu().to(torch.complex64)) if value.is_complex() else value.cpu().float()[..., None]
            )
            axes = tuple(range(parts.dim() - 1))
            noise = torch.randn(parts.shape, generator=generator)
            parts = noise * parts.std(axes, correction=0) + parts.mean(axes)
            value.copy_(torch.view_as_complex(parts.contiguous()) if value.is_complex() else parts[..., 0])
            drawn.append(name)
    if not drawn:
        return []
    return [
        f"{plural(len(drawn), 'parameter')} without an initialisation of their own were drawn from their own mean and "
        f"spread: {_some(drawn)}."
    ]


def _structure(net: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, tuple(value.shape)) for name, value in net.named_parameters()]


def _like(fresh: nn.Module, net: nn.Module) -> nn.Module:
    """`fresh` in eval mode, on the device, in the precision and with the frozen parameters of `net`."""
    fresh = fresh.eval().to(device_of(net))
    own = learnt_tensors(net)
    for name, value in learnt_tensors(fresh).items():
        if name in own and is_number(value):
            if value.dtype != own[name].dtype:
                value.data = value.data.to(own[name].dtype)
            if isinstance(value, nn.Parameter):
                value.requires_grad_(own[name].requires_grad)
    return fresh


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (", …" if len(names) > 6 else "")


def silent_branches_notes(net: nn.Module) -> list[str]:
    """Notes about residual branches that are switched off: last norms whose weight is zero, layer scales near zero."""
    norms = [
        (name, module)
        for name, module in net.named_modules()
        if is_norm(module) and getattr(module, "weight", None) is not None
    ]
    zero = [name for name, module in norms if not bool(cast(Any, module).weight.any())]
    notes: list[str] = []
    if zero:
        notes.append(
            f"{len(zero)} of {plural(len(norms), 'norm')} have a weight that is zero everywhere (first: {zero[0]}): what ends in them "
            "adds nothing, so of those blocks only the shortcuts pass."
        )
    scales = [
        name
        for name, value in net.named_parameters()
        if value.ndim <= 4
        and name.rpartition(".")[2] in ("gamma", "gamma_1", "gamma_2", "layer_scale", "lambda1")
        and 0 < float(value.detach().abs().max()) < 1e-3
    ]
    if scales:
        notes.append(f"{len(scales)} layer scales are below 0.001 (first: {scales[0]}): those branches add nearly nothing.")
    return notes
