"""One scan through two networks: each batch of images goes through both, each in its own preprocessing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from microtome.errors import Unmeasurable
from microtome.images import Images
from microtome.instruments.image_pairs import flat_features, shapes_fit
from microtome.instruments.layer_cka import add_cka_batch, compares_all_pairs, empty_cka_tally, estimate_cka
from microtome.numerics.statistics.cka import centered_gram
from microtome.numerics.statistics.cka_intervals import CkaEstimate
from microtome.scan import Batch, Pace, scan_batches
from microtome.specimen import Specimen, first_tensor, watch
from microtome.specimen.tracing import input_layout


@dataclass(frozen=True)
class LayerPair:
    """CKA (layer, layer_) of layers of one network with those of another, how many images it rests on, and whether in all pairs."""

    cka: CkaEstimate
    count: int
    all_pairs: bool


def compare_layers(
    networks: tuple[Specimen, Specimen],
    layers: tuple[Sequence[str], Sequence[str]],
    images: Images,
    pace: Pace,
    what: str,
    key: Sequence[Any],
) -> LayerPair:
    """CKA of the layers of the first network with those of the second, over the same images.

    Both are run on each batch, so that an interrupted scan resumes with both; images come in the order of their contents.
    """
    names = [_row_name(side, name) for side, own in enumerate(layers) for name in own]
    shapes = [network.layer(name).shape for network, own in zip(networks, layers, strict=True) for name in own]
    every = shapes_fit(shapes, len(images))
    tally = empty_cka_tally()

    def visit(batch: Batch) -> None:
        values: dict[str, Any] = {}
        for side, (network, own) in enumerate(zip(networks, layers, strict=True)):
            x = batch.x if side == 0 else _second_input(networks, batch)
            values |= {_row_name(side, name): value for name, value in _layer_values(network, own, x, every).items()}
        add_cka_batch(tally, batch, values, names, every)

    scan_batches(networks[0], images, tally, pace, visit, what=what, key=key)
    estimate, count = estimate_cka(tally, names)
    cut = len(layers[0])
    part = CkaEstimate(*(values[:cut, cut:] for values in (estimate.value, estimate.error, estimate.low, estimate.high)))
    return LayerPair(part, count, count == len(images) and compares_all_pairs(tally))


def _row_name(side: int, name: str) -> str:
    """A layer's name in the tally of both networks, whose layers may have the same names."""
    return f"{side}:{name}"


def _second_input(networks: tuple[Specimen, Specimen], batch: Batch) -> Tensor:
    """The images of the batch as the second network takes them; decoded again where its size, crop or interpolation differs."""
    first, second = (network.recipe for network in networks)
    alike = (first.size, first.crop, first.interpolation) == (second.size, second.crop, second.interpolation)
    plain = alike and batch.images.source.channels is None and second.channels in (1, 3)
    pixels = batch.pixels if plain else batch.images.inputs(second, batch.index)
    return second.normalise(torch.from_numpy(pixels).to(networks[1].device), input_layout(networks[1].net))


def _layer_values(network: Specimen, names: Sequence[str], x: Tensor, every: bool) -> dict[str, Any]:
    """Features of each layer, or their Gram matrix, from one forward pass; of a layer that runs more than once the first output."""
    values: dict[str, Any] = {}

    def look(name: str, value: Tensor) -> None:
        if name not in values:
            values[name] = flat_features(value) if every else centered_gram(value)

    with watch(network, names, each=look):
        if first_tensor(network.run(x)) is None:
            raise Unmeasurable(f"{network.name} gives no tensor, so its forward pass cannot be measured.")
    return values
