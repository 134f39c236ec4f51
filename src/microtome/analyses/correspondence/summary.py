"""What masking a part does to the features, in numbers: signs that differ, kappa, how far they move, and the paper's table."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from microtome.finding import array
from microtome.instruments.untrained_twins import NO_VERDICT, TWINS, over_twins, split_turns, stack_twins, verdicts
from microtome.numerics.statistics.signs import change_signs, change_strength, sign_disagreement, sign_kappa

LAST = {
    "kappa": "the same part", "random_kappa": "the same shapes elsewhere", "twin_kappa": "untrained twins, same part",
    "twin_random_kappa": "untrained twins, elsewhere", "strength": "the same part", "random_strength": "the same shapes elsewhere",
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
    signs, far = change_signs(change, clean), change_strength(change, clean)
    differ, kappa = sign_disagreement(signs).numpy(), sign_kappa(signs).numpy()
    row.pairs.append(differ[0])
    row.kappa.append(kappa[0])
    row.strength.append(far[0].numpy())
    row.random.append(differ[1:])
    row.random_kappa.append(kappa[1:])
    row.random_strength.append(far[1:].numpy())
    nearest = (far[1:] - far[0]).abs().argmin(0)
    row.matched.append(sign_disagreement(signs[1 + nearest, torch.arange(len(nearest))]).numpy())


def correspondence_arrays(
    own: dict[tuple[str, str], ClassRow], null: dict[tuple[str, str], ClassRow], layers: list[str], parts: list[str]
) -> dict[str, xr.DataArray]:
    coords = {"layer": layers, "part": parts}
    arrays: dict[str, xr.DataArray] = {}
    for prefix, table in (("", own), ("twin_", null)):
        columns: dict[str, list[list[float]]] = {}
        texts: list[list[str]] = []
        for layer in layers:
            by_part = [_row_numbers(table[layer, part]) for part in parts]
            for name in by_part[0]:
                columns.setdefault(name, []).append([numbers[name] for numbers in by_part])
            texts.append(
                [f"{row[name]:.3f} ± {row[name + '_sd']:.3f}" for row in by_part for name in ("delta", "random", "matched")]
            )
        for name, values in columns.items():
            unit = "draws" if name == "wins" else "fraction" if "kappa" not in name else "1"
            arrays[prefix + name] = array(np.array(values), ("layer", "part"), unit, coords)
        rows = [f"{part}{suffix}" for part in parts for suffix in ("", ", elsewhere", ", elsewhere, as strong")]
        both = {"part_": rows, "layer": layers}
        arrays[f"{prefix}table"] = array(np.array(texts, dtype=object).T, ("part_", "layer"), "text", both)
    for name, title in LAST.items():
        arrays[f"{name}_last"] = arrays[name].isel(layer=-1, drop=True).assign_attrs(title=title)
    return arrays


def agreement_arrays(
    own: dict[tuple[str, str], ClassRow],
    null: dict[tuple[str, str], ClassRow],
    layer: str,
    cells: Sequence[tuple[int, str]],
    twins: int,
    withheld: str,
) -> dict[str, xr.DataArray]:
    """Kappa less that of the control, at one layer: mean over the untrained twins, smallest and largest, and the network's verdict.

    `cells` are the class (by number) and the part that were shown to the twins in turn.
    """
    if not twins:
        return {"agreement_against_twins": array(np.array(NO_VERDICT, dtype=object), (), "text")}
    parts = list(dict.fromkeys(part for _, part in cells))
    rows = {part: _row_numbers(own[layer, part]) for part in parts}
    value = float(np.mean([row["kappa"] - row["random_kappa"] for row in rows.values()]))
    beyond = np.array([
        _mean(null[layer, part].kappa[number]) - _mean(null[layer, part].random_kappa[number]) for number, part in cells
    ])  # fmt: skip
    runs = [{"twin_agreement": array(_mean(turn), (), "1", title=TWINS)} for turn in split_turns(beyond, twins)]
    against = verdicts(value, value, stack_twins(runs, "twin_agreement"), withheld)[0]
    return {**over_twins(runs, least=1), "agreement_against_twins": array(np.array(against, dtype=object), (), "text")}


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
        "wins": float(sum(_mean(draw) < mine for draw in kappa)),
        "strength": float(np.concatenate(row.strength).mean()),
        "random_strength": float(np.concatenate(row.random_strength, axis=1).mean()),
    }


def _mean(values: Values) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
