"""Which layers an analysis of maps can watch: those that give maps, tokens on a grid or vectors, each value once."""

from collections.abc import Sequence
from typing import Any

from microtome.errors import Unmeasurable
from microtome.specimen import Specimen


def layers_with_maps(specimen: Specimen, at: Sequence[str]) -> list[str]:
    """The layers of the patterns `at` whose output can be laid out as (image, unit, row, col), in execution order.

    A layer that only hands on the very tensor of one before (a stage and its last block) is left out.

    Raises:
        Unmeasurable: there is none.
        UnknownName: a pattern matches nothing.
    """
    names = specimen.find(at) if at else []
    shown = _distinct_layers(specimen, [name for name in names if _has_map(specimen, name)])
    if not shown:
        raise Unmeasurable(
            f"None of the layers {', '.join(names[:3] or at)} of {specimen.name} gives maps, tokens or a "
            "vector; list the layers: microtome layers SPECIMEN"
        )
    return shown


def _has_map(specimen: Specimen, name: str) -> bool:
    layer = specimen.layer(name)
    return layer.layout in ("nchw", "nhwc", "vector") or (layer.layout == "tokens" and layer.grid is not None)


def _distinct_layers(specimen: Specimen, names: Sequence[str]) -> list[str]:
    gives = {(call.path, call.index): call.gives for call in specimen.anatomy.found.calls}
    kept: dict[Any, str] = {}
    for name in names:
        layer = specimen.layer(name)
        kept.setdefault(gives[layer.path, layer.call or 0][layer.branch or 0], name)
    return list(kept.values())
