"""Functions that a network holds, a replaced `forward` or a hook, made to work on the copy instead of on the original.

Python copies a function by handing out the same one, so a closure, a lambda or a default value that names the network would run the
original from inside its copy. In a copy such functions are built again over the copied objects.
"""

import copy
import dis
import functools
import types
from collections.abc import Iterator, Mapping
from typing import Any, cast

from torch import nn

from microtome.specimen.library_code import is_library_class, is_library_function

MAX_DEPTH = 8  # of objects inside objects that are followed to the network
COMPILED = "_torchdynamo_orig_callable"


def rebind_functions(net: nn.Module, memo: dict[int, Any], originals: Mapping[int, Any]) -> None:
    """Make the functions held by the copy `net` use what `memo` says were copied from `originals` (by id), in place."""
    rebinder = _Rebinder(memo, originals)
    for module in list(net.modules()):
        for name, value in list(vars(module).items()):
            if name in ("_parameters", "_buffers", "_modules"):
                continue
            new = rebinder.rebound(value)
            if new is not value:
                module.__dict__[name] = new


def outside_names(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """The variables outside a function that it uses, with their values: of its closure, its defaults and its globals."""
    yield from _closed_over(function)
    for name in sorted(global_names(function.__code__)):
        if name in function.__globals__:
            yield name, function.__globals__[name]
    yield from (function.__kwdefaults__ or {}).items()
    for place, value in enumerate(function.__defaults__ or ()):
        yield f"default {place}", value


def global_names(code: types.CodeType) -> set[str]:
    """The global variables that code, and code inside it, loads."""
    names = {str(step.argval) for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            names |= global_names(each)
    return names


def leads_to(value: Any, wanted: Mapping[int, Any], depth: int = MAX_DEPTH, seen: set[int] | None = None) -> Any:
    """The first object of `wanted` (by id) that functions, containers and objects in `value` lead to, or None."""
    seen = set() if seen is None else seen
    if id(value) in wanted:
        return value
    if depth == 0 or id(value) in seen or isinstance(value, type | types.ModuleType | str | bytes | int | float):
        return None
    seen.add(id(value))
    for part in _parts(value):
        reached = leads_to(part, wanted, depth - 1, seen)
        if reached is not None:
            return reached
    return None


def _parts(value: Any) -> list[Any]:
    """What an object holds, as far as a function could use it."""
    if isinstance(value, types.FunctionType):
        if is_library_function(value):  # its globals are the library's
            return [*(part for _, part in _closed_over(value)), *vars(value).values()]
        return [part for _, part in outside_names(value)] + list(vars(value).values())
    if isinstance(value, types.MethodType):
        return [value.__self__, value.__func__]
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, Mapping):
        return list(cast(Mapping[Any, Any], value).values())
    if isinstance(value, list | tuple | set | frozenset):
        return list(cast(Any, value))
    if is_library_class(type(value)) and not isinstance(value, nn.Module):
        return []
    return list(getattr(value, "__dict__", {}).values())


def _closed_over(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # a variable that was never set
            continue


class _Rebinder:
    """Builds functions again over the copies of what they used; each function once."""

    def __init__(self, memo: dict[int, Any], originals: Mapping[int, Any]) -> None:
        self.memo, self.originals = memo, originals
        self.functions: dict[int, types.FunctionType] = {}
        self.kept: list[Any] = []

    def rebound(self, value: Any, depth: int = MAX_DEPTH) -> Any:
        """`value` with the functions in it built again; itself where nothing in it leads to an original."""
        if depth == 0:
            return value
        if isinstance(value, types.FunctionType):
            return self._function(value, depth)
        if isinstance(value, types.MethodType):
            function, owner = self._moved(value.__func__, depth - 1), self._moved(value.__self__, depth - 1)
            same = function is value.__func__ and owner is value.__self__
            return value if same else types.MethodType(function, owner)
        if isinstance(value, functools.partial):
            parts = [self._moved(part, depth - 1) for part in (value.func, *value.args)]
            named = {name: self._moved(part, depth - 1) for name, part in value.keywords.items()}
            return functools.partial(*parts, **named)
        if isinstance(value, dict):
            mapping = cast(dict[Any, Any], value)
            for key, part in list(mapping.items()):
                new = self.rebound(part, depth - 1)
                if new is not part:
                    mapping[key] = new
        elif isinstance(value, list):
            listed = cast(list[Any], value)
            listed[:] = [self.rebound(part, depth - 1) for part in listed]
        elif type(value) is tuple:
            parts = [self.rebound(part, depth - 1) for part in cast(tuple[Any, ...], value)]
            return tuple(parts) if any(new is not old for new, old in zip(parts, value, strict=True)) else value
        return value

    def _moved(self, value: Any, depth: int) -> Any:
        """The copy of something that a function uses."""
        if isinstance(value, nn.Module):
            return self.memo.get(id(value), value)
        if leads_to(value, self.originals) is None:
            return value
        self.kept.append(value)
        if isinstance(value, types.FunctionType | types.MethodType | functools.partial):
            return self.rebound(value, depth)
        return self.rebound(copy.deepcopy(value, self.memo), depth)

    def _function(self, function: types.FunctionType, depth: int) -> Any:
        compiled = getattr(function, COMPILED, None)
        if compiled is not None:  # hooks never fire inside compiled code
            return self._moved(compiled, depth)
        if id(function) in self.functions:
            return self.functions[id(function)]
        if leads_to(function, self.originals) is None:
            return function
        cells = tuple(types.CellType() for _ in function.__closure__ or ())
        outside = dict(function.__globals__)
        built = types.FunctionType(function.__code__, outside, function.__name__, None, cells or None)
        self.functions[id(function)] = built
        self.kept.append(function)
        if not is_library_function(function):
            for name in global_names(function.__code__) & set(outside):
                outside[name] = self._moved(outside[name], depth - 1)
        for new, old in zip(cells, function.__closure__ or (), strict=True):
            try:
                new.cell_contents = self._moved(old.cell_contents, depth - 1)
            except ValueError:  # a variable that was never set
                continue
        built.__defaults__ = self._moved(function.__defaults__, depth - 1)
        built.__kwdefaults__ = self._moved(function.__kwdefaults__, depth - 1)
        built.__dict__.update({name: self._moved(part, depth - 1) for name, part in vars(function).items()})
        built.__qualname__, built.__module__, built.__doc__ = function.__qualname__, function.__module__, function.__doc__
        return built
