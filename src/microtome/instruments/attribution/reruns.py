"""The targets of a batch again, with the values of one layer or the images themselves changed.

Only the part of the network after the layer runs again, from a tape of its operations (`instruments.perturbation`) that is compared with
the network before it is used. Where there is no such tape, or it gives other values, the whole network runs with the changed
values put in place of the layer's own.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from microtome.batch_size import fitting_batch
from microtome.instruments.perturbation.planning import living_values
from microtome.instruments.perturbation.recording import Each, Recording, RecordingFailed
from microtome.instruments.perturbation.tape import INPUT, Tape, memory_layout, run_node
from microtome.specimen import Layer, Specimen, replace_values, watch

MAX_AT_ONCE = 64  # changed images that run at once, where memory allows
TOLERANCE = 1e-4  # largest difference from the network itself, as a fraction of its largest output
Read = Callable[[Specimen, Tensor], Tensor]  # what the targets rest on, from a specimen and images
Ask = Callable[[Tensor], Sequence[Tensor]]  # the targets, one number for each image, of what was read
Change = Callable[[Tensor, range], Tensor]  # of (image, ...), for these variants: (variant, image, ...)


class Reruns:
    """Runs one batch again with changed values of the layer `name`, or with changed images.

    `clean` (target, image) are the targets of the batch as it is. `why` says why the whole network runs, and is empty where only
    the part after the layer does.
    """

    def __init__(self, specimen: Specimen, name: str, x: Tensor, read: Read, ask: Ask, memory: float | None = None) -> None:
        self.specimen, self.layer, self.x, self.read, self.ask = specimen, specimen.layer(name), x, read, ask
        self.name = name
        self.images = len(x)
        self.many = max(1, fitting_batch(specimen, MAX_AT_ONCE, memory) // self.images)
        self.value, self.output = self._watched_pass()
        self.why = ""
        self.later: _LaterPart | None = None
        try:
            self.later = self._verified(_LaterPart(specimen, name, x, read))
        except RecordingFailed as error:
            self.why = str(error)
        # by the same operations as what is compared with it, so that a change without effect has none in rounding either
        self.clean = self.with_values(1, lambda maps, _: maps[None])[:, 0]

    def with_values(self, count: int, change: Change) -> Tensor:
        """The targets (target, variant, image) with the layer's maps (image, unit, row, col) as `change` gives them."""
        maps = self.layer.maps(self.value)
        return self._each_part(count, lambda part: self._with_value(self._laid_out(change(maps, part))))

    def with_images(self, count: int, change: Change) -> Tensor:
        """The targets (target, variant, image) of the images (image, rgb, row, col) as `change` gives them."""
        return self._each_part(count, lambda part: self._with_images(change(self.x, part).flatten(0, 1)))

    def _each_part(self, count: int, run: Callable[[range], Tensor]) -> Tensor:
        rows: list[Tensor] = []
        with torch.no_grad():
            for start in range(0, count, self.many):
                output = run(range(start, min(start + self.many, count)))
                rows += [torch.stack(list(self.ask(own))) for own in output.split(self.images)]
        return torch.stack(rows, 1)

    def _laid_out(self, variants: Tensor) -> Tensor:
        """Values (variant · image, …) as the layer gives them, from maps (variant, image, unit, row, col)."""
        return to_layout(self.layer, variants.flatten(0, 1), self.value.repeat(len(variants), *[1] * (self.value.dim() - 1)))

    def _with_value(self, value: Tensor) -> Tensor:
        return self.later.run(value) if self.later is not None else self._whole(value)

    def _with_images(self, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=memory_layout(self.x))
        return self.later.tape.run({INPUT: x}, 0, len(x)) if self.later is not None else self.read(self.specimen, x)

    def _whole(self, value: Tensor) -> Tensor:
        """What is read from the whole network with `value` in place of the layer's own."""
        times = len(value) // self.images
        with torch.no_grad(), replace_values(self.specimen, self.name, lambda *_: value.clone()):
            return self.read(self.specimen, self.x.repeat(times, 1, 1, 1).contiguous(memory_format=memory_layout(self.x)))

    def _watched_pass(self) -> tuple[Tensor, Tensor]:
        with torch.no_grad(), watch(self.specimen, self.name) as seen:
            output = self.read(self.specimen, self.x.clone(memory_format=torch.preserve_format))
        return seen[self.name], output

    def _verified(self, later: "_LaterPart") -> "_LaterPart":
        """`later`, if it gives what the network gives for the values as they are and with every second unit at zero, twice.

        Raises:
            RecordingFailed: it does not.
        """
        maps = self.layer.maps(self.value)
        halved = maps.clone()
        halved[:, ::2] = 0.0
        changed = self._laid_out(torch.stack([halved, maps]))
        with torch.no_grad():
            wanted = torch.cat([self._whole(changed[: self.images]), self.output])
            given = later.run(changed)
        if given.shape != wanted.shape or not bool((given - wanted).abs().max() <= TOLERANCE * wanted.abs().max()):
            raise RecordingFailed("run from this layer on, it gives other values than the network itself")
        return later


class _LaterPart:
    """The part of the network after one layer, for any number of copies of a batch.

    Raises:
        RecordingFailed: the network cannot be written down so that it runs from there.
    """

    def __init__(self, specimen: Specimen, name: str, x: Tensor, read: Read) -> None:
        def watching(each: Each) -> AbstractContextManager[Any]:
            return watch(specimen, name, each=each)

        self.tape: Tape = Recording(lambda image: read(specimen, image), x[:1], watching, lambda *_: None).tape()
        self.value = self.tape.watched[name]
        given = [place for place, node in enumerate(self.tape.nodes) if self.value in node.gives]
        if not given:
            raise RecordingFailed("the layer's value is not computed from the images")
        self.start = given[0] + 1
        if any(node.aliased for node in self.tape.nodes[self.start :]):
            raise RecordingFailed("it overwrites values that others share")
        self.images = len(x)
        living = [value for value in living_values(self.tape, self.start) if value != self.value]
        values = {INPUT: x.clone(memory_format=torch.preserve_format)}
        with torch.no_grad():
            for node in self.tape.nodes[: self.start]:
                values |= dict(zip(node.gives, run_node(node, values, self.images), strict=False))
        self.known = {value: values[value] for value in living}

    def run(self, value: Tensor) -> Tensor:
        """What is read from the network with `value` (variant · image, …) in place of the layer's own."""
        times = len(value) // self.images
        known = {
            number: kept.repeat(times, *[1] * (kept.dim() - 1)) if number in self.tape.moving else kept.clone()
            for number, kept in self.known.items()
        }
        return self.tape.run(known | {self.value: value.clone()}, self.start, len(value))


def to_layout(layer: Layer, maps: Tensor, like: Tensor) -> Tensor:
    """Maps (image, unit, row, col) in the layer's own layout; class and register tokens are those of `like`."""
    if layer.layout == "nhwc":
        return maps.permute(0, 2, 3, 1).contiguous()
    if layer.layout == "tokens":
        return torch.cat([like[:, : layer.prefix], maps.flatten(2).transpose(1, 2)], 1)
    return maps.contiguous(memory_format=memory_layout(like))
