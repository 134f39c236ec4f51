"""How much blocks change what passes through them, on some images: what rankings of blocks by cheap measures rest on.

Source: block influence, Men et al. 2024, arXiv:2403.03853, eq. 1; angular distance, Gromov et al. 2024, arXiv:2403.17887; debiased CKA,
Nguyen et al. 2021, arXiv:2010.15327; weight distance W1/σ, ours.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microtome.numerics.statistics.cka import centered_gram, cka, hsic_matrix
from microtome.numerics.statistics.distances import w1_over_sigma
from microtome.numerics.statistics.influence import influence_and_angle
from microtome.specimen import Block, Specimen, watch

Values = np.ndarray[Any, Any]


def position_rows(specimen: Specimen, name: str, value: Tensor) -> Tensor:
    """The value of a layer as (image, position, unit)."""
    if specimen.layer(name).layout == "nchw":
        return value.flatten(2).transpose(1, 2)
    return value.flatten(1, -2) if value.dim() > 2 else value[:, None]


def neighbour_weight_distances(specimen: Specimen, blocks: Sequence[Block]) -> Values:
    """Mean W1/σ between a block's kernels and those of the same name and shape in the block before it; NaN where there are none."""
    kernels: list[dict[str, Tensor]] = []
    for block in blocks:
        module = specimen.net.get_submodule(specimen.layer(block.entry).path)
        kernels.append({name: p.detach() for name, p in module.named_parameters() if p.dim() > 1})
    distances = [np.nan]
    for pair in pairwise(kernels):
        before, after = pair
        shared = [name for name, weight in after.items() if name in before and before[name].shape == weight.shape]
        pairs = [w1_over_sigma(*(block[name].flatten().float().cpu().numpy() for block in pair)) for name in shared]
        distances.append(float(np.mean(pairs)) if pairs else np.nan)
    return np.array(distances[: len(blocks)])


def block_changes(specimen: Specimen, blocks: Sequence[Block], batches: Sequence[Tensor]) -> dict[str, Values]:
    """Block influence, angular distance and CKA of input and output, averaged over images, and W1/σ to the block before, (block,) each.

    The blocks keep the shape of their input. CKA is over pairs within batches. NaN where a block's input is not known.
    """
    names = [name for block in blocks for name in (f"<{block.entry}", block.exit)]
    parts: dict[str, list[list[float]]] = {"influence": [], "angle": []}
    hsic = torch.zeros(len(blocks), 2, 2, dtype=torch.float64)
    for x in batches:
        with torch.no_grad(), watch(specimen, names) as seen:
            specimen.net(x)
        rows: list[tuple[list[float], list[float]]] = []
        for place, block in enumerate(blocks):
            before, after = seen[f"<{block.entry}"], seen[block.exit]
            if before.shape != after.shape:
                rows.append(([np.nan] * len(x), [np.nan] * len(x)))
                hsic[place] = torch.nan
                continue
            influence, angle = influence_and_angle(*(position_rows(specimen, block.exit, value) for value in (before, after)))
            rows.append((influence.tolist(), angle.tolist()))
            grams = [gram for value in (before, after) if (gram := centered_gram(value)) is not None]
            if len(grams) == 2:
                hsic[place] += len(x) * hsic_matrix(torch.stack(grams))
        for which, name in enumerate(parts):
            parts[name].append([float(np.mean(row[which])) * len(x) for row in rows])
    count = sum(len(x) for x in batches)
    similarity = [cka(matrix, matrix.diagonal(), matrix.diagonal())[0, 1].item() for matrix in hsic]
    means = {name: np.sum(values, axis=0) / count for name, values in parts.items()}
    return {**means, "cka": np.array(similarity), "weight_distance": neighbour_weight_distances(specimen, blocks)}
