"""Which kinds of map are compared: names, or a word for several of them."""

from collections.abc import Sequence

from microtome.instruments.attribution import MapKind, map_kind
from microtome.instruments.attribution.kind_refusals import missing_package
from microtome.map_kinds import map_kind_entry, map_kind_names

CHEAP, ALL = "cheap", "all"
MAX_COPIES = 8  # changed images that run for one image, above which a kind is not cheap


def cheap_kinds() -> tuple[str, ...]:
    """The kinds that need no package of their own and few passes for one map."""
    return tuple(name for name in map_kind_names() if not map_kind(name).package and is_cheap(map_kind(name)))


def is_cheap(kind: MapKind) -> bool:
    """Whether a map of the kind takes few passes: not one for each unit of a layer, and not many for each image."""
    return kind.copies <= MAX_COPIES and (kind.on_input or kind.needs != "passes")


def named_kinds(words: Sequence[str]) -> tuple[str, ...]:
    """The kinds that the words name, each once: names, `cheap` for those of `cheap_kinds`, `all` for all that are installed.

    Raises:
        UnknownName: there is no such kind; the nearest is named.
    """
    names: list[str] = []
    for word in words:
        if word == CHEAP:
            names += cheap_kinds()
        elif word == ALL:
            names += [name for name in map_kind_names() if not missing_package(name)]
        else:
            names.append(map_kind_entry(word).name)
    return tuple(dict.fromkeys(names))
