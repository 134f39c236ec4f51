"""Several kinds of map of the same images, layers and targets: what the report draws side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from microtome.analyses.cam.arrays import OVERLAY_GRID, BatchMaps, overlay_grid
from microtome.analyses.cam.kinds import FUSED, fused_names
from microtome.analyses.cam.targets import MapTarget
from microtome.errors import Unmeasurable, WatchError
from microtome.finding import array
from microtome.images import Images
from microtome.instruments.attribution import (
    INPUT,
    MapKind,
    VisibleLayers,
    kind_refusal,
    map_kind,
    place_cells,
    target_maps,
    visible_layers,
)
from microtome.instruments.attribution.drawing import draw_map, fuse_maps, positive_part, resample_positive
from microtome.instruments.attribution.gaussian_widths import with_gaussians
from microtome.numerics.receptive.geometry import even_tiling
from microtome.scan import Batch, Pace, Step, batches
from microtome.specimen import Specimen

PIXEL_GRID = 112  # positions, longest side of the maps side by side where pixels are among them
MIN_GRID = 14
MAX_VALUES = 1_500_000  # of all maps side by side, about 4 MB of a report; with more maps their grid is coarser


@dataclass(frozen=True)
class MapPlan:
    """Where maps are taken and how they are drawn: the options of `cam` that all kinds follow."""

    at: tuple[str, ...]
    place: str
    gaussian_width: float
    fuse: bool

    def layers(
        self, specimen: Specimen, batch: Batch, target: MapTarget, kind: MapKind
    ) -> tuple[VisibleLayers, dict[str, str]]:
        """The layers of a kind with the places of their positions, and the widths of its Gaussians in words."""
        some = batch.x[:4]
        shown = place_cells(visible_layers(specimen, self.at, some, target.score, kind), self.place, specimen.recipe.size)
        return with_gaussians(specimen, shown, some, self.gaussian_width) if kind.gaussian else (shown, {})


@dataclass(frozen=True)
class KindMaps:
    """The signed maps (image, row, col) of one kind by layer, for each target, in the order of the images."""

    name: str
    kind: MapKind
    shown: VisibleLayers
    maps: list[dict[str, Tensor]]


def maps_of_first(name: str, shown: VisibleLayers, parts: Sequence[BatchMaps], targets: int) -> KindMaps:
    """Those of the kind that `cam` measures, from its batches: of all targets, or of the one and its rival."""
    groups = [[part.maps for part in parts[number::targets]] for number in range(targets)]
    if targets == 1:
        groups.append([part.other for part in parts])
    order = _order([part.index for part in parts[::targets]])
    maps = [{layer: torch.cat([part[layer] for part in group])[order] for layer in shown.names} for group in groups]
    return KindMaps(name, map_kind(name), shown, maps)


def maps_of_kind(
    specimen: Specimen, taken: Images, name: str, targets: Sequence[MapTarget], plan: MapPlan, pace: Pace
) -> KindMaps:
    """Those of another kind, for the same targets, from one pass through the network for all of them.

    Raises:
        Unmeasurable, WatchError: the kind does not apply here.
    """
    kind = map_kind(name)
    shown: VisibleLayers | None = None
    made: list[list[dict[str, Tensor]]] = []
    index: list[np.ndarray[Any, Any]] = []
    for batch in batches(specimen, taken, pace):
        shown = shown or plan.layers(specimen, batch, targets[0], kind)[0]
        answers = []

        def values(output: Tensor, batch: Batch = batch, answers: list[Any] = answers) -> Sequence[Tensor]:
            answers += [target.ask(output, batch) for target in targets]
            return answers[0].values if len(targets) == 1 else [answer.values[0] for answer in answers]

        def again(output: Tensor, answers: list[Any] = answers) -> Sequence[Tensor]:
            return answers[0].again(output) if len(targets) == 1 else [answer.again(output)[0] for answer in answers]

        own = target_maps(
            specimen, shown.names, batch.x, targets[0].read, values, kind, again=again, where=shown.where, memory=pace.memory
        )
        made.append([{layer: value.cpu() for layer, value in maps.items()} for maps in own.maps])
        index.append(batch.index)
        pace.listener(Step(f"{specimen.name}: {kind.title}", int(batch.index[-1]) + 1, len(taken), 0.0))
    assert shown is not None  # `take` refuses an empty choice
    order = _order(index)
    maps = [
        {layer: torch.cat([part[layer] for part in group])[order] for layer in shown.names} for group in zip(*made, strict=True)
    ]
    return (
        _fused(specimen, KindMaps(name, kind, shown, maps))
        if plan.fuse and not kind.on_input
        else KindMaps(name, kind, shown, maps)
    )


def maps_beside(
    specimen: Specimen,
    taken: Images,
    names: Sequence[str],
    targets: Sequence[MapTarget],
    plan: MapPlan,
    pace: Pace,
    *,
    target: str,
) -> tuple[list[KindMaps], dict[str, str]]:
    """The maps of each of these kinds, and the reason for each kind (by title) that does not apply."""
    made: list[KindMaps] = []
    refused: dict[str, str] = {}
    for name in names:
        if reason := kind_refusal(name, target=target):
            refused[map_kind(name).title] = reason
            continue
        try:
            made.append(maps_of_kind(specimen, taken, name, targets, plan, pace))
        except (Unmeasurable, WatchError) as error:
            refused[map_kind(name).title] = str(error).rstrip(".")
    return made, refused


def method_arrays(
    specimen: Specimen,
    methods: Sequence[KindMaps],
    images: Sequence[str],
    targets: Sequence[str],
    captions: np.ndarray[Any, Any],
) -> dict[str, xr.DataArray]:
    """`methods` (image, target, layer, method, row, col), on one grid for all; NaN where a kind has no map of a layer.

    A map of the pixels is the same at every layer. `methods_target` (image, target) names what each is for.
    """
    layers, size = layers_of_all(specimen, methods), specimen.recipe.size
    grid = overlay_grid(size, shared_side(methods, len(images) * len(targets) * len(layers) * len(methods)))
    drawn = [torch.stack([_draw(own, maps, layers, size, grid) for maps in own.maps], 1) for own in methods]
    coords = {"image": list(images), "target": list(targets), "layer": layers, "method": [own.kind.title for own in methods]}
    dims = ("image", "target", "layer", "method", "row", "col")
    title = "positive evidence, interpolated for drawing"
    return {
        "methods": array(torch.stack(drawn, 3).float().numpy(), dims, "score", coords, title),
        "methods_target": array(captions, dims[:2], "text", {dim: coords[dim] for dim in dims[:2]}, "what the maps are for"),
    }


def layers_of_all(specimen: Specimen, methods: Sequence[KindMaps]) -> list[str]:
    """The layers that any of the kinds maps, from shallow to deep, a fused map last; `input` where all map the pixels."""
    names = dict.fromkeys(name for own in methods if not own.kind.on_input for name in own.shown.names)
    ordered = sorted((name for name in names if name != FUSED), key=lambda name: specimen.layer(name).order)
    return [*ordered, *([FUSED] if FUSED in names else [])] or [INPUT]


def shared_side(methods: Sequence[KindMaps], maps: int) -> int:
    """The longest side of the grid that all maps share, positions: as fine as the finest, coarser where there are many maps."""
    finest = MIN_GRID
    for own in methods:
        if own.kind.on_input:
            finest = max(finest, PIXEL_GRID)
        else:
            longest = max(max(value.shape[1:]) for value in own.maps[0].values())
            finest = max(finest, OVERLAY_GRID if own.shown.sigma else min(OVERLAY_GRID, longest))
    return max(MIN_GRID, min(finest, int(sqrt(MAX_VALUES / maps))))


def missing_layers(specimen: Specimen, methods: Sequence[KindMaps]) -> dict[str, list[str]]:
    """Title -> layers that other kinds map and this one does not; those of the pixels map none."""
    layers = layers_of_all(specimen, methods)
    missing = {
        own.kind.title: [name for name in layers if name not in own.shown.names] for own in methods if not own.kind.on_input
    }
    return {title: names for title, names in missing.items() if names}


def _draw(
    own: KindMaps, maps: Mapping[str, Tensor], layers: Sequence[str], size: tuple[int, int], grid: tuple[int, int]
) -> Tensor:
    """The positive evidence of one target (image, layer, row, col)."""
    if own.kind.on_input:
        return resample_positive(own.shown, INPUT, maps[INPUT], size, grid)[:, None].expand(-1, len(layers), -1, -1)
    empty = torch.full((len(next(iter(maps.values()))), *grid), torch.nan)
    drawn = [
        draw_map(own.shown, name, positive_part(own.shown, name, maps[name]), size, grid).relu().to(empty)
        if name in own.shown.names
        else empty
        for name in layers
    ]
    return torch.stack(drawn, 1)


def _fused(specimen: Specimen, own: KindMaps) -> KindMaps:
    """The same with one more map, that joins those of shallow, middle and deep."""
    size, shown = specimen.recipe.size, own.shown
    names, grid = fused_names(specimen, shown), overlay_grid(size)
    maps = [target | {FUSED: fuse_maps(shown, target, names, size, grid)} for target in own.maps]
    where = {**shown.where, FUSED: even_tiling(size, grid)}
    return replace(own, shown=replace(shown, names=(*shown.names, FUSED), where=where), maps=maps)


def _order(index: Sequence[np.ndarray[Any, Any]]) -> Tensor:
    return torch.from_numpy(np.argsort(np.concatenate(index), kind="stable"))
