"""Gradients of chosen positions by the input: one forward pass of a batch, one backward pass for each layer."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from microtome.errors import Unmeasurable
from microtome.specimen.full_gradients import freeze_parameters
from microtome.specimen.gradient_cuts import why_no_gradient
from microtome.specimen.specimen import Specimen
from microtome.specimen.watching import watch

ROUNDING_ERROR = 1e-5  # of a mean over units, as a fraction of their mean size
Target = Callable[[Tensor], Tensor]  # what a layer gave (as maps image, unit, row, col) -> one number for each image


def input_gradients(
    specimen: Specimen,
    x: Tensor,
    targets: Mapping[str, Target],
    each: Callable[[str, Tensor], None],
    answer: Target | None = None,
) -> None:
    """Calls `each(layer, gradient (image, rgb, row, col) of its target by x)`; "answer" is the target of what the network gives.

    Raises Unmeasurable where the network cuts the gradient before one of them, with the module that does so.

    In eval mode no image touches another, so the gradient of the sum over images is each image's own. A gradient that is zero
    everywhere is given as such.
    """
    kept: dict[str, Tensor] = {}

    def look(name: str, value: Tensor) -> None:
        # taken inside the hook, before an operation in place can change the value
        kept[name] = targets[name](specimen.layer(name).maps(value)).sum()

    with freeze_parameters(specimen.net):
        x = x.clone().requires_grad_()  # inside: a tensor made in inference mode has no gradient
        with watch(specimen, list(targets), each=look):
            given = specimen.net(x)
        if answer is not None:
            kept["answer"] = answer(specimen.pick(given)).sum()
        names = list(kept)
        if cut_off := [name for name in names if not kept[name].requires_grad]:
            where = "" if cut_off == ["answer"] else f" at {', '.join(name for name in cut_off if name != 'answer')}"
            raise Unmeasurable(f"{specimen.name} has no gradient by the image{where}: {why_no_gradient(specimen.net, x[:1])}.")
        for place, name in enumerate(names):
            (slope,) = torch.autograd.grad(kept[name], x, retain_graph=place + 1 < len(names), allow_unused=True)
            each(name, torch.zeros_like(x) if slope is None else slope)


def middle_cell(grid: tuple[int, int]) -> tuple[int, int]:
    """The middle (row, col) of a grid; of the four middle ones of an even grid, the upper left."""
    return (grid[0] - 1) // 2, (grid[1] - 1) // 2


def mean_over_units(cell: tuple[int, int], units: Sequence[int] = ()) -> Target:
    """The mean over units (all, or those named) at one position of a layer's maps.

    Where that mean is rounding error, as after a LayerNorm without weights, it counts as constant: no gradient is given.
    """

    def target(maps: Tensor) -> Tensor:
        at = maps[:, :, cell[0], cell[1]]
        at = at[:, list(units)] if units else at
        mean = at.mean(1)
        return torch.where(mean.detach().abs() > ROUNDING_ERROR * at.detach().abs().mean(1), mean, 0.0)

    return target
