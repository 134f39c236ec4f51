"""Which layers an analysis of maps can watch: those that give maps, tokens on a grid or vectors, each value once.

What is asked for and not measured is named, with the reason: `reasons_not_measured` gives both, for a finding's facts.
"""

from collections.abc import Collection, Mapping, Sequence

from microtome.errors import Unmeasurable, layers_hint
from microtome.specimen import Specimen, same_values


def layers_with_maps(specimen: Specimen, at: Sequence[str]) -> list[str]:
    """The layers of the patterns `at` whose output can be laid out as (image, unit, row, col), in execution order.

    Of layers that give the very same tensor (a stage and its last block) the outermost is taken; layers named one by one stay.

    Raises:
        Unmeasurable: there is none.
        UnknownName: a pattern matches nothing.
    """
    names = specimen.find(at) if at else []
    shown = [name for name in specimen.distinct(at) if has_map(specimen, name)] if at else []
    if not shown:
        raise Unmeasurable(
            f"None of the layers {', '.join(names[:3] or at)} of {specimen.name} gives maps, tokens or a "
            f"vector; list the layers: {layers_hint()}"
        )
    return shown


def reasons_not_measured(
    specimen: Specimen, at: Sequence[str], measured: Collection[str], reasons: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Layer -> why it is not measured, for the layers of the patterns `at` that are not among `measured`.

    `reasons` are known already. A layer that hands on the very tensor of a measured one counts as measured.
    """
    asked = specimen.find(at) if at else []
    layers = [name for name in measured if name in _names(specimen)]
    first = same_values(specimen, [*layers, *asked])
    missing: dict[str, str] = {}
    for name in asked:
        if name in measured:
            continue
        if reasons and name in reasons:
            missing[name] = reasons[name]
        elif first[name] not in layers:
            missing[name] = why_no_maps(specimen, name)
    return missing


def why_no_maps(specimen: Specimen, name: str) -> str:
    """Why a layer cannot be measured as maps, for a sentence that begins with its name."""
    layer = specimen.layer(name)
    shape = " x ".join(map(str, layer.shape))
    if layer.layout == "vector" or layer.grid == (1, 1):
        return "it has no rows and columns"
    if layer.layout == "other" or layer.grid is None:
        return f"rows and columns cannot be identified in its output of shape {shape}"
    return "it does not come from the image alone"


def has_map(specimen: Specimen, name: str) -> bool:
    """Whether the layer gives one map, row of tokens on a grid, or vector for each image."""
    layer = specimen.layer(name)
    return layer.layout in ("nchw", "nhwc", "vector") or (layer.layout == "tokens" and layer.grid is not None)


def _names(specimen: Specimen) -> frozenset[str]:
    return frozenset(layer.name for layer in specimen.layers)
