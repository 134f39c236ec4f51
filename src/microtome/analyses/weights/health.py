"""Problems of a weight tensor: zero or constant units, NaN, 8-bit origin, norms without effect."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from microtome.numerics.weights.norms import BatchNormTerms
from microtome.numerics.weights.spectra import find_comb, is_finite, weight_matrix
from microtome.numerics.weights.tensors import thin_matrix

HEALTH_MEASURES = (
    "zero units",
    "constant units",
    "not finite",
    "distinct values",
    "values checked",
    "on an 8-bit lattice",
    "placeholder norm",
    "zero norm scale",
)
MIN_VALUES = 8  # with fewer values some lattice fits by chance


def health_measures(values: Float[Tensor, "unit *inputs"], norm: BatchNormTerms | None = None) -> dict[str, float]:
    """The measures of `HEALTH_MEASURES` by name: fractions of units in [0, 1], counts, and 1 or 0 for yes and no.

    Constant units are those whose weights are all the same and not zero. The lattice and distinct values are searched in evenly
    spaced rows. A placeholder norm multiplies by one and subtracts nothing: untrained, or folded into the weights before.
    """
    flat = weight_matrix(values)
    low, high = flat.amin(1), flat.amax(1)  # of a row with NaN, NaN
    whole = is_finite(torch.stack([low, high]))
    same, zero = low == high, (low == 0) & (high == 0)
    lattice = find_comb(thin_matrix(values)) if whole else None
    on_lattice = lattice is not None and lattice.kind != "" and lattice.size >= MIN_VALUES
    nan = float("nan")
    return {
        "zero units": float(zero.double().mean()),
        "constant units": float((same & ~zero).double().mean()) if flat.shape[1] > 1 else 0.0,
        "not finite": 0.0 if whole else float((~torch.isfinite(flat)).sum()),
        "distinct values": float(lattice.distinct) if lattice else nan,
        "values checked": float(lattice.size) if lattice else nan,
        "on an 8-bit lattice": (lattice.share if on_lattice and lattice else 0.0) if whole else nan,
        "placeholder norm": float(_is_identity(norm)) if norm else 0.0,
        "zero norm scale": float((norm.gamma == 0).double().mean()) if norm and norm.gamma is not None else 0.0,
    }


def weight_problems(measures: Mapping[str, float], units: int, trained: bool | None) -> list[str]:
    """The problems of one tensor as short texts; an empty list for a healthy one."""
    problems: list[str] = []
    if measures["not finite"]:
        problems.append(f"{measures['not finite']:.0f} weights are NaN or infinite")
    if measures["zero units"]:
        problems.append(f"{round(measures['zero units'] * units)} of {units} units have only zero weights")
    if measures["constant units"]:
        problems.append(f"{round(measures['constant units'] * units)} of {units} units have one value for all their weights")
    if measures["on an 8-bit lattice"] > 0:
        problems.append(
            f"8-bit origin: {measures['distinct values']:.0f} different values in {measures['values checked']:.0f}, all on a lattice"
        )
    if measures["placeholder norm"] and trained is not False:
        problems.append("its batch norm has no effect: folded before, or never trained")
    if measures["zero norm scale"] and trained is not False:
        problems.append(f"the batch norm after it sets to zero {round(measures['zero norm scale'] * units)} of {units} units")
    return problems


def _is_identity(norm: BatchNormTerms) -> bool:
    return bool((norm.scale() - 1).abs().max() < 1e-3) and not bool(norm.mean.any())
