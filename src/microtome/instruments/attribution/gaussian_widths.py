"""How wide the Gaussians are that stand for the positions of a layer: as wide as its effective receptive field, measured here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from microtome.instruments.attribution.visible_layers import VisibleLayers
from microtome.instruments.input_gradients import Target, input_gradients, mean_over_units, middle_cell
from microtome.numerics.receptive.effective import center_of_mass, fit_gaussian, sum_gradients
from microtome.specimen import Specimen

MIN_R2 = 0.5  # of a Gaussian fit that is used; below it the spread of the field itself is taken


@dataclass(frozen=True)
class GaussianWidth:
    """Standard deviations (row, col) in px, and what they rest on."""

    sigma: tuple[float, float]
    reason: str


def gaussian_widths(specimen: Specimen, names: Sequence[str], x: Tensor) -> dict[str, GaussianWidth]:
    """The width of the effective receptive field of the middle position of each layer, over the images `x` (image, rgb, row, col)."""
    fields = _fields(specimen, names, x, _mean_of_units)
    silent = [name for name in names if not bool(fields[name].any())]
    if silent:  # the mean over units is constant, as after a LayerNorm without weights
        fields |= _fields(specimen, silent, x, _positive_units)
    return {name: _width(fields[name]) for name in names}


def with_gaussians(
    specimen: Specimen, shown: VisibleLayers, x: Tensor, multiple: float
) -> tuple[VisibleLayers, dict[str, str]]:
    """`shown` with positions drawn as Gaussians `multiple` times as wide as the effective receptive field, and the widths in words.

    No Gaussian is narrower than half the distance of two positions, below which a constant map would ripple.
    """
    size = (int(x.shape[2]), int(x.shape[3]))
    sigma: dict[str, tuple[float, float]] = {}
    texts: dict[str, str] = {}
    for name, width in gaussian_widths(specimen, shown.names, x).items():
        where = shown.where[name]
        floors = where.row.jump / 2, where.col.jump / 2
        wide = [
            min(max(part * multiple, floor), 4.0 * side) if part > 0 else floor
            for part, floor, side in zip(width.sigma, floors, size, strict=True)
        ]
        sigma[name] = (wide[0], wide[1])
        least = "; not narrower than half the distance of two positions" if tuple(wide) == floors else ""
        texts[name] = (
            f"positions are drawn as Gaussians of σ {wide[0]:.3g} x {wide[1]:.3g} px ({multiple:g} x {width.reason}{least})."
        )
    return replace(shown, sigma=sigma), texts


def _fields(
    specimen: Specimen, names: Sequence[str], x: Tensor, target: Callable[[tuple[int, int]], Target]
) -> dict[str, Tensor]:
    fields: dict[str, Tensor] = {}

    def each(name: str, slope: Tensor) -> None:
        fields[name] = sum_gradients(slope, "relu").cpu()

    targets: dict[str, Target] = {name: target(middle_cell(_grid(specimen, name))) for name in names}
    input_gradients(specimen, x, targets, each)
    return fields


def _width(field: Tensor) -> GaussianWidth:
    values = field.double().numpy()
    if not values.any():
        return GaussianWidth((0.0, 0.0), "half the distance of two positions, since no gradient reaches the pixels")
    fit = fit_gaussian(values)
    if fit.r2 >= MIN_R2:
        return GaussianWidth(fit.sigma, "the effective receptive field")
    row, col = center_of_mass(values)
    rows, cols = (torch.arange(side, dtype=torch.float64).numpy() for side in values.shape)
    total = values.sum()
    spread = (
        float((values.sum(1) @ (rows - row) ** 2 / total) ** 0.5),
        float((values.sum(0) @ (cols - col) ** 2 / total) ** 0.5),
    )
    return GaussianWidth(spread, "the spread of the effective receptive field, which no Gaussian fits")


def _grid(specimen: Specimen, name: str) -> tuple[int, int]:
    grid = specimen.layer(name).grid
    assert grid is not None  # visible layers have positions
    return grid


def _mean_of_units(cell: tuple[int, int]) -> Target:
    return mean_over_units(cell)


def _positive_units(cell: tuple[int, int]) -> Target:
    return lambda maps: maps[:, :, cell[0], cell[1]].relu().sum(1)
