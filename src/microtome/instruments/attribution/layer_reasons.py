"""Why a layer is among those that are mapped, in words: which alias stands for it, and what it is in its network."""

from microtome.instruments.attribution.pixel_targets import INPUT
from microtome.specimen import Specimen

PLACES = {"deep": "last stage", "middle": "middle stage", "shallow": "early stage"}
GROUPS = {"last3": "last three blocks", "stages": "ends of stages", "blocks": "blocks", "convs": "convolutions"}


def layer_reason(specimen: Specimen, name: str) -> str:
    """What the layer is, for the caption of its map; aliases of a place come before those of a group."""
    if name == INPUT:
        return f"the pixels ({specimen.recipe.size[0]} x {specimen.recipe.size[1]})"
    layer = specimen.layer(name)
    grid = f"{layer.grid[0]} x {layer.grid[1]} positions" if layer.grid else "no positions"
    call = f", call {layer.call + 1} of {layer.calls}" if layer.call is not None else ""
    for alias, place in PLACES.items():
        names = specimen.aliases.get(alias, ())
        if name in names:
            if layer.prefix:
                return f"{alias}: the last layer of this block whose patch tokens the class score depends on ({grid}{call})"
            branch = f"one of {len(names)} branches at the end of" if len(names) > 1 else "the end of"
            return f"{alias}: {branch} the {place} ({grid}{call})"
    for alias, group in GROUPS.items():
        if name in specimen.aliases.get(alias, ()):
            return f"one of the {group} ({grid}{call})"
    return f"{layer.kind}, named by hand ({grid}{call})"
