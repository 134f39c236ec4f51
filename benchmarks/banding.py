"""Three spatial factors for each of 512 kernels: all units at once against a loop over scikit-learn's NMF."""

import os
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.timing import Disagreement, Plan, Result, interleaved, row
from microtome.numerics.weights.nmf import factorise, split_signs

TITLE = "Factorising the kernels of a layer, 512 units"
TIMED = (
    "Ours: `factorise(kernels)` from the raw weights. scikit-learn: `NMF(n_components=3).fit_transform` at its defaults, unit after "
    "unit, on the split kernels, which are made beforehand and for it alone."
)
LIMIT = 1.01  # of scikit-learn's squared error, summed over units
TARGET = 5.0
OURS, PEER = "microtome", "a loop over scikit-learn's NMF"
DATA = Path(os.environ.get("MICROTOME_DATA", Path(__file__).parents[2] / "shared" / "data"))


def run(plan: Plan) -> Result:
    """Rows for random kernels of two sizes and, where there are any, real ones; all contenders on the CPU."""
    result = Result("banding", TITLE, TIMED)
    for what, kernels in given(plan).items():
        parts = split_signs(kernels).numpy()
        apart = float(factorise(kernels).error.sum()) / float(sum(error for _, error in map(theirs, parts)))
        if apart > LIMIT:
            raise Disagreement(f"{what}: our squared error is {apart:.3f} of scikit-learn's (allowed: {LIMIT}).")
        contenders = {
            OURS: lambda kernels=kernels: factorise(kernels),
            PEER: lambda parts=parts: [theirs(part) for part in parts],
        }
        taken = interleaved(plan, contenders, 1 if plan.quick else max(3, plan.rounds // 3))
        result.rows.append(row(what, taken, OURS, PEER, TARGET))
        result.notes.append(f"{what}: our squared error is {apart:.4f} of scikit-learn's.")
        result.details[f"{what}: seconds"] = taken
    return result


def given(plan: Plan) -> dict[str, Tensor]:
    """Kernels (unit, channel, position) by what they are."""
    units = 64 if plan.quick else 512
    random = torch.Generator().manual_seed(0)
    arguments = {
        f"{units} random kernels, {channels} × {side}×{side}": torch.randn(units, channels, side**2, generator=random)
        for channels, side in ((512, 3), (256, 5))
    }
    file = DATA / "safetensors" / "googlenet_bvlc.safetensors"
    if file.is_file():
        from safetensors.torch import load_file

        held = load_file(file)
        real = held["inception5b.branch2.1.conv.weight"].flatten(2)
        arguments[f"{min(units, len(real))} kernels of GoogLeNet's last block, 192 × 3×3"] = real[:units]
    return arguments


def theirs(values: np.ndarray) -> tuple[np.ndarray, float]:
    """The spatial factors of one unit, and the squared error."""
    from sklearn.decomposition import NMF

    model = NMF(n_components=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not always converged after 200 rounds
        maps = model.fit_transform(values)
    return maps, float(model.reconstruction_err_) ** 2
