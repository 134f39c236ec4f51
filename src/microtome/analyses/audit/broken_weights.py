"""MT0xx: weights that are broken. Exact, from the weights alone."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from microtome.analyses.audit.constants import nonzero_effects
from microtome.analyses.audit.rule import Fault, Rule, Subject
from microtome.numerics.weights.spectra import is_finite
from microtome.prose import name_list, plural
from microtome.specimen.layers import is_norm, is_weight


def check_not_finite(subject: Subject) -> Fault | None:
    """Parameters and buffers with NaN or infinity."""
    counts: dict[str, int] = {}
    state: dict[str, Tensor] = dict(subject.specimen.net.state_dict())
    for name, value in state.items():
        if value.is_floating_point() and not is_finite(value):
            path = name.rpartition(".")[0] or name
            counts[path] = counts.get(path, 0) + int((~torch.isfinite(value)).sum())
    if not counts:
        return None
    return Fault(
        tuple(counts), f"{plural(sum(counts.values()), 'value is', 'values are')} NaN or infinite, in {name_list(list(counts))}"
    )


def check_dead_units(subject: Subject) -> Fault | str | None:
    """Units of convolutions and linear maps whose weights are all zero."""
    if subject.specimen.trained is False:
        return "the weights are untrained, and heads often begin at zero"
    dead = {path: (rows == 0).all(1).nonzero().flatten().tolist() for path, rows in _rows(subject)}
    counts = {path: len(units) for path, units in dead.items()}
    fault = _unit_fault(subject, counts, "with only zero weights, so that they give a constant")
    return None if fault is None else _with_constants(subject, fault, dead)


def check_constant_units(subject: Subject) -> Fault | str | None:
    """Units whose weights all have one value other than zero."""
    if subject.specimen.trained is False:
        return "the weights are untrained, and some begin as constants"
    counts = {
        path: int(((rows.amin(1) == rows.amax(1)) & (rows[:, 0] != 0)).sum())
        for path, rows in _rows(subject)
        if rows.shape[1] > 1
    }
    return _unit_fault(subject, counts, "with one value for all their weights, which compute a plain sum")


def check_switched_off(subject: Subject) -> Fault | str | None:
    """Norms that multiply units by exactly zero."""
    if subject.specimen.trained is False:
        return "the weights are untrained, and norms at the end of branches often begin at zero"
    zero_units: dict[str, list[int]] = {}
    for path, module in subject.specimen.net.named_modules():
        scale = getattr(module, "weight", None)
        if is_norm(module) and isinstance(scale, Tensor) and bool((scale == 0).any()):
            zero_units[path] = (scale == 0).nonzero().flatten().tolist()
    if not zero_units:
        return None
    count = sum(map(len, zero_units.values()))
    fault = Fault(
        tuple(zero_units), f"{plural(count, 'unit is', 'units are')} multiplied by zero, in {name_list(list(zero_units))}"
    )
    ran = {call.path for call in subject.calls}
    return _with_constants(subject, fault, {path: units for path, units in zero_units.items() if path in ran})


def _with_constants(subject: Subject, fault: Fault, units: Mapping[str, Sequence[int]]) -> Fault:
    """The fault with how many of its units hand on a constant that reaches the outputs, and the repair that keeps it."""
    held = {path: count for path, some in units.items() if (count := nonzero_effects(subject, path, some))}
    if not held:
        return replace(fault, evidence=f"{fault.evidence}; without them the outputs stay what they are")
    worst = max(held, key=lambda path: held[path])
    count = sum(held.values())
    return replace(
        fault,
        evidence=f"{fault.evidence}; {count} of them {'hands' if count == 1 else 'hand'} on a constant that reaches the outputs, "
        f"most, {held[worst]}, in {worst}",
        fix="Remove the units; where they hand on a constant (a bias that survives the activation), add it times the weights that read "
        "it to the biases of the layers that do, or removal changes the outputs.",
    )


def _rows(subject: Subject) -> list[tuple[str, Tensor]]:
    """Path and weights (unit, inputs) of every convolution and linear map that runs and is finite."""
    ran = {call.path for call in subject.calls}
    rows_by_path: list[tuple[str, Tensor]] = []
    for path, module in subject.specimen.net.named_modules():
        weight = getattr(module, "weight", None)
        if path in ran and is_weight(module) and isinstance(weight, Tensor) and weight.ndim >= 2 and weight.is_floating_point():
            turned = isinstance(module, nn.modules.conv._ConvTransposeNd) and module.groups == 1  # pyright: ignore[reportPrivateUsage]
            rows = (weight.transpose(0, 1) if turned else weight).detach().flatten(1)
            if is_finite(rows):
                rows_by_path.append((path, rows))
    return rows_by_path


def _unit_fault(subject: Subject, counts: dict[str, int], what: str) -> Fault | None:
    hit = {path: count for path, count in counts.items() if count}
    if not hit:
        return None
    worst = max(hit, key=lambda path: hit[path])
    where = f"{plural(sum(hit.values()), 'unit')} in {plural(len(hit), 'layer')}"
    return Fault(tuple(hit), f"{where} {what}; most, {hit[worst]}, in {worst}")


RULES = (
    Rule(
        id="MT001",
        title="Weights that are not finite",
        severity="error",
        check=check_not_finite,
        reason="Every output that depends on a NaN is NaN; training does not recover from it.",
        source="IEEE 754.",
        cost="The last sound checkpoint.",
        fix="Load an earlier checkpoint; look for a learning rate or a mixed precision that overflowed.",
    ),
    Rule(
        id="MT002",
        title="Dead units",
        severity="warning",
        check=check_dead_units,
        reason="A unit without weights answers the same to every input; it costs time and memory and at most adds a constant.",
        source="Exact; pruned or shrunk by weight decay, e.g. Mehta et al. 2019, arXiv:1811.12495.",
        cost="None where the evidence says that the outputs stay; else the constants move into biases, exact but beside zero padding.",
        fix="Remove the units and the inputs that read them.",
    ),
    Rule(
        id="MT003",
        title="Constant units",
        severity="warning",
        check=check_constant_units,
        reason=(
            "All taps are alike, so no pattern of the input was learnt: an initialisation by a constant, a placeholder, "
            "or what 8-bit rounding left of small kernels."
        ),
        source="Ours, exact.",
        cost="Training.",
        fix="Draw these weights anew and train them, or load the file that holds them.",
    ),
    Rule(
        id="MT004",
        title="Units that a norm switches off",
        severity="warning",
        check=check_switched_off,
        reason="A scale of zero makes a unit constant whatever the layer before it computes.",
        source="Exact; Liu et al. 2017, arXiv:1708.06519, prune by it.",
        cost="None where the evidence says that the outputs stay; else the constants move into biases, exact but beside zero padding.",
        fix="Remove the units, or train without weight decay on this scale (microtome.param_groups).",
    ),
)
