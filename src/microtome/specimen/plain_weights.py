"""A network with every weight as one plain parameter: no pruning mask, no parametrisation, no weight or spectral norm.

Initialisers write into `module.weight`. Where that is computed from other tensors the write is lost without a word. So fresh weights
are drawn in a plain copy, and taken from there into the network as it is made.
"""

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from microtome.specimen.copying import copy_network

ITERATIONS = 30  # of the power method, for the singular vectors that a spectral norm keeps


def plain_copy(net: nn.Module) -> nn.Module:
    """A copy on the CPU in which every computed weight is one plain parameter, in float32 at least."""
    plain = copy_network(net).cpu()
    for module in list(plain.modules()):
        if parametrize.is_parametrized(module):
            values = {name: getattr(module, name).detach().clone() for name in cast(Any, module).parametrizations}
            del module._modules["parametrizations"]
            module.__class__ = type(module).__bases__[0]  # torch had put a class with properties before the module's own
            for name, value in values.items():
                module.register_parameter(name, nn.Parameter(value, value.is_floating_point() or value.is_complex()))
        for name, value in list(_computed(module)):
            for part in [f"{name}_{end}" for end in ("orig", "g", "v")]:
                module._parameters.pop(part, None)
            for part in [f"{name}_{end}" for end in ("mask", "u", "v")]:
                module._buffers.pop(part, None)
            vars(module).pop(name, None)
            module.register_parameter(name, nn.Parameter(value))
    for parameter in plain.parameters():
        if parameter.is_floating_point() and parameter.element_size() < 4:
            parameter.data = parameter.data.float()
    return plain


def take_from_plain(net: nn.Module, plain: nn.Module) -> None:
    """Copy the values of a plain copy into `net`, through its masks, parametrisations and norms; only where shapes agree."""
    paths = dict(plain.named_modules())
    with torch.no_grad():
        for path, module in list(net.named_modules()):
            source = paths.get(path)
            if source is None:  # a part of a parametrisation
                continue
            for kind in ("_parameters", "_buffers"):
                for name, value in getattr(module, kind).items():
                    new = getattr(source, kind).get(name)
                    if isinstance(value, Tensor) and isinstance(new, Tensor) and value.shape == new.shape:
                        value.copy_(new)
            for name in list(getattr(module, "parametrizations", {})) if parametrize.is_parametrized(module) else []:
                _set_parametrised(module, name, getattr(source, name).detach().to(getattr(module, name)))
            for name, old in list(_computed(module)):
                _set_computed(module, name, getattr(source, name).detach().to(old))


def _computed(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Names of weights that a hook computes before each pass (pruning, and the older weight and spectral norm), with a value."""
    own = module._parameters
    for name in [key.removesuffix("_orig") for key in own if key.endswith("_orig")]:
        if name not in own:
            yield name, cast(Tensor, own[f"{name}_orig"]).detach()
    for name in [key.removesuffix("_g") for key in own if key.endswith("_g")]:
        direction, length = own.get(f"{name}_v"), own[f"{name}_g"]
        if name not in own and direction is not None and length is not None:
            yield name, (length * direction / _norm_like(direction, length)).detach()


def _norm_like(direction: Tensor, length: Tensor) -> Tensor:
    """The norm of `direction` over the axes that `length` does not have."""
    axes = [axis for axis in range(direction.dim()) if length.dim() == 0 or length.shape[axis] == 1]
    whole = length.dim() == 0
    return torch.linalg.vector_norm(direction, dim=axes, keepdim=not whole)


def _set_computed(module: nn.Module, name: str, new: Tensor) -> None:
    own, buffers = module._parameters, module._buffers
    length = own.get(f"{name}_g")
    if length is not None:
        cast(Tensor, own[f"{name}_v"]).copy_(new)
        length.copy_(_norm_like(new, length))
        setattr(module, name, new.clone())
        return
    cast(Tensor, own[f"{name}_orig"]).copy_(new)
    mask = buffers.get(f"{name}_mask")
    if mask is not None:
        setattr(module, name, new * mask)
    _refresh_vectors(new, buffers.get(f"{name}_u"), buffers.get(f"{name}_v"), _axis(module, name))


def _set_parametrised(module: nn.Module, name: str, new: Tensor) -> None:
    """Set a parametrised tensor by its right inverse; where there is none, its single original. Else it stays as it was."""
    chain = cast(Any, module).parametrizations[name]
    try:
        setattr(module, name, new)
    except Exception:  # noqa: BLE001  user code: whatever an inverse that does not exist raises
        original = getattr(chain, "original", None)
        if isinstance(original, Tensor) and original.shape == new.shape:
            original.copy_(new)
    for part in chain:
        _refresh_vectors(new, getattr(part, "_u", None), getattr(part, "_v", None), int(getattr(part, "dim", 0)))


def _axis(module: nn.Module, name: str) -> int:
    hooks = [hook for hook in module._forward_pre_hooks.values() if getattr(hook, "name", None) == name]
    return next((int(hook.dim) for hook in hooks if isinstance(getattr(hook, "dim", None), int)), 0)  # pyright: ignore[reportFunctionMemberAccess]


def _refresh_vectors(weight: Tensor, left: Tensor | None, right: Tensor | None, axis: int) -> None:
    """Bring the first singular vectors that a spectral norm keeps up to date with a new weight."""
    if left is None or right is None:
        return
    matrix = weight.movedim(axis, 0).flatten(1)
    for _ in range(ITERATIONS):
        right.copy_(nn.functional.normalize(matrix.mH @ left, dim=0))
        left.copy_(nn.functional.normalize(matrix @ right, dim=0))
