"""Class evidence in one network: at which layers it can be seen, where their positions lie, and the maps of one batch.

A kind of map is one file under `kinds/`; `map_kind(name)` gives it.
"""

from microtome.instruments.attribution.batch_maps import TargetMaps, attribution_maps, target_maps
from microtome.instruments.attribution.comparison import mean_rank_correlation
from microtome.instruments.attribution.kind_contract import (
    GradientKind,
    LayerValues,
    MapKind,
    PixelKind,
    kind_caveats,
    kind_digest,
    map_kind,
)
from microtome.instruments.attribution.kind_refusals import kind_refusal
from microtome.instruments.attribution.pixel_targets import INPUT, PixelTargets
from microtome.instruments.attribution.positions import cell_positions, offset_px
from microtome.instruments.attribution.visible_layers import (
    VisibleLayers,
    best_score,
    coarsest_layer,
    place_cells,
    runner_up,
    visible_layers,
)

__all__ = [
    "INPUT",
    "GradientKind",
    "LayerValues",
    "MapKind",
    "PixelKind",
    "PixelTargets",
    "TargetMaps",
    "VisibleLayers",
    "attribution_maps",
    "best_score",
    "cell_positions",
    "coarsest_layer",
    "kind_caveats",
    "kind_digest",
    "kind_refusal",
    "map_kind",
    "mean_rank_correlation",
    "offset_px",
    "place_cells",
    "runner_up",
    "target_maps",
    "visible_layers",
]
