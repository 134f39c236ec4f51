"""The weight tensors of a network, units first, and what can be afforded of large ones: samples, the top singular value.

Source: Lanczos for the largest singular value, Golub & Kahan 1965, through scipy (ARPACK): on the Gram matrix of the smaller
side where that is small enough to be worth its making, else on the weight itself.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator, eigsh, svds
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from microtome.numerics.arrays import Array
from microtome.numerics.weights.spectra import (
    histogram,
    is_finite,
    mean_and_std,
    singular_values,
    weight_matrix,
    weight_statistics,
)

MAX_VALUES = 5_000_000  # values of one tensor that are looked at one by one; of a larger tensor a strided sample
QUANTILES = 131_072  # values that stand for a tensor in distances; with fewer it stands for itself
EXACT_RANK = 256  # units or inputs up to which all singular values are computed
GRAM_LIMIT = 1024  # units or inputs up to which a Gram matrix in float32 costs less than the steps on the weight itself
TOLERANCE = 1e-2  # squared, of the squared top singular value, as ARPACK estimates it; the errors seen are below 1e-5

HISTOGRAM_STDS = 4.0  # standard deviations that a histogram reaches to either side of the mean
MOMENTS = {"mean": "mean", "std": "std", "skew": "skewness", "kurtosis": "excess kurtosis", "sparsity": "sparsity",
           "minimum": "minimum", "maximum": "maximum"}  # fmt: skip
STATISTICS = (
    "weights",
    "weights read",
    *MOMENTS.values(),
    "spectral norm",
    "stable rank",
    "unit norm, median",
    "unit norm, spread",
)


class StoredTensor(NamedTuple):
    """A weight tensor with its units first, float32 in plain layout on the CPU, and the dtype that it is stored in."""

    values: Tensor
    dtype: str


def weight_tensors(net: nn.Module) -> dict[str, StoredTensor]:
    """Every `weight` with two or more axes, and other parameters with at least two axes longer than 1, by name.

    The name is the module's path for a parameter called `weight` ("layer4.2.conv2"), else the parameter's own
    ("attn.in_proj_weight", "pos_embed"). Units are the first axis, also of transposed convolutions. Under a parametrisation
    it is the weight that the module computes with; a tensor shared by several modules is told once; complex ones are left out.
    """
    tensors: dict[str, StoredTensor] = {}
    seen: set[int] = set()
    for path, module in net.named_modules():
        if ".parametrizations" in f".{path}":
            continue
        own = dict(module.named_parameters(recurse=False))
        if is_parametrized(module):
            own |= {name: getattr(module, name) for name in module.parametrizations}  # type: ignore[union-attr, arg-type]
        for leaf, value in own.items():
            plain = leaf == "weight" and value.dim() > 1
            if id(value) in seen or not (plain or sum(side > 1 for side in value.shape) > 1) or value.is_complex():
                continue
            seen.add(id(value))
            name = path if leaf == "weight" and path else f"{path}.{leaf}".lstrip(".")
            plainly = _units_first(module, leaf, value.detach()).contiguous()  # once: channels-last kernels are read many times
            tensors[name] = StoredTensor(plainly, str(value.dtype).removeprefix("torch."))
    return tensors


def execution_order(names: Iterable[str], orders: Mapping[str, int], modules: frozenset[str]) -> list[str]:
    """Weight names in order of execution; `orders` has the place of every module that runs, by path.

    A weight without a module of its own goes by the nearest module around it. Those of the network itself (position embeddings)
    come first; those below a top-level module (`modules`) that never runs come last.
    """

    def order(name: str) -> int:
        path = name
        while path and path not in orders:
            path = path.rpartition(".")[0]
        return orders[path] if path else len(orders) if name.split(".")[0] in modules else -1

    return sorted(names, key=order)


def _units_first(module: nn.Module, leaf: str, value: Tensor) -> Tensor:
    value = (value.dequantize() if value.is_quantized else value).to("cpu", torch.float32)
    if leaf == "weight" and isinstance(module, nn.modules.conv._ConvTransposeNd):  # pyright: ignore[reportPrivateUsage]
        split = value.unflatten(0, (module.groups, -1)).transpose(1, 2)
        return split.flatten(0, 1)
    if leaf == "weight" and type(module).__name__ == "Conv1D":  # the transposed linear map of GPT-2
        return value.T
    if leaf == "weight" and isinstance(module, nn.Linear | nn.modules.conv._ConvNd):  # pyright: ignore[reportPrivateUsage]
        return value
    while value.shape[0] == 1 and value.dim() > 2:  # position embeddings carry an axis for the batch
        value = value[0]
    return value


def describe_values(values: Float[Tensor, "unit *inputs"]) -> dict[str, float]:
    """The measures of `STATISTICS` by name; not numbers where a weight is not finite.

    "weights read" says how many of the weights the moments are of; "unit norm, spread" is the standard deviation of the units'
    norms over their mean.
    """
    read = sample_values(values)
    statistics = dict.fromkeys(STATISTICS, float("nan")) | {
        "weights": float(values.numel()),
        "weights read": float(read.numel()),
    }
    if not is_finite(values):
        return statistics
    statistics |= {MOMENTS[name]: value for name, value in weight_statistics(read).items()}
    flat = weight_matrix(values)
    norms = torch.linalg.vector_norm(flat, dim=1).double().numpy()
    if norms.any():
        statistics["spectral norm"], statistics["stable rank"] = _matrix_spectrum(flat, float(norms @ norms))
    statistics["unit norm, median"] = float(np.median(norms))
    statistics["unit norm, spread"] = float(norms.std() / norms.mean()) if norms.any() else float("nan")
    return statistics


def value_density(values: Float[Tensor, "*weight"], bins: int) -> tuple[Float[Array, " bin"], Float[Array, " bin"]]:
    """Density (a fraction of all values per unit) and bin centres, to `HISTOGRAM_STDS` standard deviations around the mean; NaN for NaN."""
    read = sample_values(values)
    if not is_finite(read):
        return np.full(bins, np.nan), np.full(bins, np.nan)
    middle, spread = mean_and_std(read)
    low, high = (float(end) for end in read.aminmax())
    return histogram(read, bins, (max(middle - HISTOGRAM_STDS * spread, low), min(middle + HISTOGRAM_STDS * spread, high)))


def sample_values(values: Float[Tensor, "*weight"], most: int = MAX_VALUES) -> Float[Tensor, " value"]:
    """All values, or of more than `most` every k-th, where k has no factor in common with any side of the tensor.

    Such a stride passes through all rows, columns and kernel places alike, and gives the same values every time.
    """
    flat = values.flatten()
    if flat.numel() <= most:
        return flat
    stride = math.ceil(flat.numel() / most)
    while any(math.gcd(stride, side) > 1 for side in values.shape):
        stride += 1
    return flat[::stride].contiguous()  # every later look at values far apart would fetch them from memory again


def sorted_quantiles(values: Float[Tensor, "*weight"], most: int = QUANTILES) -> Float[Array, " value"]:
    """The values in ascending order, or of more than `most` the evenly spaced quantiles, each the middle of an equal part.

    Distances between such quantiles differ from those of all values by less than the width of a part, 2 / `most` of a
    distribution function. Not numbers where a value is not finite.
    """
    read = np.sort(sample_values(values).numpy())
    if len(read) <= most:
        return read
    ranks = ((np.arange(most) + 0.5) * len(read) / most).astype(np.int64)
    return read[ranks] if np.isfinite(read[[0, -1]]).all() else np.full(most, np.nan, dtype=read.dtype)


def thin_matrix(values: Float[Tensor, "unit *inputs"], rows: int = 32, columns: int = 2048) -> Float[Tensor, "few input"]:
    """Some whole or thinned-out rows of a weight as a matrix: at most `rows` by `columns`, evenly spread."""
    flat = weight_matrix(values)
    units, inputs = (
        torch.linspace(0, side - 1, min(side, most)).round().long()
        for side, most in zip(flat.shape, (rows, columns), strict=True)
    )
    return flat[units][:, inputs]


def _matrix_spectrum(flat: Float[Tensor, "unit input"], total: float) -> tuple[float, float]:
    """Spectral norm and stable rank of finite values whose squares add up to `total`."""
    if min(flat.shape) <= EXACT_RANK:
        squares = singular_values(flat) ** 2
        return float(squares[0].sqrt()), float(squares.sum() / squares[0])
    start = np.random.default_rng(0).standard_normal(min(flat.shape)).astype(np.float32)
    scaled = flat / math.sqrt(total)  # so that squares of float32 neither overflow nor vanish
    if len(start) <= GRAM_LIMIT:
        product = scaled @ scaled.T if flat.shape[0] <= flat.shape[1] else scaled.T @ scaled
        square: Any = eigsh(product.numpy(), k=1, tol=TOLERANCE**2, v0=start, return_eigenvectors=False)  # type: ignore[arg-type]
        share = float(square[0])
    else:
        top: Any = svds(_as_operator(scaled), k=1, tol=TOLERANCE, v0=start, return_singular_vectors=False, solver="arpack")  # type: ignore[arg-type]
        share = float(top[0]) ** 2
    return math.sqrt(share * total), 1 / share


def _as_operator(matrix: Float[Tensor, "unit input"]) -> Any:
    """The matrix for iterations that only multiply with it."""
    operator: Any = LinearOperator
    return operator(
        dtype=np.float32,
        shape=matrix.shape,
        matvec=lambda right: (matrix @ torch.from_numpy(right.reshape(-1))).numpy(),
        rmatvec=lambda left: (torch.from_numpy(left.reshape(-1)) @ matrix).numpy(),
    )
