"""`name(key=value, …)` as a user writes it: the name and its options, Python literals only; nothing in it is ever run."""

import ast
import inspect
import re
from collections.abc import Callable
from types import TracebackType
from typing import Any, cast

from microtome.errors import BadOption, did_you_mean

# What every timm architecture takes beside what its class does.
USUAL_OPTIONS = (
    "num_classes",
    "in_chans",
    "img_size",
    "features_only",
    "out_indices",
    "global_pool",
    "drop_rate",
    "drop_path_rate",
)


def call_arguments(text: str, what: str) -> tuple[str, dict[str, Any]]:
    """The name and the keyword arguments of "name" or "name(key=value, …)"; `what` is what the user wrote.

    Raises:
        BadOption: it is not of that form, an argument has no name, or its value is not a literal.
    """
    name, bracket, rest = text.strip().partition("(")
    name = name.strip()
    if not bracket:
        if not name or ")" in name:
            raise BadOption(f"'{what}' cannot be read; write {what.rstrip(')')}(key=value).")
        return name, {}
    try:
        call = ast.parse(f"call({rest}", mode="eval").body
    except SyntaxError as error:
        raise BadOption(
            f"'{what}' cannot be read ({error.msg}); write {name}(depth=20, option='A'), in quotes for the shell."
        ) from error
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise BadOption(f"'{what}' cannot be read; write {name}(depth=20, option='A').")
    if call.args or any(word.arg is None for word in call.keywords):
        raise BadOption(f"'{what}' has arguments without a name; write them as key=value.")
    options: dict[str, Any] = {}
    for word in call.keywords:
        try:
            options[str(word.arg)] = ast.literal_eval(word.value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
            given = ast.unparse(word.value)
            quoted = f" (a text stands in quotes: {word.arg}='{given}')" if isinstance(word.value, ast.Name) else ""
            raise BadOption(
                f"'{what}': {word.arg}={given} is not a plain value{quoted}; numbers, texts, lists, True and None are."
            ) from error
    return name, options


def unknown_option(error: TypeError, call: Callable[..., Any]) -> str:
    """A sentence with the nearest option, where an error says that a call was given an option it does not have; else empty."""
    match = re.search(r"([\w.<>]+)\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if match is None:
        return ""
    owner, given = match.group(1), match.group(2)
    names = dict.fromkeys(
        [*_parameters(call), *USUAL_OPTIONS] if "timm" in _traceback_modules(error.__traceback__) else _parameters(call)
    )
    for target in _named_in(error.__traceback__, owner.removesuffix(".__init__").rpartition(".")[2]):
        names |= dict.fromkeys(_parameters(target))
    label = owner.removesuffix(".__init__")
    return f"{label} has no option '{given}'." + did_you_mean(given, names)


def _parameters(target: Any) -> list[str]:
    try:
        result = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return []
    return [
        each.name for each in result if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY) and each.name != "self"
    ]


def _frames(trace: TracebackType | None) -> list[TracebackType]:
    result: list[TracebackType] = []
    while trace is not None:
        result.append(trace)
        trace = trace.tb_next
    return result


def _traceback_modules(trace: TracebackType | None) -> set[str]:
    return {str(each.tb_frame.f_globals.get("__name__", "")).partition(".")[0] for each in _frames(trace)}


def _named_in(trace: TracebackType | None, name: str) -> list[Any]:
    """What that name stands for where the error was raised, innermost first."""
    result: list[Any] = []
    for each in reversed(_frames(trace)):
        places = [*each.tb_frame.f_locals.values(), *each.tb_frame.f_globals.values()]
        result += [value for value in places if callable(value) and cast(Any, getattr(value, "__name__", "")) == name]
    return result[:4]
