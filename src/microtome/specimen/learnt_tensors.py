"""The tensors of a network that training changes, and which of them are the same in another network of the architecture."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

ALIKE = 0.9  # correlation with the trained tensor from which on a tensor counts as not drawn anew
ENOUGH = 64  # values that a correlation needs; smaller tensors only must not be equal
SAMPLED = 1 << 16  # values, evenly spread, that tell the correlation of larger tensors: to 0.001 near ALIKE


def learnt_tensors(net: nn.Module) -> dict[str, Tensor]:
    """Every tensor that training changes, by name: parameters, statistics of norms, and parameters kept outside the registry."""
    tensors: dict[str, Tensor] = dict(net.named_parameters())
    known = {id(value) for value in tensors.values()}
    for path, module in net.named_modules():
        prefix = f"{path}." if path else ""
        if "running_var" in module._buffers:
            tensors |= {
                f"{prefix}{name}": buffer
                for name, buffer in module._buffers.items()
                if buffer is not None and is_number(buffer)
            }
        packed = {
            name: buffer
            for name, buffer in module._buffers.items()
            if buffer is not None and buffer.dtype in (torch.int8, torch.uint8)
        }
        tensors |= {f"{prefix}{name}": tensor for name, tensor in packed.items() if tensor.numel() >= ENOUGH}
        for name, value in vars(module).items():
            if not name.startswith("_"):
                loose = _loose(f"{prefix}{name}", value)
                tensors |= {key: tensor for key, tensor in loose.items() if id(tensor) not in known}
    return tensors


def _loose(name: str, value: Any) -> dict[str, Tensor]:
    """The parameters in a plain attribute: itself, or in a list, tuple or dictionary."""
    if isinstance(value, nn.Parameter):
        return {name: value}
    if isinstance(value, list | tuple):
        members = enumerate(cast(Sequence[Any], value))
    elif isinstance(value, dict):
        members = cast(Mapping[Any, Any], value).items()
    else:
        return {}
    return {f"{name}[{key}]": member for key, member in members if isinstance(member, nn.Parameter)}


def unchanged_tensors(original: nn.Module, fresh: nn.Module) -> list[str]:
    """The learnt tensors of `original` that are not constant and are equal, or nearly, in `fresh`."""
    new = learnt_tensors(fresh)
    return [name for name, value in learnt_tensors(original).items() if name in new and alike(value, new[name])]


def fraction_of_weights(net: nn.Module, names: Sequence[str]) -> float:
    """How much of all learnt values these tensors hold; 0 for a network without weights."""
    sizes = {name: value.numel() for name, value in learnt_tensors(net).items()}
    return sum(sizes.get(name, 0) for name in names) / max(1, sum(sizes.values()))


def alike(trained: Tensor, fresh: Tensor) -> bool:
    """Whether a tensor that is not constant is equal in both, or correlated by `ALIKE` and more (large tensors: in a sample)."""
    if trained.shape != fresh.shape or not trained.numel() or trained.is_meta or not _varies(trained):
        return False
    one, two = (_sample(_flat(each)) for each in (trained, fresh))
    if torch.equal(one, two) and torch.equal(_flat(trained), _flat(fresh)):
        return True
    if one.numel() < ENOUGH:
        return False
    one, two = one.float() - one.float().mean(), two.float() - two.float().mean()
    scale = float(one.norm() * two.norm())
    return scale > 0 and abs(float(one @ two)) >= ALIKE * scale


def _varies(value: Tensor) -> bool:
    """Whether not all values are the same; large tensors answer from a sample unless that is constant."""
    flat = _flat(value)
    return any(bool((some != some[0]).any()) for some in (_sample(flat), flat))


def _sample(flat: Tensor) -> Tensor:
    """The values, or `SAMPLED` of them evenly spread."""
    if flat.numel() <= SAMPLED:
        return flat
    return flat[torch.linspace(0, flat.numel() - 1, SAMPLED, dtype=torch.float64).long()]


def _flat(value: Tensor) -> Tensor:
    """All values in a row, as floating point numbers on the CPU."""
    value = value.detach().cpu()
    value = value.dequantize() if value.is_quantized else value.to_dense() if value.layout is not torch.strided else value
    value = (torch.view_as_real(value.resolve_conj()) if value.is_complex() else value).flatten()
    return value if value.is_floating_point() else value.float()


def is_number(value: Tensor) -> bool:
    return value.is_floating_point() or value.is_complex()


def varying(net: nn.Module) -> list[str]:
    """The names of the learnt tensors that are not constant."""
    return [name for name, value in learnt_tensors(net).items() if value.numel() and _varies(value)]


def fixed_tables(net: nn.Module, names: Sequence[str]) -> list[str]:
    """Those of the names that are parameters of their own and want no gradient where the network is new: tables of sines, say."""
    owners = dict(net.named_modules())
    tensors = learnt_tensors(net)
    return [
        name
        for name in names
        if isinstance(tensors[name], nn.Parameter)
        and not tensors[name].requires_grad
        and name.rpartition(".")[0] in owners
        and not hasattr(owners[name.rpartition(".")[0]], "reset_parameters")
    ]
