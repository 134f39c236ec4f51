"""The untrained twin of a network: the same architecture with fresh, seeded weights, as a null for every measurement."""

import copy
import inspect
import random
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import nn

from microtome.specimen.layers import device_of, is_norm


@contextmanager
def seed_generators(seed: int) -> Generator[None]:
    """Inside, the global generators that constructors draw from start at `seed`; afterwards they are as before."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)


class Maker(Protocol):
    """Whatever can build the same architecture again."""

    def fresh(self, seed: int) -> nn.Module:
        """The architecture with new weights drawn under `seed`, no residual branch switched off."""
        ...

    def json(self) -> dict[str, Any]:
        """How to build the architecture again, as plain values: what to open, with which options, after which edits."""
        ...


def fresh_network(net: nn.Module, maker: Maker | None, seed: int) -> tuple[nn.Module, list[str]]:
    """The same architecture with fresh weights, on the same device, and notes about how the weights were drawn."""
    fresh, notes = (maker.fresh(seed), list[str]()) if maker is not None else (None, [])
    if fresh is None or _same_weights(fresh, net):  # a factory that seeds itself gives the same weights again
        fresh = copy.deepcopy(net).cpu()
        notes = reinitialise(fresh, seed)
    fresh = fresh.eval().to(device_of(net))
    return fresh, notes + silent_branches_notes(fresh)


def _same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Whether both have parameters and all of them are equal."""
    pairs = list(zip(one.parameters(), other.parameters(), strict=False))
    return bool(pairs) and all(torch.equal(left.detach().cpu(), right.detach().cpu()) for left, right in pairs)


def reinitialise(net: nn.Module, seed: int) -> list[str]:
    """Notes about how; changes `net` in place: each module's own initialisation, single parameters from their own spread."""
    drawn: set[int] = set()
    single: list[str] = []
    generator = torch.Generator().manual_seed(seed)
    with seed_generators(seed), torch.no_grad():
        for module in net.modules():
            reset = _reset_method(module)
            if reset is not None:
                reset()
                drawn |= {id(parameter) for parameter in module.parameters(recurse=isinstance(module, nn.MultiheadAttention))}
        for name, parameter in net.named_parameters():
            if id(parameter) in drawn or not parameter.is_floating_point():
                continue
            if not bool((parameter == parameter.flatten()[0]).all()):  # a constant stays what it is
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(noise.mul_(float(parameter.std())).add_(float(parameter.mean())))
            single.append(name)
    if not single:
        return []
    shown = ", ".join(single[:6]) + (", …" if len(single) > 6 else "")
    return [
        f"{len(single)} parameters without an initialisation of their own were drawn from their own mean and spread: {shown}."
    ]


def _reset_method(module: nn.Module) -> Any:
    """The module's own way to initialise itself without arguments, None where it has none."""
    reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
    if not callable(reset) or isinstance(module, nn.Transformer):
        return None
    wanted = inspect.signature(cast(Any, reset)).parameters.values()
    return None if any(each.default is each.empty and each.kind in (0, 1, 3) for each in wanted) else reset


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
            f"{len(zero)} of {len(norms)} norms have a weight that is zero everywhere (first: {zero[0]}): what ends in them "
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
