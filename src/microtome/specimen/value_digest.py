"""A digest of any value that a network's code can reach: functions with all they use, classes, objects, tensors, plain values.

Equal digests mean that the same code with the same constants would run. Functions are read as bytecode, without file names and line
numbers, together with their defaults, the variables they close over, and the globals they name, followed on and on; code of libraries
stands there by name, for its version is part of every key. What differs in doubt (an object that cannot be looked into) is described
by its type alone.
"""

import dataclasses
import enum
import functools
import hashlib
import importlib.util
import io
import logging
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from pathlib import Path, PurePath
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from microtome.specimen.code_names import imports_in, imports_of, looks_up_any_name, names_of
from microtome.specimen.library_code import (
    installed_file_digest,
    is_installed_name,
    is_library_class,
    is_library_function,
    is_library_name,
    replaced_members,
)

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), range, slice, torch.dtype, torch.device, torch.Size)
# Parts of a class that say nothing of what it does, or that Python and torch number anew in every process.
UNTOLD = frozenset(
    (
        *("__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__slots__", "__match_args__", "__type_params__"),
        *("__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__", "__abstractmethods__", "_abc_impl"),
        *("__firstlineno__", "__static_attributes__", "__parameters__", "__orig_bases__", "__dataclass_fields__"),
        *("__dataclass_params__", "_autograd_function_id", "_backward_cls"),
    )
)
HOOKS = frozenset(name for name in vars(nn.Module()) if name.endswith(("_hooks", "_hooks_with_kwargs", "_hooks_always_called")))
MODULE_PARTS = HOOKS | {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "_is_full_backward_hook"}
UNREADABLE = (logging.Logger, threading.Thread, io.IOBase, type(threading.Lock()), types.FrameType, types.GeneratorType)


