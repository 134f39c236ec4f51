"""A deep copy of a network that shares no state with it, also where a module holds what Python does not copy.

Locks, open files and modules of Python are shared by the copy: they hold no state of the network. A random generator is copied with its
state, a tensor that came out of a computation with its values. What is used up when it is read (an iterator) cannot be shared, so such a
network is refused.
"""

import copy
import functools
import io
import threading
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer

from microtome.errors import SpecimenError
from microtome.specimen.rebinding import rebind_functions

SHARED = (type(threading.Lock()), type(threading.RLock()), io.IOBase, types.ModuleType, threading.local)
REGISTERED = ("_parameters", "_buffers", "_modules")
MAX_DEPTH = 6  # of objects that are looked into for what does not copy


def copy_network(net: nn.Module) -> nn.Module:
    """A deep copy that shares no memory and no function that runs the original; parallel and compiled wrappers are left out.

    Raises SpecimenError, naming module and attribute, for a network that cannot be copied.
    """
    memo: dict[int, Any] = {}
    _leave_out_wrappers(net, memo)
    for module in net.modules():
        for value in vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
        for buffer in module._buffers.values():
            if isinstance(buffer, UninitializedBuffer):  # which torch does not copy
                memo[id(buffer)] = cast(Any, UninitializedBuffer)(device=buffer.device, dtype=buffer.dtype)
    with torch.inference_mode(False):
        try:
            return _deep_copy(net, dict(memo))
        except Exception as error:
            refused = _share_what_does_not_copy(net, memo)
            if refused:
                raise SpecimenError(_refusal_text(net, *refused)) from error
        try:
            return _deep_copy(net, memo)
        except Exception as error:
            raise SpecimenError(
                f"{type(net).__name__} cannot be copied ({type(error).__name__}: {_first_line(error)}), and measuring needs a copy; "
                "give the class a __deepcopy__ method."
            ) from error


def inner_network(module: nn.Module) -> nn.Module | None:
    """The network in a compiled or parallel wrapper, on which hooks never fire; None for any other module."""
    inner: Any = vars(module).get("_modules", {}).get("_orig_mod")
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        inner = module.module
    return inner if isinstance(inner, nn.Module) else None


def _leave_out_wrappers(net: nn.Module, memo: dict[int, Any]) -> None:
    """Write into `memo` that the copy of a wrapper is the copy of what is inside."""
    wrappers = [module for module in net.modules() if inner_network(module) is not None]
    for wrapper in reversed(wrappers):  # the inner ones first
        inner = inner_network(wrapper)
        if inner is not None:
            memo[id(wrapper)] = copy.deepcopy(inner, memo)


def _deep_copy(net: nn.Module, memo: dict[int, Any]) -> nn.Module:
    made = copy.deepcopy(net, memo)
    originals: dict[int, Any] = {id(module): module for module in net.modules()}
    originals |= {id(value): value for value in (*net.parameters(), *net.buffers())}
    rebind_functions(made, memo, originals)
    return made


def _share_what_does_not_copy(net: nn.Module, memo: dict[int, Any]) -> tuple[str, str, Any] | None:
    """Write into `memo` what the copy shares; the first (module path, attribute, object) that it can neither copy nor share."""
    itself: dict[int, Any] = {id(module): module for module in net.modules()}
    itself |= {id(value): value for value in (*net.parameters(), *net.buffers())}
    for path, module in net.named_modules():
        for name, value in vars(module).items():
            if name in REGISTERED:
                continue
            for leaf in _uncopyable(value, itself | memo, MAX_DEPTH):
                if isinstance(leaf, SHARED):
                    memo[id(leaf)] = leaf
                elif isinstance(leaf, torch.Generator):
                    memo[id(leaf)] = leaf.clone_state()
                elif isinstance(leaf, Tensor):
                    memo[id(leaf)] = leaf.detach().clone()
                else:
                    return path, name, leaf
    return None


def _uncopyable(value: Any, memo: dict[int, Any], depth: int) -> Iterator[Any]:
    """The innermost objects in `value` that do not copy."""
    try:
        copy.deepcopy(value, dict(memo))
    except Exception:  # noqa: BLE001  whatever an object that does not copy raises
        parts = _inner(value) if depth and not isinstance(value, (*SHARED, torch.Generator, Tensor)) else []
        inside = [leaf for part in parts for leaf in _uncopyable(part, memo, depth - 1)]
        yield from inside or [value]


def _inner(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(cast(Mapping[Any, Any], value).values())
    if isinstance(value, list | tuple | set | frozenset):
        return list(cast(Sequence[Any], value))
    if isinstance(value, types.MethodType):
        return [value.__self__]
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    return list(getattr(value, "__dict__", {}).values())


def _refusal_text(net: nn.Module, path: str, name: str, leaf: Any) -> str:
    owner = f"'{path}' ({type(net.get_submodule(path)).__name__})" if path else type(net).__name__
    return (
        f"The network cannot be copied, and measuring needs a copy: the attribute '{name}' of {owner} holds a {type(leaf).__name__}, "
        "which Python does not copy; make it inside forward, or set it to None before opening."
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160].rstrip(".") if lines else type(error).__name__
