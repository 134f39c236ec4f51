"""Class evidence in one network: at which layers it can be seen, where their positions lie, and the maps of one batch.

One forward pass and one backward pass serve all layers and images of a batch: the scores are summed, and in eval mode no image
touches another. The graph is cut at the first layer, parameters get no gradients.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from microtome.errors import Unmeasurable, WatchError, layers_hint
from microtome.numerics.maps.heat import grad_cam, rank_correlation
from microtome.numerics.receptive.geometry import Where, even_tiling, resample_area
from microtome.numerics.receptive.positions import PositionMode
from microtome.specimen import Layer, Specimen, tap, watch

Method = Callable[[Tensor, Tensor], Tensor]  # activation and gradient (image, unit, row, col) -> map (image, row, col)
MAX_FALLBACK_LAYERS = 24  # layers before a silent one that are tried for the advice in its message


@dataclass(frozen=True)
class VisibleLayers:
    """Layers whose maps mean something, where their positions lie, and why the others were left out."""

    names: tuple[str, ...]
    where: Mapping[str, Where]
    dropped: Mapping[str, str]


def signed_grad_cam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Grad-CAM before its ReLU: evidence for the class is positive, against it negative, (image, row, col)."""
    return grad_cam(activation, gradient) - grad_cam(activation, -gradient)


METHODS: dict[str, Method] = {"gradcam": signed_grad_cam}


def attribution_maps(
    specimen: Specimen, names: Sequence[str], x: Tensor, targets: Callable[[Tensor], Sequence[Tensor]], method: Method
) -> tuple[Tensor, list[dict[str, Tensor]]]:
    """The class scores (image, class), and for each of `targets(scores)` (image,) the maps (image, row, col) of every layer."""
    kept: list[Tensor] = []

    def values(scores: Tensor) -> list[Tensor]:
        kept.append(scores.detach())
        return [scores.gather(1, classes.to(scores.device)[:, None])[:, 0] for classes in targets(scores.detach())]

    maps = target_maps(specimen, names, x, Specimen.logits, values, method)
    return kept[0], maps


def target_maps(
    specimen: Specimen,
    names: Sequence[str],
    x: Tensor,
    read: Callable[[Specimen, Tensor], Tensor],
    values: Callable[[Tensor], Sequence[Tensor]],
    method: Method,
) -> list[dict[str, Tensor]]:
    """For each of `values(read(specimen, x))`, one number for each image, the maps (image, row, col) of every layer."""
    maps: list[dict[str, Tensor]] = []
    with tap(specimen, names) as taps:
        wanted = values(read(specimen, x))
        for number, value in enumerate(wanted):
            pairs = taps.gradients(value.sum(), retain=number + 1 < len(wanted))
            maps.append({name: _method_map(specimen.layer(name), pair, method) for name, pair in pairs.items()})
    return maps


def _method_map(layer: Layer, pair: tuple[Tensor, Tensor], method: Method) -> Tensor:
    with torch.no_grad():
        return method(layer.maps(pair[0]), layer.maps(pair[1]))


def cell_positions(specimen: Specimen, names: Sequence[str], x: Tensor) -> dict[str, Where]:
    """Where the positions of each layer lie in the input of `x`'s size, from one forward pass of its first image."""
    positions_by_layer: dict[str, Where | None] = {}
    probe = x[:1].clone()
    follow = PositionMode(probe)

    def look(name: str, value: Tensor) -> None:
        positions_by_layer[name] = follow.of(value)

    with torch.no_grad(), watch(specimen, names, each=look), follow:
        specimen.net(probe)
    size = (int(probe.shape[2]), int(probe.shape[3]))
    seated: dict[str, Where] = {}
    for name in names:
        grid = specimen.layer(name).grid
        known = positions_by_layer[name]
        assert grid is not None  # only layers with rows and columns come here
        seated[name] = even_tiling(size, grid) if known is None else known.regrid(grid)
    return seated


def best_score(specimen: Specimen, x: Tensor) -> Tensor:
    """The highest class score of each image (image,)."""
    return specimen.logits(x).max(1).values


