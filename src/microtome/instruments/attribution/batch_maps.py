"""The maps of one batch at several layers, of any kind, from as few passes as the kind allows.

For kinds that need gradients one forward pass serves all layers and targets, with one backward pass for each target: the values are
summed, and in eval mode no image touches another. The graph is cut at the first layer, parameters get no gradients.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from microtome.instruments.attribution.kind_contract import LayerValues, MapKind
from microtome.instruments.attribution.pixel_targets import INPUT, PixelTargets, input_layer, pixel_gradients
from microtome.instruments.attribution.positions import cell_positions
from microtome.instruments.attribution.reruns import Ask, Read, Reruns
from microtome.numerics.receptive.geometry import Where
from microtome.specimen import Specimen, tap, watch
from microtome.specimen.full_gradients import freeze_parameters


@dataclass(frozen=True)
class TargetMaps:
    """For each target the signed maps (image, row, col) of every layer, remarks by layer, and how complete the maps are.

    `gaps` (target, image) says by how much the sum of a map of the pixels misses the target's difference from its baseline, as a
    fraction of it; None of kinds that do not promise that sum.
    """

    maps: list[dict[str, Tensor]]
    remarks: dict[str, str] = field(default_factory=dict[str, str])
    gaps: Tensor | None = None


def attribution_maps(
    specimen: Specimen,
    names: Sequence[str],
    x: Tensor,
    targets: Callable[[Tensor], Sequence[Tensor]],
    kind: MapKind,
    *,
    where: Mapping[str, Where] | None = None,
    memory: float | None = None,
) -> tuple[Tensor, list[dict[str, Tensor]]]:
    """The class scores (image, class), and for each of `targets(scores)` (image,) the maps (image, row, col) of every layer."""
    kept: list[Tensor] = []
    classes: list[Tensor] = []

    def again(scores: Tensor) -> list[Tensor]:
        return [scores.gather(1, wanted.to(scores.device)[:, None])[:, 0] for wanted in classes]

    def ask(scores: Tensor) -> list[Tensor]:
        kept.append(scores.detach())
        classes.extend(targets(scores.detach()))
        return again(scores)

    made = target_maps(specimen, names, x, Specimen.logits, ask, kind, again=again, where=where, memory=memory)
    return kept[0], made.maps


def target_maps(
    specimen: Specimen,
    names: Sequence[str],
    x: Tensor,
    read: Read,
    ask: Ask,
    kind: MapKind,
    *,
    again: Ask | None = None,
    where: Mapping[str, Where] | None = None,
    memory: float | None = None,
) -> TargetMaps:
    """The maps of every layer for each of `ask(read(specimen, x))`, one number for each image.

    `again` gives the same targets from another output of the same images (default: `ask`); `where` are the places of the layers'
    positions (default: found here); passes that run again take at most `memory` bytes. The latter three matter to kinds that need passes.
    A kind of the pixels has one layer, `input`, whatever `names` holds.
    """
    if kind.on_input:
        values = {INPUT: _of_pixels(specimen, x, read, ask, again or ask, kind, memory)}
    elif kind.needs in ("gradient", "head"):
        values = _with_gradients(specimen, names, x, read, ask, kind)
    else:
        values = _without_gradients(specimen, names, x, read, ask)
    if kind.needs == "passes" and not kind.on_input:
        where = where or cell_positions(specimen, names, x)
        for name in names:
            reruns = Reruns(specimen, name, x, read, again or ask, memory)
            values[name] = replace(values[name], reruns=reruns, where=where[name])
    with torch.no_grad():
        maps = {name: kind.maps(own) for name, own in values.items()}
        remarks = {name: remark for name, own in values.items() if (remark := kind.remark(own))}
        gaps = kind.gaps(values[INPUT], maps[INPUT]) if kind.on_input else None
    targets = next(iter(values.values())).targets
    return TargetMaps([{name: own[number] for name, own in maps.items()} for number in range(targets)], remarks, gaps)


def _of_pixels(
    specimen: Specimen, x: Tensor, read: Read, ask: Ask, again: Ask, kind: MapKind, memory: float | None
) -> LayerValues:
    """The images with the gradients of every target by the pixels, or with what gives the targets of changed images."""
    if kind.needs == "gradient":
        with freeze_parameters(specimen.net):
            leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
            wanted = list(ask(read(specimen, leaf.clone())))
            gradients = pixel_gradients(specimen, wanted, leaf)
        return LayerValues(input_layer(x), x, len(wanted), list(gradients))
    with torch.no_grad():
        wanted = ask(read(specimen, x.clone(memory_format=torch.preserve_format)))
    pixels = PixelTargets(specimen, x, read, again, memory)
    return LayerValues(input_layer(x), x, len(wanted), pixels=pixels)


def _with_gradients(
    specimen: Specimen, names: Sequence[str], x: Tensor, read: Read, ask: Ask, kind: MapKind
) -> dict[str, LayerValues]:
    """The activations with the gradients of every target, or with the gradients by what goes into the head."""
    head = f"<{specimen.layer(specimen.head).name}" if kind.needs == "head" and specimen.head is not None else ""
    activations: dict[str, Tensor] = {}
    gradients: dict[str, list[Tensor]] = {name: [] for name in (*names, head)}
    with tap(specimen, [*names, *([head] if head else [])]) as taps:
        wanted = ask(read(specimen, x))
        for number, value in enumerate(wanted):
            pairs = taps.gradients(value.sum(), retain=number + 1 < len(wanted))
            for name, (activation, gradient) in pairs.items():
                activations[name] = activation
                gradients[name].append(gradient)
    weights = [gradient.flatten(1) for gradient in gradients[head]]
    made: dict[str, LayerValues] = {}
    for name in names:
        layer = specimen.layer(name)
        own = [layer.maps(gradient) for gradient in gradients[name]]
        made[name] = LayerValues(layer, layer.maps(activations[name]), len(wanted), own, weights)
    return made


def _without_gradients(specimen: Specimen, names: Sequence[str], x: Tensor, read: Read, ask: Ask) -> dict[str, LayerValues]:
    with torch.no_grad(), watch(specimen, list(names)) as seen:
        wanted = ask(read(specimen, x.clone(memory_format=torch.preserve_format)))
    return {name: LayerValues(specimen.layer(name), specimen.layer(name).maps(seen[name]), len(wanted)) for name in names}
