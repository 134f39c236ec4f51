"""At which layers of a network class evidence can be seen, and why not at others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from microtome.errors import Unmeasurable, WatchError, layers_hint
from microtome.instruments.attribution.kind_contract import MapKind
from microtome.instruments.attribution.pixel_targets import INPUT
from microtome.instruments.attribution.positions import cell_positions
from microtome.numerics.receptive.geometry import Where, even_tiling
from microtome.specimen import Specimen, tap
from microtome.specimen.gradient_cuts import gradient_cut

MAX_FALLBACK_LAYERS = 24  # layers before a silent one that are tried for the advice in its message


@dataclass(frozen=True)
class VisibleLayers:
    """Layers whose maps mean something, where their positions lie, and why the others were left out.

    `sigma` (row, col) px are the widths of the Gaussians that the positions of a layer are drawn as; without one, the nearest counts.
    """

    names: tuple[str, ...]
    where: Mapping[str, Where]
    dropped: Mapping[str, str]
    sigma: Mapping[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])


def best_score(specimen: Specimen, x: Tensor) -> Tensor:
    """The highest class score of each image (image,)."""
    return specimen.logits(x).max(1).values


def visible_layers(
    specimen: Specimen,
    at: Sequence[str],
    x: Tensor,
    score: Callable[[Specimen, Tensor], Tensor] = best_score,
    kind: MapKind | None = None,
) -> VisibleLayers:
    """The layers of the patterns `at` where the gradient of the score of `x` (image, rgb, row, col) is not zero everywhere.

    Of layers that give the same tensor (a stage and its last block) the outermost is taken, without a word; those named stay.

    Layers to which `kind` does not apply are left out too. A kind of the pixels has the one layer `input`, whatever `at` holds.

    Raises:
        WatchError: the gradient is zero at all of them; the layer to use instead is named.
        Unmeasurable: none of them has rows and columns, or `kind` applies to none.
    """
    if kind is not None and kind.on_input:
        return _visible_pixels(specimen, x, kind)
    layers = [specimen.layer(name) for name in specimen.find(at)]
    spatial = [layer.name for layer in layers if layer.has_positions]
    dropped = {layer.name: "it has no rows and columns" for layer in layers if layer.name not in spatial}
    if not spatial:
        raise Unmeasurable(
            f"None of {', '.join(layer.name for layer in layers)} has rows and columns. "
            f"List layers that do: {layers_hint(specimen.name)}"
        )
    try:
        pairs = _layer_gradients(specimen, spatial, x, score)
    except WatchError as error:
        if cut := gradient_cut(specimen.net, x[:1]):
            raise Unmeasurable(f"the class gradient does not reach {', '.join(spatial)}: {cut}.") from error
        raise
    silent = [name for name in spatial if not bool(pairs[name][1].any())]
    if silent and (cut := gradient_cut(specimen.net, x[:1])):
        raise Unmeasurable(f"the class gradient does not reach {', '.join(silent)}: {cut}.")
    for name in silent:
        dropped[name] = (
            "the class gradient is zero everywhere, because nothing after it depends on its positions"
            + _fallback_advice(specimen, name, x, score)
        )
    if len(silent) == len(spatial):
        raise WatchError("; ".join(f"{name}: {dropped[name]}" for name in silent) + ".")
    kept = [name for name in specimen.distinct(at) if name in spatial and name not in silent]
    refused = kind.refusals(specimen, kept, x) if kind is not None else {}
    if kind is not None and len(refused) == len(kept):
        reasons = [f"{', '.join(names)}: {reason}" for reason, names in _names_by_reason(refused).items()]
        raise Unmeasurable(f"{kind.title} does not apply here. {'; '.join(reasons)}.")
    dropped |= refused
    kept = [name for name in kept if name not in refused]
    return VisibleLayers(tuple(kept), cell_positions(specimen, kept, x), dropped)


def _visible_pixels(specimen: Specimen, x: Tensor, kind: MapKind) -> VisibleLayers:
    if reason := kind.refusals(specimen, [INPUT], x).get(INPUT):
        raise Unmeasurable(f"{kind.title} does not apply here: {reason}.")
    size = int(x.shape[2]), int(x.shape[3])
    return VisibleLayers((INPUT,), {INPUT: even_tiling(size, size)}, {})


def place_cells(shown: VisibleLayers, place: str, size: tuple[int, int]) -> VisibleLayers:
    """`shown` with its positions where `place` puts them: "arithmetic" leaves them, "even" tiles the image of `size` px."""
    if place == "arithmetic":
        return shown
    return replace(shown, where={name: even_tiling(size, where.counts) for name, where in shown.where.items()})


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
    earlier = [layer.name for layer in specimen.layers if layer.order < order and layer.has_positions and layer.kind in kinds]
    earlier = earlier[-MAX_FALLBACK_LAYERS:]
    pairs = _layer_gradients(specimen, earlier, x[:1], score) if earlier else {}
    read = [name for name in earlier if bool(pairs[name][1].any())]
    return f": take {read[-1]} instead" if read else ""


def _names_by_reason(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    by_reason: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        by_reason.setdefault(reason, []).append(name)
    return by_reason


def runner_up(scores: Tensor, best: Tensor) -> Tensor:
    """The class (image,) with the highest score (image, class) beside `best` (image,)."""
    return scores.scatter(1, best[:, None], -torch.inf).argmax(1)


def coarsest_layer(shown: VisibleLayers) -> str:
    """The layer with the fewest positions, the last of several."""
    return min(reversed(shown.names), key=lambda name: shown.where[name].row.count * shown.where[name].col.count)
