"""What an option is: a frozen field with a default, one line of help and a range, checked in one place.

Analyses and edits declare their options with `option`; the catalog reads the same calls from the syntax tree.
"""

import dataclasses
import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from microtome.errors import BadOption, UnknownName, did_you_mean
from microtome.map_kinds import map_kind_names

T = TypeVar("T")


def option(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    quick: Any = None,
    full: Any = None,
    map_kind: bool = False,
    further: tuple[str, ...] = (),
    recorded: bool = False,
) -> Any:
    """A field of an analysis or edit: its default, one line of help, and the range of a number (both ends allowed).

    `quick` and `full` are the values that a run of less or more effort takes where the user names none; without them, the default.
    With `map_kind` it takes the name of a kind of class activation map, those of other packages included, or one of the `further` words.
    A `recorded` option of an edit is written into records and left out of its name: it is long, and the edit chooses it.
    """
    if isinstance(default, list):
        default = tuple(default)
    metadata = {"help": help, "low": low, "high": high, "quick": quick, "full": full, "map_kind": map_kind, "further": further}
    metadata["recorded"] = recorded
    return dataclasses.field(default=default, metadata=metadata)


def values_for(kind: type[Any], effort: str) -> dict[str, Any]:
    """The options, by name, whose values at this effort ("quick", "standard" or "full") are not their defaults."""
    fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(kind)
    return {field.name: field.metadata[effort] for field in fields if field.metadata.get(effort) is not None}


def validate_options(owner: Any, name: str) -> None:
    """Turn every field of a frozen dataclass into the type it declares, in place; called once, when it is made.

    Raises:
        BadOption: a value that is none of the choices, outside its range, or of another type.
    """
    hints = get_type_hints(type(owner))
    for field in dataclasses.fields(owner):
        value = _coerced(f"{name}: option {field.name}", getattr(owner, field.name), hints[field.name], field.metadata)
        object.__setattr__(owner, field.name, value)


def values(owner: Any) -> dict[str, Any]:
    """The options by name, as plain values."""
    return {field.name: getattr(owner, field.name) for field in dataclasses.fields(owner)}


def build_from_words(kind: type[T], name: str, options: Mapping[str, Any]) -> T:
    """An analysis or edit of that kind from options by name, as texts or values.

    Raises:
        UnknownName: an option that it does not have.
    """
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]  # every concrete one is a dataclass
    for option in options:
        if option not in names:
            raise UnknownName(f"{name} has no option '{option}'.{did_you_mean(option, names)}")
    return kind(**options)


def _coerced(where: str, value: Any, hint: Any, metadata: Mapping[str, Any]) -> Any:
    """`value` as the option's type, checked against its choices or its range."""
    origin_ = get_origin(hint)
    if origin_ is Literal or metadata.get("map_kind"):
        choices = (*map_kind_names(), *metadata["further"]) if metadata.get("map_kind") else get_args(hint)
        if value not in choices:
            raise BadOption(
                f"{where} is {value!r}; it takes {', '.join(map(str, choices))}.{did_you_mean(str(value), map(str, choices))}"
            )
        return value
    if origin_ in (types.UnionType,):
        inner = [kind for kind in get_args(hint) if kind is not type(None)]
        return None if value is None else _coerced(where, value, inner[0], metadata)
    if origin_ is tuple:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        parts = tuple(value) if isinstance(value, Iterable) else (value,)  # one alone stands for a list of one
        return tuple(_coerced(where, part, get_args(hint)[0], metadata) for part in cast(tuple[Any, ...], parts))
    if origin_ is Mapping:
        if not isinstance(value, Mapping):
            raise BadOption(f"{where} is {value!r}; it takes a table of names and values.")
        return dict(cast(Mapping[str, Any], value))
    try:
        made = _boolean(value) if hint is bool else hint(value)
    except (TypeError, ValueError):
        raise BadOption(f"{where} is {value!r}; it takes a value of type {hint.__name__}.") from None
    low, high = metadata.get("low"), metadata.get("high")
    if hint in (int, float) and not ((low is None or made >= low) and (high is None or made <= high)):
        raise BadOption(
            f"{where} is {made}; it takes {'any number' if low is None else low} to {'any' if high is None else high}."
        )
    return made


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("true", "yes", "1", "on"):
        return True
    if str(value).lower() in ("false", "no", "0", "off"):
        return False
    raise ValueError(value)
