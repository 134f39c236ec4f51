"""Why a kind of map cannot be asked for with these options, before anything runs."""

import importlib.util

from microtome.errors import option_hint, option_name
from microtome.instruments.attribution.kind_contract import map_kind
from microtome.instruments.attribution.pixel_targets import INPUT


def kind_refusal(name: str, *, layers: str = "", target: str = "", fuse: bool = False) -> str:
    """Why the kind cannot be asked for, as a clause; empty where it can.

    `layers` are those that the user named, empty where none was.
    """
    kind = map_kind(name)
    if target == "embedding" and not kind.for_embeddings:
        return f"{kind.title} rests on the weights of a class, and target embedding has no class; try {option_hint('kind', 'hirescam')}"
    if kind.on_input and layers not in ("", INPUT):
        return f"{kind.title} maps the pixels, not a layer: leave out {option_name('at')} ({layers} given)"
    if kind.on_input and fuse:
        return f"{kind.title} maps the pixels alone, so there is nothing to fuse: leave out {option_name('fuse')}"
    return missing_package(name)


def missing_package(name: str) -> str:
    """What has to be installed for a kind, as a clause; empty where nothing is missing."""
    kind = map_kind(name)
    if kind.package and importlib.util.find_spec(kind.package) is None:
        return f"{kind.title} comes with {kind.package}, which is not installed: pip install 'microtome[{kind.package}]'"
    return ""
