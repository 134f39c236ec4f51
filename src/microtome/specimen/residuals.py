"""Residual blocks: where a block's branch begins and ends, and what its shortcut passes through.

Nothing is told from names: a layer ends the branch when, with its output set to zero, the block gives exactly what its shortcut
gives (or that through the block's last activation). Convolutions and norms are tried from the back, so the answer is the same
whatever the weights are.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from microtome.specimen.anatomy import OpenedNetwork
from microtome.specimen.layers import is_norm, is_weight, weight_layers
from microtome.specimen.outputs import first_tensor
from microtome.specimen.tracing import Call

MAX_INNER_LAYERS = 8  # weight layers at most in a block that is no named one; what holds more is a stage


@dataclass(frozen=True)
class Residual:
    """One residual block on a grid, by module paths.

    `start` and `end` are the first and the last layer of the branch, `spatial` its first convolution wider than 1 x 1 (or None),
    `shortcut` the module that the shortcut passes through (None: what enters). `inputs` and `units` count the channels that
    enter and leave, `inner` those after `spatial`; `stage` is the block's, from 0.
    """

    block: str
    start: str
    end: str
    spatial: str | None
    shortcut: str | None
    inputs: int
    units: int
    inner: int
    stage: int


def residual_blocks(specimen: OpenedNetwork) -> tuple[Residual, ...]:
    """The residual blocks of a specimen in execution order; empty where there are none."""
    residuals: list[Residual] = []
    calls = specimen.anatomy.trace.by_path()
    for block in specimen.blocks:
        own = calls.get(block.name, [])
        if block.entry != block.exit or len(own) != 1 or not _is_map_call(own[0]):
            continue
        inside = [call for path, many in calls.items() if path.startswith(block.name + ".") for call in many]
        parts = _read_block(specimen.net.get_submodule(block.name), own[0], sorted(inside, key=lambda call: call.begun))
        if parts is not None:
            start, end, spatial, shortcut, inner = parts
            inputs, units = own[0].inputs[0][1], own[0].outputs[0][1]
            residuals.append(Residual(block.name, start, end, spatial, shortcut, inputs, units, inner, block.stage))
    return tuple(residuals)


def branch_ends(specimen: OpenedNetwork) -> dict[str, str | None]:
    """The last layer of every residual branch on maps, with the module on its shortcut: also of blocks inside parallel branches.

    Those of HRNet are no removable blocks of the network, so `residual_blocks` has none of them.
    """
    ends: dict[str, str | None] = {block.end: block.shortcut for block in specimen.residuals}
    known = [block.block for block in specimen.residuals]
    calls = specimen.anatomy.trace.by_path()
    for path, many in sorted(calls.items(), key=lambda item: (-item[0].count("."), item[0])):
        module = many[0].module
        if any(f"{block}.".startswith(f"{path}.") or path.startswith(f"{block}.") for block in known):
            continue
        if (
            len(many) != 1
            or not _is_map_call(many[0])
            or not 2 <= len(weight_layers(module)) <= MAX_INNER_LAYERS
            or is_weight(module)
        ):
            continue
        inside = [call for other, some in calls.items() if other.startswith(path + ".") for call in some]
        parts = _read_block(module, many[0], sorted(inside, key=lambda call: call.begun))
        if parts is not None:
            ends[parts[1]] = parts[3]
            known.append(path)
    return ends


def _is_map_call(call: Call) -> bool:
    """Whether one map (image, unit, row, col) goes in and one comes out."""
    return len(call.inputs) == len(call.outputs) == 1 and len(call.inputs[0]) == len(call.outputs[0]) == 4


def _read_block(block: nn.Module, whole: Call, inside: list[Call]) -> tuple[str, str, str | None, str | None, int] | None:
    """(start, end, spatial, shortcut, channels after spatial), or None where the block adds no shortcut."""
    x = torch.randn(1, *whole.inputs[0][1:], generator=torch.Generator().manual_seed(0))
    trial = copy.deepcopy(block).cpu().float()
    trial.eval()  # some networks' own `train` gives nothing back
    ends = [call for call in inside if _may_end(call, whole)]
    for call in reversed(ends):
        path = call.path.removeprefix(whole.path + ".")
        given, shortcuts = _run_without(
            trial, path, x, [c.path.removeprefix(whole.path + ".") for c in _shortcut_modules(inside, whole)]
        )
        if given is None:
            continue
        matched = [name for name, value in shortcuts.items() if _is_shortcut(given, value)]
        if not matched:
            continue
        shortcut = min((f"{whole.path}.{name}" for name in matched if name), key=len, default=None)  # the outermost module
        branch = [c for c in inside if _is_layer(c) and not _is_within(c.path, shortcut) and c.order <= call.order]
        if not branch:
            continue
        wide = [c for c in branch if max(getattr(c.module, "kernel_size", (1,))) > 1 and len(c.outputs[0]) == 4]
        first = wide[0] if wide else None
        start = branch[0].path
        return start, call.path, first.path if first else None, shortcut, first.outputs[0][1] if first else whole.outputs[0][1]
    return None


def _is_layer(call: Call) -> bool:
    return is_weight(call.module) or is_norm(call.module)


def _may_end(call: Call, whole: Call) -> bool:
    """Whether a call could end the branch: a convolution or norm that gives what the block gives, by shape."""
    return _is_layer(call) and call.index == 0 and call.outputs == whole.outputs


def _is_within(path: str, shortcut: str | None) -> bool:
    return shortcut is not None and (path == shortcut or path.startswith(shortcut + "."))


def _shortcut_modules(inside: list[Call], whole: Call) -> list[Call]:
    """The modules that turn what enters, or what norms and activations make of it, into something of the output's shape."""
    early = set(whole.reads)
    calls: list[Call] = []
    for call in inside:
        if call.index or not set(call.reads) <= early:
            continue
        if not weight_layers(call.module):
            early |= set(call.gives)
        if call.outputs == whole.outputs:
            calls.append(call)
    return calls


def _run_without(block: nn.Module, end: str, x: Tensor, names: list[str]) -> tuple[Tensor | None, dict[str, Tensor]]:
    """What the block gives when the layer `end` gives zeros, and the values that may be its shortcut ("" is what entered)."""
    kept: dict[str, Tensor] = {"": x.clone()}

    def zeros(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        return torch.zeros_like(output)

    def keeper(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            tensor = first_tensor(output)
            if tensor is not None:
                kept[name] = tensor.clone()

        return hook

    others = [name for name in names if not end.startswith(f"{name}.") and name != end]
    handles: list[Any] = [block.get_submodule(name).register_forward_hook(keeper(name)) for name in others]
    handles.append(block.get_submodule(end).register_forward_hook(zeros))
    try:
        with torch.no_grad():
            given = first_tensor(block(x.clone()))
    except (RuntimeError, TypeError, ValueError):  # a block that wants more than its input alone cannot be tried
        given = None
    finally:
        for handle in handles:
            handle.remove()
    return given, kept


def _is_shortcut(given: Tensor, shortcut: Tensor) -> bool:
    """Whether what came out is the shortcut, as it is or through an activation of the usual ones."""
    if given.shape != shortcut.shape or not bool(shortcut.any()):
        return False
    functions = (nn.functional.silu, nn.functional.gelu, nn.functional.leaky_relu, nn.functional.hardswish, nn.functional.relu6)
    if any(torch.allclose(given, candidate, rtol=0, atol=0, equal_nan=True) for candidate in (shortcut, shortcut.relu())):
        return True
    return any(torch.allclose(given, function(shortcut), atol=1e-6, equal_nan=True) for function in functions)
