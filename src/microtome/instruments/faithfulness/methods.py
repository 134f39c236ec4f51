"""The methods that are put to the test on one network: kinds of map, and three maps that know nothing of the network.

The baselines are a random map, a blob in the centre of the image and an edge detector. All methods give maps at the size of the
image, drawn by the same code.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microtome.errors import Unmeasurable, WatchError
from microtome.instruments.attribution import MapKind, VisibleLayers, attribution_maps, coarsest_layer, map_kind, visible_layers
from microtome.instruments.attribution.drawing import draw_map
from microtome.instruments.attribution.gaussian_widths import with_gaussians
from microtome.instruments.attribution.kind_refusals import missing_package
from microtome.instruments.faithfulness.kind_choice import is_cheap
from microtome.numerics.maps.heat import centre_prior
from microtome.numerics.maps.strata import edge_strength
from microtome.numerics.receptive.geometry import Where, interpolate
from microtome.specimen import Specimen

BASELINES = {"random": "Random map", "centre": "Centre blob", "edges": "Edge detector"}


@dataclass(frozen=True, eq=False)
class MapRequest:
    """Images (image, rgb, row, col) with their places in the set, and the classes (image,) that maps are asked for, one or more."""

    x: Tensor
    index: np.ndarray[Any, Any]
    classes: Sequence[Tensor]

    def first(self, count: int) -> "MapRequest":
        """The request for the first images alone."""
        return MapRequest(self.x[:count], self.index[:count], [each[:count] for each in self.classes])

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.x.shape[2]), int(self.x.shape[3])


DrawMaps = Callable[
    [Specimen, MapRequest], list[Tensor]
]  # for each of the classes (image, row, col), at the size of the images


@dataclass(frozen=True)
class MapMethod:
    """One method: what draws its maps, and whether it is a baseline."""

    name: str
    title: str
    draw: DrawMaps
    baseline: bool = False
    costly: bool = False  # takes many passes for each map


def map_methods(
    specimen: Specimen, kinds: Sequence[str], at: str, x: Tensor, memory: float | None = None
) -> tuple[list[MapMethod], dict[str, str], str]:
    """The methods of these kinds and the baselines, the reason for each kind (by title) that does not apply, and the layer of the maps.

    Of several layers that `at` names the coarsest is taken. `x` are some images (image, rgb, row, col).

    Raises:
        Unmeasurable: none of the kinds applies.
    """
    methods: list[MapMethod] = []
    refused: dict[str, str] = {}
    shown, why = _shown_layers(specimen, at, x)
    layer = coarsest_layer(shown) if shown is not None else ""
    for name in kinds:
        kind = map_kind(name)
        try:
            own, place, reason = _place(specimen, kind, name, shown, layer, x)
        except Unmeasurable as error:
            own, place, reason = None, "", str(error).rstrip(".")
        if own is None:
            refused[kind.title] = reason or why
        else:
            methods.append(MapMethod(name, kind.title, _drawer(kind, own, place, memory), costly=not is_cheap(kind)))
    if not methods:
        raise Unmeasurable("; ".join(f"{title}: {reason}" for title, reason in refused.items()) + ".")
    where = shown.where[layer] if shown is not None else None
    return [*methods, *baseline_methods(specimen, where)], refused, layer


def baseline_methods(specimen: Specimen, where: Where | None) -> list[MapMethod]:
    """The baselines; the random map has as many positions as `where`, drawn in the same way (without it, 7 x 7)."""
    draws: dict[str, DrawMaps] = {
        "random": lambda _, request: [random_map(request, where)] * len(request.classes),
        "centre": lambda _, request: [_centre(request)] * len(request.classes),
        "edges": lambda network, request: [_edges(network, request)] * len(request.classes),
    }
    return [MapMethod(name, title, draws[name], baseline=True) for name, title in BASELINES.items()]


def random_map(request: MapRequest, where: Where | None, seed: int = 0) -> Tensor:
    """A map of uniform random numbers at the positions of `where`, another one for each image of the set."""
    counts = where.counts if where is not None else (7, 7)
    rows = [
        torch.rand(counts, generator=torch.Generator().manual_seed(seed * 1_000_003 + int(place) + 1), dtype=torch.float64)
        for place in request.index
    ]
    heat = torch.stack(rows).to(request.x.device)
    if where is None:
        return torch.nn.functional.interpolate(heat[:, None], size=request.size, mode="bilinear", align_corners=False)[:, 0]
    return interpolate(heat, where, request.size, request.size)


def _centre(request: MapRequest) -> Tensor:
    return centre_prior(*request.size).to(request.x.device).expand(len(request.x), -1, -1)


def _edges(specimen: Specimen, request: MapRequest) -> Tensor:
    """The size of the brightness gradient of the images as they go into the network, whatever their channels."""
    recipe = specimen.recipe
    mean, std = (torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1) for values in (recipe.mean, recipe.std))
    levels = ((request.x.float().cpu() * std + mean) * 255).permute(0, 2, 3, 1)
    colours = levels if levels.shape[3] == 3 else levels.mean(3, keepdim=True).expand(-1, -1, -1, 3)
    return torch.from_numpy(edge_strength(colours.numpy())).to(request.x.device)


def _shown_layers(specimen: Specimen, at: str, x: Tensor) -> tuple[VisibleLayers | None, str]:
    """The layers where class evidence can be seen, or why there are none."""
    try:
        return visible_layers(specimen, [at], x), ""
    except (Unmeasurable, WatchError) as error:  # the pixels can still be mapped
        return None, str(error).rstrip(".")


def _place(
    specimen: Specimen, kind: MapKind, name: str, shown: VisibleLayers | None, layer: str, x: Tensor
) -> tuple[VisibleLayers | None, str, str]:
    """The layers with that of the kind's maps, or why the kind does not apply there."""
    if reason := missing_package(name):
        return None, "", reason
    if kind.on_input:
        own = visible_layers(specimen, [], x, kind=kind)
        return own, own.names[0], ""
    if shown is None:
        return None, "", ""
    if reason := kind.refusals(specimen, [layer], x).get(layer):
        return None, "", reason
    return (with_gaussians(specimen, shown, x, 1.0)[0] if kind.gaussian else shown), layer, ""


def _drawer(kind: MapKind, shown: VisibleLayers, layer: str, memory: float | None) -> DrawMaps:
    def draw(network: Specimen, request: MapRequest) -> list[Tensor]:
        classes = list(request.classes)
        _, maps = attribution_maps(network, [layer], request.x, lambda _: classes, kind, where=shown.where, memory=memory)
        return [draw_map(shown, layer, own[layer].detach(), request.size, request.size) for own in maps]

    return draw
