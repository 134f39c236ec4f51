"""What is wrong with a weight tensor, or odd about its origin: dead or constant units, NaN, 8-bit combs, idle norms."""

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
    "values looked at",
    "on an 8-bit lattice",
    "placeholder norm",
    "zero norm scale",
)
MIN_VALUES = 8  # with fewer values some lattice fits by chance


def health_measures(values: Float[Tensor, "unit *inputs"], norm: BatchNormTerms | None = None) -> dict[str, float]:
    """The measures of `HEALTH_MEASURES` by name: shares of units in [0, 1], counts, and 1 or 0 for yes and no.

    Constant units are those whose weights are all the same and not zero. Lattice and distinct values are sought in an even
    selection of rows. A placeholder norm multiplies by one and subtracts nothing: untrained, or folded into the weights before.
    """
    flat = weight_matrix(values)
    low, high = flat.amin(1), flat.amax(1)  # of a row with NaN, NaN
    whole = is_finite(torch.stack([low, high]))
    same, zero = low == high, (low == 0) & (high == 0)
    found = find_comb(thin_matrix(values)) if whole else None
    lattice = found is not None and found.kind != "" and found.size >= MIN_VALUES
    nan = float("nan")
    return {
        "zero units": float(zero.double().mean()),
        "constant units": float((same & ~zero).double().mean()) if flat.shape[1] > 1 else 0.0,
        "not finite": 0.0 if whole else float((~torch.isfinite(flat)).sum()),
        "distinct values": float(found.distinct) if found else nan,
        "values looked at": float(found.size) if found else nan,
        "on an 8-bit lattice": (found.share if lattice and found else 0.0) if whole else nan,
        "placeholder norm": float(_is_identity(norm)) if norm else 0.0,
        "zero norm scale": float((norm.gamma == 0).double().mean()) if norm and norm.gamma is not None else 0.0,
    }


def weight_problems(told: Mapping[str, float], units: int, trained: bool | None) -> list[str]:
    """What there is to report of one tensor, in plain words; nothing for a healthy one."""
    said: list[str] = []
    if told["not finite"]:
        said.append(f"{told['not finite']:.0f} weights are NaN or infinite")
    if told["zero units"]:
        said.append(f"{round(told['zero units'] * units)} of {units} units have only zero weights")
    if told["constant units"]:
        said.append(f"{round(told['constant units'] * units)} of {units} units have one value for all their weights")
    if told["on an 8-bit lattice"] > 0:
        said.append(
            f"8-bit origin: {told['distinct values']:.0f} different values in {told['values looked at']:.0f}, all on a lattice"
        )
    if told["placeholder norm"] and trained is not False:
        said.append("its batch norm neither scales nor centres: folded before, or never trained")
    if told["zero norm scale"] and trained is not False:
        said.append(f"the batch norm after it switches off {round(told['zero norm scale'] * units)} of {units} units")
    return said


def _is_identity(norm: BatchNormTerms) -> bool:
    return bool((norm.scale() - 1).abs().max() < 1e-3) and not bool(norm.mean.any())
