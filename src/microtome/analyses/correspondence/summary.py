"""What masking a part does to the features, in numbers: signs that differ, kappa, how far they move, and the paper's table."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from microtome.finding import array
from microtome.numerics.statistics.signs import change_signs, change_strength, sign_disagreement, sign_kappa

LAST = {
    "kappa": "the same part", "random_kappa": "the same shapes elsewhere", "twin_kappa": "untrained twin, same part",
    "twin_random_kappa": "untrained twin, elsewhere", "strength": "the same part", "random_strength": "the same shapes elsewhere",
}  # fmt: skip
Values = np.ndarray[Any, Any]


@dataclass
class ClassRow:
    """What one network said of one part at one layer; for the random positions (draw, …) numbers first."""

    pairs: list[Values] = field(default_factory=list[Values])
    kappa: list[Values] = field(default_factory=list[Values])
    strength: list[Values] = field(default_factory=list[Values])
    random: list[Values] = field(default_factory=list[Values])
    random_kappa: list[Values] = field(default_factory=list[Values])
    random_strength: list[Values] = field(default_factory=list[Values])
    matched: list[Values] = field(default_factory=list[Values])


def add_class(row: ClassRow, masked: Tensor, clean: Tensor) -> None:
    """Numbers of one class: features `masked` (look, image, feature) under the part, then under each draw; `clean` as they were."""
    change = masked.double() - clean.double()
    found, far = change_signs(change, clean), change_strength(change, clean)
    differ, kappa = sign_disagreement(found).numpy(), sign_kappa(found).numpy()
    row.pairs.append(differ[0])
    row.kappa.append(kappa[0])
    row.strength.append(far[0].numpy())
    row.random.append(differ[1:])
    row.random_kappa.append(kappa[1:])
    row.random_strength.append(far[1:].numpy())
    nearest = (far[1:] - far[0]).abs().argmin(0)
    row.matched.append(sign_disagreement(found[1 + nearest, torch.arange(len(nearest))]).numpy())


def correspondence_arrays(
    own: dict[tuple[str, str], ClassRow], null: dict[tuple[str, str], ClassRow], layers: list[str], parts: list[str]
) -> dict[str, xr.DataArray]:
    coords = {"layer": layers, "part": parts}
    found: dict[str, xr.DataArray] = {}
    for prefix, table in (("", own), ("twin_", null)):
        columns: dict[str, list[list[float]]] = {}
        texts: list[list[str]] = []
        for layer in layers:
            told = [_row_numbers(table[layer, part]) for part in parts]
            for name in told[0]:
                columns.setdefault(name, []).append([one[name] for one in told])
            texts.append(
                [f"{one[name]:.3f} ± {one[name + '_sd']:.3f}" for one in told for name in ("delta", "random", "matched")]
            )
        for name, values in columns.items():
            unit = "draws" if name == "wins" else "fraction" if "kappa" not in name else "1"
            found[prefix + name] = array(np.array(values), ("layer", "part"), unit, coords)
        rows = [f"{part}{suffix}" for part in parts for suffix in ("", ", elsewhere", ", elsewhere, as strong")]
        both = {"part_": rows, "layer": layers}
        found[f"{prefix}table"] = array(np.array(texts, dtype=object).T, ("part_", "layer"), "text", both)
    for name, title in LAST.items():
        found[f"{name}_last"] = found[name].isel(layer=-1, drop=True).assign_attrs(title=title)
    return found


def _row_numbers(row: ClassRow) -> dict[str, float]:
    pairs, matched = np.concatenate(row.pairs), np.concatenate(row.matched)
    random = np.concatenate(row.random, axis=1)  # (draw, pair)
    kappa = np.concatenate(row.random_kappa, axis=1)
    mine = _mean(np.concatenate(row.kappa))
    return {
        "delta": float(pairs.mean()),
        "delta_sd": float(pairs.std()),
        "random": float(random.mean()),
        "random_sd": float(random.std()),
        "matched": float(matched.mean()),
        "matched_sd": float(matched.std()),
        "kappa": mine,
        "random_kappa": _mean(kappa),
        "wins": float(sum(_mean(one) < mine for one in kappa)),
        "strength": float(np.concatenate(row.strength).mean()),
        "random_strength": float(np.concatenate(row.random_strength, axis=1).mean()),
    }


def _mean(values: Values) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