class ValueDigest:
    """Collects values into one digest. `weighed`: ids of tensors whose values are in the key already, by name."""

    def __init__(self, weighed: Mapping[int, str] | None = None) -> None:
        self._total = hashlib.sha256()
        self._weighed = weighed or {}
        self._seen: dict[int, int] = {}
        self._alive: list[Any] = []  # so that no id is given twice; those from `_done` on wait to be described
        self._done = 0
        self._files: set[str] = set()

    def hexdigest(self) -> str:
        """The digest of everything added so far."""
        while self._done < len(self._alive):  # a queue, since code leads to code deeper than Python may call itself
            value = self._alive[self._done]
            self.write("value", self._done)
            self._done += 1
            self._describe(value)
        return self._total.hexdigest()

    def write(self, *words: object) -> None:
        """Add words as they are."""
        self._total.update("\x1f".join(map(str, words)).encode("utf-8", "surrogateescape") + b"\x1e")

    def add(self, value: Any) -> None:
        """Add a value: a plain one as it is, any other by its number, to be described once."""
        if isinstance(value, PLAIN) and not isinstance(value, enum.Enum):
            self.write(type(value).__name__, repr(value))
            return
        if id(value) not in self._seen:
            self._seen[id(value)] = len(self._seen)
            self._alive.append(value)
        self.write("see", self._seen[id(value)])

    def _describe(self, value: Any) -> None:
        for kinds, add in _WAYS:
            if isinstance(value, kinds):
                add(self, value)
                return
        self.add_object(value)

    def add_tensor(self, value: Tensor) -> None:
        """A tensor: by its name where its values are in the key already, else by its values."""
        self.write("tensor", value.dtype, tuple(value.shape), value.requires_grad)
        if id(value) in self._weighed:
            self.write("weight", self._weighed[id(value)])
        elif not value.is_meta and value.layout == torch.strided and not value.is_quantized:
            self._total.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        else:
            self.write(str(value))

    def add_array(self, value: np.ndarray[Any, Any]) -> None:
        """An array by its values."""
        self.write("array", value.dtype, value.shape)
        if value.dtype.hasobject:
            self.add(value.tolist())
        else:
            self._total.update(np.ascontiguousarray(value).tobytes())

    def add_sequence(self, value: Sequence[Any]) -> None:
        """A list or tuple, in order."""
        self.write(type(value).__name__, len(value))
        for each in value:
            self.add(each)

    def add_mapping(self, value: Mapping[Any, Any]) -> None:
        """A mapping, in its order."""
        self.write(type(value).__name__, len(value))
        for key, each in value.items():
            self.add(key)
            self.add(each)
        if isinstance(value, dict) and type(value) is not dict and (rest := getattr(value, "__dict__", None)):
            self._add_attributes(rest)

    def add_set(self, value: Set[Any]) -> None:
        """A set; its order differs from process to process and does not count."""
        alone: list[str] = []
        for each in value:
            part = ValueDigest(self._weighed)
            part.add(each)
            alone.append(part.hexdigest())
        self.write(type(value).__name__, *sorted(alone))

    def add_function(self, function: types.FunctionType) -> None:
        """A function: a library's by name, else its code; in both cases what it closes over, its defaults and attributes."""
        library = is_library_function(function)
        self.write("function", function.__qualname__ if not library else f"{function.__module__}.{function.__qualname__}")
        if not library:
            self.add_code(function.__code__)
        else:
            self.write(installed_file_digest(function.__code__.co_filename))
        self.add(function.__defaults__)
        self.add(function.__kwdefaults__)
        for cell in function.__closure__ or ():
            try:
                self.add(cell.cell_contents)
            except ValueError:  # not filled yet
                self.write("empty cell")
        self._add_attributes(vars(function))
        if not library:
            self._add_globals(function)

    def add_code(self, code: types.CodeType) -> None:
        """Bytecode with its constants and names; neither file nor lines."""
        self.write("code", code.co_name, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        self.write(code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        self._total.update(code.co_code)
        self._total.update(code.co_exceptiontable)
        self.add_sequence(code.co_consts)

    def _add_globals(self, function: types.FunctionType) -> None:
        """What the names in a function's code stand for in its module, and in the modules it names."""
        names = names_of(function.__code__)
        given = function.__globals__
        wanted = sorted(names & given.keys())
        every = looks_up_any_name(function.__code__)
        if every:
            wanted = [name for name in sorted(given) if not name.startswith("__")]
        for name in wanted:
            self.write("global", name)
            if isinstance(given[name], types.ModuleType):
                self._add_named_parts(given[name], names, every)
            else:
                self.add(given[name])
        for module in imports_of(function.__code__, str(given.get("__package__") or "")):
            self._add_import(module, names, every)

    def _add_named_parts(self, module: types.ModuleType, names: Set[str], every: bool, depth: int = 0) -> None:
        """The parts of a module that code can mean: those it names; of a library, those that somebody replaced."""
        self.write("module", module.__name__)
        if is_library_name(module.__name__) or is_installed_name(module.__name__):
            self.write(installed_file_digest(str(module.__file__ or "")) if is_installed_name(module.__name__) else "")
            for name, value in replaced_members(module):
                if name in names:
                    self.write("replaced", name)
                    self.add(value)
            return
        parts = vars(module)
        for name in sorted(parts):
            if (name in names or every) and not name.startswith("__"):
                self.write("part", name)
                if isinstance(parts[name], types.ModuleType):
                    if depth < 8:
                        self._add_named_parts(parts[name], names, every, depth + 1)
                else:
                    self.add(parts[name])

    def _add_import(self, module: str, names: Set[str], every: bool) -> None:
        """What a function imports while it runs: the module where it is loaded, else its file and the files that one imports."""
        if is_library_name(module) or module in self._files:
            return
        if module in sys.modules:
            self._add_named_parts(sys.modules[module], names, every)
            return
        self._files.add(module)
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError, AttributeError):
            spec = None
        self.write("import", module)
        if spec is None or not spec.origin or not Path(spec.origin).is_file():
            return
        source = Path(spec.origin).read_bytes()
        self._total.update(source)
        if spec.origin.endswith(".py"):
            package = module if spec.submodule_search_locations is not None else module.rpartition(".")[0]
            for other in imports_in(source, package):
                self._add_import(other, names, every)

    def add_class(self, kind: type) -> None:
        """A class: a library's by name with what was put into it, else its bases and all that is in it."""
        self.write("class", kind.__module__ if is_library_class(kind) else "", kind.__qualname__)
        if is_library_class(kind):
            self.write(installed_file_digest(str(getattr(sys.modules.get(kind.__module__), "__file__", ""))))
            for name, value in replaced_members(kind):
                self.write("replaced", name)
                self.add(value)
            for base in kind.__bases__:
                if base is not object:
                    self.add(base)
            return
        for base in kind.__bases__:
            self.add(base)
        self.add(type(kind)) if type(kind) is not type else None
        for name, value in sorted(vars(kind).items()):
            if name not in UNTOLD and not isinstance(value, types.GetSetDescriptorType | types.MemberDescriptorType):
                self.write("member", name)
                self.add(value)

    def add_method(self, method: types.MethodType) -> None:
        """A bound method: its function and what it is bound to."""
        self.write("method")
        self.add(method.__func__)
        self.add(method.__self__)

    def add_partial(self, value: "functools.partial[Any]") -> None:
        """A partial call."""
        self.write("partial")
        for part in (value.func, value.args, value.keywords):
            self.add(part)

    def add_module(self, module: nn.Module) -> None:
        """A part of a network: its class, attributes, hooks and children; weights that are in the key already by name."""
        self.write("network part")
        self.add(type(module))
        parts = vars(module)
        for name in ("_parameters", "_buffers", "_modules"):
            self.write(name)
            for key, value in cast(dict[str, Any], parts.get(name, {})).items():
                self.write(key)
                self.add(value)
        for name in sorted(HOOKS):
            hooks = parts.get(name) or {}
            if hooks and not name.endswith(("_with_kwargs", "_always_called")):
                self.write(name)
                for hook in cast(Mapping[int, Any], hooks).values():  # their numbers count all hooks of the process
                    self.add(hook)
        self._add_attributes({name: value for name, value in parts.items() if name not in MODULE_PARTS}, type(module))

    def add_script(self, value: Any) -> None:
        """Compiled TorchScript by its graph."""
        self.write("script", getattr(value, "inlined_graph", None) or value.graph)

    def add_object(self, value: Any) -> None:
        """Any other object: its type and attributes; a built-in by its name; one that cannot be looked into by its type."""
        kind: type = type(value)
        if isinstance(value, types.BuiltinFunctionType):
            owner = "" if isinstance(value.__self__, types.ModuleType) or value.__self__ is None else type(value.__self__)
            self.write("builtin", value.__module__, value.__qualname__, owner)
            return
        if isinstance(value, (*UNREADABLE, weakref.ref)):
            self.write("unreadable", kind.__qualname__)
            return
        self.write("object")
        self.add(kind)
        if hasattr(value, "__wrapped__"):
            self.add(value.__wrapped__)
        attributes = dict(getattr(value, "__dict__", {}))
        if dataclasses.is_dataclass(value) and is_library_class(kind):  # the rest is remembered, not said
            attributes = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.compare}
        for base in kind.__mro__:
            slots = vars(base).get("__slots__", ())
            for slot in (slots,) if isinstance(slots, str) else tuple(slots):
                if slot not in ("__dict__", "__weakref__") and hasattr(value, slot):
                    attributes.setdefault(slot, getattr(value, slot))
        self._add_attributes(attributes, kind)
        if not attributes and " at 0x" not in (text := _safe_repr(value)):
            self.write(text)

    def _add_attributes(self, attributes: Mapping[str, Any], kind: type = object) -> None:
        """Attributes by name, without what a cached property of `kind` remembers."""
        for name, value in sorted(attributes.items(), key=lambda item: str(item[0])):
            if not isinstance(getattr(kind, str(name), None), functools.cached_property):
                self.write("attribute", name)
                self.add(value)


