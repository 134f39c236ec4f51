"""The second network of `cross_similarity` in a run: one of the networks of the run, by name or number, or another one."""

from collections.abc import Callable, Sequence
from typing import Any

from microtome.cli import arguments
from microtome.errors import UsageError

PAIRED = "cross_similarity"

Settings = dict[str, dict[str, Any]]


def open_second(names: Sequence[str], only: Sequence[str], settings: Settings, given: dict[str, Any]) -> Settings:
    """The settings with the second network opened: one of the run by its name or number, with its own weights and recipe.

    `--only cross_similarity` alone, in a run of several networks, compares with the last of them.
    """
    to = settings.get(PAIRED, {}).get("to")
    if to is None and PAIRED in only and len(names) > 1:
        to = str(len(names))
    if not isinstance(to, str) or not to:
        return settings
    return {**settings, PAIRED: {**settings.get(PAIRED, {}), "to": _opener(to, names, given)()}}


def _opener(to: str, names: Sequence[str], given: dict[str, Any]) -> Callable[[], Any]:
    openers = arguments.specimen_openers(names, given)
    if to.isdigit():
        if not 1 <= int(to) <= len(names):
            raise UsageError(
                f"{PAIRED}.to={to}: there is no network number {to} among the {len(names)} of this run; give a name."
            )
        return openers[int(to) - 1]
    if names.count(to) > 1:
        places = " or ".join(str(place) for place, name in enumerate(names, 1) if name == to)
        raise UsageError(f"{PAIRED}.to={to} names several networks of this run; give its number, {places}.")
    if to in names:
        return openers[names.index(to)]
    return arguments.specimen_openers([to], given | {"weights": (), "recipe": ()})[0]
