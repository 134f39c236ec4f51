"""The targets of a batch, and their gradients by the pixels, for the images as they are and for changed ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from microtome.batch_size import fitting_batch
from microtome.errors import Unmeasurable
from microtome.instruments.attribution.reruns import MAX_AT_ONCE, Ask, Change, Read
from microtome.instruments.perturbation.tape import memory_layout
from microtome.specimen import Layer, Specimen
from microtome.specimen.full_gradients import freeze_parameters
from microtome.specimen.gradient_cuts import why_no_gradient

INPUT = "input"  # the name of the one layer that a map of the pixels has


@dataclass(frozen=True, eq=False)
class PixelGradients:
    """Targets (target, variant, image) of changed images, and their gradients (target, variant, image, rgb, row, col) by these."""

    variants: range
    values: Tensor
    gradients: Tensor


class PixelTargets:
    """Asks one batch `x` (image, rgb, row, col) for its targets again, with changed pixels.

    `ask` gives the targets of all images of the batch from what `read` gives for them, in their order.
    """

    def __init__(self, specimen: Specimen, x: Tensor, read: Read, ask: Ask, memory: float | None = None) -> None:
        self.specimen, self.x, self.read, self.ask, self.memory = specimen, x, read, ask, memory

    def values(self, count: int, change: Change) -> Tensor:
        """The targets (target, variant, image) of the images as `change` gives them, `count` variants of the batch."""
        rows: list[Tensor] = []
        for part in self._parts(count, gradients=False):
            with torch.no_grad():
                rows.append(self.of_variants(change(self.x, part).flatten(0, 1)))
        return torch.cat(rows, 1)

    def gradients(self, count: int, change: Change) -> Iterator[PixelGradients]:
        """Targets and gradients of the images as `change` gives them, as many variants at once as fit into memory."""
        for part in self._parts(count, gradients=True):
            with torch.no_grad():
                changed = change(self.x, part).flatten(0, 1)
            values, gradients = self._with_gradients(changed)
            yield PixelGradients(part, values, gradients.unflatten(1, (len(part), len(self.x))))

    def of_variants(self, variants: Tensor) -> Tensor:
        """The targets (target, variant, image) of variants (variant · image, rgb, row, col) of the batch, by one pass, with its graph."""
        return self._asked(self.read(self.specimen, self._laid_out(variants)))

    def for_images(self, numbers: Sequence[int]) -> "PixelTargets":
        """The same for some images of the batch alone; the first stands in for those left out where all are asked together."""
        places = [numbers.index(number) if number in numbers else 0 for number in range(len(self.x))]

        def ask(output: Tensor) -> list[Tensor]:
            return [values[list(numbers)] for values in self.ask(output[places])]

        return PixelTargets(self.specimen, self.x[list(numbers)], self.read, ask, self.memory)

    def at_once(self, *, gradients: bool) -> int:
        """How many images fit into memory at once, forwards, or forwards and back."""
        return fitting_batch(self.specimen, MAX_AT_ONCE, self.memory, gradients=gradients)

    def _parts(self, count: int, *, gradients: bool) -> Iterator[range]:
        many = max(1, self.at_once(gradients=gradients) // len(self.x))
        return (range(start, min(start + many, count)) for start in range(0, count, many))

    def _laid_out(self, images: Tensor) -> Tensor:
        """A copy in the batch's memory layout, which an operation in place may overwrite."""
        return images.clone(memory_format=torch.contiguous_format).contiguous(memory_format=memory_layout(self.x))

    def _asked(self, output: Tensor) -> Tensor:
        """The targets (target, variant, image) of what was read of variants (variant · image, …)."""
        return torch.stack([torch.stack(list(self.ask(own))) for own in output.split(len(self.x))], 1)

    def _with_gradients(self, images: Tensor) -> tuple[Tensor, Tensor]:
        with freeze_parameters(self.specimen.net):
            leaf = self._laid_out(images).requires_grad_()
            values = self._asked(self.read(self.specimen, leaf.clone()))
            return values.detach(), pixel_gradients(self.specimen, list(values), leaf)


def pixel_gradients(specimen: Specimen, targets: list[Tensor], pixels: Tensor) -> Tensor:
    """The gradient of the sum of each target by the pixels (target, image, rgb, row, col).

    Raises:
        Unmeasurable: the network cuts the gradient before it reaches the pixels; the module that does so is named.
    """
    slopes: list[Tensor] = []
    for number, target in enumerate(targets):
        if not target.requires_grad:
            raise Unmeasurable(f"{specimen.name} has no gradient by the image: {why_no_gradient(specimen.net, pixels[:1])}.")
        (slope,) = torch.autograd.grad(target.sum(), pixels, retain_graph=number + 1 < len(targets), allow_unused=True)
        slopes.append(torch.zeros_like(pixels) if slope is None else slope)
    return torch.stack(slopes)


def input_layer(x: Tensor) -> Layer:
    """The pixels of `x` (image, rgb, row, col) as a layer."""
    channels, rows, cols = (int(side) for side in x.shape[1:])
    return Layer(
        name=INPUT, kind="other", module="", shape=(channels, rows, cols), layout="nchw", grid=(rows, cols), units=channels,
        prefix=0, parameters=0, calls=1, order=-1, path="",
    )  # fmt: skip