def visible_layers(
    specimen: Specimen, at: Sequence[str], x: Tensor, score: Callable[[Specimen, Tensor], Tensor] = best_score
) -> VisibleLayers:
    """The layers of the patterns `at` where the gradient of the score of `x` (image, rgb, row, col) is not zero everywhere.

    Of layers that give the same tensor (a stage and its last block) the outermost is taken, without a word; those named stay.

    Raises:
        WatchError: the gradient is zero at all of them; the layer to use instead is named.
        Unmeasurable: none of them has rows and columns.
    """
    layers = [specimen.layer(name) for name in specimen.find(at)]
    spatial = [layer.name for layer in layers if layer.grid is not None and layer.grid != (1, 1) and layer.layout != "vector"]
    dropped = {layer.name: "it has no rows and columns" for layer in layers if layer.name not in spatial}
    if not spatial:
        raise Unmeasurable(
            f"None of {', '.join(layer.name for layer in layers)} has rows and columns. "
            f"List layers that do: {layers_hint(specimen.name)}"
        )
    pairs = _layer_gradients(specimen, spatial, x, score)
    silent = [name for name in spatial if not bool(pairs[name][1].any())]
    for name in silent:
        dropped[name] = (
            "the class gradient is zero everywhere, because nothing after it depends on its positions"
            + _fallback_advice(specimen, name, x, score)
        )
    if len(silent) == len(spatial):
        raise WatchError("; ".join(f"{name}: {dropped[name]}" for name in silent) + ".")
    kept = [name for name in specimen.distinct(at) if name in spatial and name not in silent]
    return VisibleLayers(tuple(kept), cell_positions(specimen, kept, x), dropped)


def mean_rank_correlation(
    maps: Mapping[str, Tensor], others: Mapping[str, Tensor] | Tensor, shown: VisibleLayers, size: tuple[int, int], grid: int
) -> list[float]:
    """The mean rank correlation, for each layer, of maps with other maps of that layer, all on one grid.

    `others` may also be one map (image, row, col) over the image of `size` px, for all layers. Constant maps do not count.
    """

    def on_grid(heat: Tensor, where: Where) -> Tensor:
        # in single precision, so that equal values stay equal: rounding would give them ranks, and a constant map a correlation
        return resample_area(heat, where, size, (grid, grid)).float().flatten(1)

    correlation: list[float] = []
    for name in shown.names:
        if isinstance(others, Tensor):
            second = on_grid(others, even_tiling(size, (int(others.shape[1]), int(others.shape[2]))))
        else:
            second = on_grid(others[name], shown.where[name])
        correlation.append(float(rank_correlation(on_grid(maps[name], shown.where[name]), second).nanmean()))
    return correlation


def place_cells(shown: VisibleLayers, place: str, size: tuple[int, int]) -> VisibleLayers:
    """`shown` with its positions where `place` puts them: "arithmetic" leaves them, "even" tiles the image of `size` px."""
    if place == "arithmetic":
        return shown
    return replace(shown, where={name: even_tiling(size, where.counts) for name, where in shown.where.items()})


def offset_px(where: Where, size: tuple[int, int]) -> float:
    """By how many pixels the positions' centres lie off an even tiling of the image, at most."""
    even = even_tiling(size, where.counts)
    pairs = ((where.row, even.row), (where.col, even.col))
    return max(abs(float((one.centres - other.centres).mean())) for one, other in pairs)


def _layer_gradients(
    specimen: Specimen, names: Sequence[str], x: Tensor, score: Callable[[Specimen, Tensor], Tensor]
) -> dict[str, tuple[Tensor, Tensor]]:
    with tap(specimen, names) as taps:
        pairs = taps.gradients(score(specimen, x).sum())
    # as maps: a class token's gradient says nothing of the patches
    return {name: (specimen.layer(name).maps(a), specimen.layer(name).maps(b)) for name, (a, b) in pairs.items()}


def _fallback_advice(specimen: Specimen, name: str, x: Tensor, score: Callable[[Specimen, Tensor], Tensor]) -> str:
    """The layer before `name` that is read, as the end of a sentence; empty where there is none near."""
    order = specimen.layer(name).order
    kinds = ("norm", "block", "conv", "container")
    earlier = [
        layer.name
        for layer in specimen.layers
        if layer.order < order and layer.grid and layer.kind in kinds and layer.grid != (1, 1)
    ]
    earlier = earlier[-MAX_FALLBACK_LAYERS:]
    pairs = _layer_gradients(specimen, earlier, x[:1], score) if earlier else {}
    read = [name for name in earlier if bool(pairs[name][1].any())]
    return f": take {read[-1]} instead" if read else ""


__all__ = [
    "METHODS",
    "Method",
    "VisibleLayers",
    "mean_rank_correlation",
    "attribution_maps",
    "best_score",
    "offset_px",
    "cell_positions",
    "place_cells",
    "visible_layers",
    "target_maps",
    "signed_grad_cam",
]