def _add_descriptor(digest: ValueDigest, value: Any) -> None:
    digest.write(type(value).__name__)
    for name in ("__func__", "fget", "fset", "func"):
        if (part := getattr(value, name, None)) is not None:
            digest.write(name)
            digest.add(part)


def _add_enum(digest: ValueDigest, value: enum.Enum) -> None:
    digest.write("enum", type(value).__qualname__, value.name)
    digest.add(value.value)


_WAYS: tuple[tuple[Any, Callable[[ValueDigest, Any], None]], ...] = (
    (enum.Enum, _add_enum),
    ((torch.jit.ScriptModule, torch.jit.ScriptFunction), ValueDigest.add_script),
    (nn.Module, ValueDigest.add_module),
    (Tensor, ValueDigest.add_tensor),
    ((np.ndarray, np.generic), lambda digest, value: digest.add_array(np.asarray(value))),
    (types.FunctionType, ValueDigest.add_function),
    (types.CodeType, ValueDigest.add_code),
    (types.MethodType, ValueDigest.add_method),
    (functools.partial, ValueDigest.add_partial),
    (type, ValueDigest.add_class),
    (types.ModuleType, lambda digest, value: digest.write("module", value.__name__)),
    ((list, tuple), ValueDigest.add_sequence),
    ((dict, types.MappingProxyType), ValueDigest.add_mapping),
    ((set, frozenset), ValueDigest.add_set),
    (PurePath, lambda digest, value: digest.write("path", value)),
    (torch.Generator, lambda digest, value: digest.add(value.get_state())),
    ((staticmethod, classmethod, property, functools.cached_property), _add_descriptor),
)


def _safe_repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001  # whatever an object of the user's raises when it is asked
        return "at 0x"


def digest_of(values: Iterable[Any], weighed: Mapping[int, str] | None = None) -> str:
    """The digest of several values."""
    total = ValueDigest(weighed)
    for value in values:
        total.add(value)
    return total.hexdigest()
