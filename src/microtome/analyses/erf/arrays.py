"""The arrays of effective receptive fields: the fields, their fits, masses and areas, and what was published of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from microtome.analyses.erf.published_fields import SIZE, published, same_weights
from microtome.finding import array
from microtome.numerics.receptive.effective import (
    area_ratio,
    center_of_mass,
    fewest,
    gaussian,
    mass_within,
    replknet_scaled,
)
from microtome.numerics.receptive.field import Field
from microtome.specimen import Specimen

RADII = (5, 10, 20, 30, 40, 60, 80)  # px
SHARES = (0.2, 0.3, 0.5, 0.99)


def field_arrays(
    specimen: Specimen,
    names: Sequence[str],
    own: Mapping[str, np.ndarray[Any, Any]],
    null: Mapping[str, np.ndarray[Any, Any]],
    theory: Mapping[str, Field],
    cells: Mapping[str, tuple[int, int]],
    rule: str,
    offset: bool,
) -> dict[str, Any]:
    """The arrays for `names`, from the fields of the network (`own`) and of its untrained twin (`null`)."""
    size = specimen.recipe.size
    layers, axes = {"layer": list(names)}, {"axis": ["row", "col"]}
    both = layers | axes
    half = ((size[0] - 1) / 2, (size[1] - 1) / 2)
    places = {name: _place(theory[name], cells[name]) if name in theory else half for name in names}
    center = np.array([places[name] for name in names])
    fits, others = [gaussian(own[name], offset) for name in names], [gaussian(null[name], offset) for name in names]
    whole = (float("inf"), float("inf"))
    radii = [radius for radius in RADII if radius <= max(size) / 2] or [RADII[0]]
    scales = {"scale": [f"{radius} px" for radius in radii]}
    shares = {"measure": [f"{100 * share:.0f} %" for share in SHARES]}
    mass = np.array([mass_within(own[name], places[name], radii) for name in names])
    ratios = np.array([_areas(own[name], size, rule) for name in names])
    field, twin_field = (np.stack([_unit(one[name]) for name in names]) for one in (own, null))
    shown = np.stack([np.sqrt(np.abs(field)), np.sqrt(np.abs(twin_field))])
    drawn = {"specimen": ["trained" if specimen.trained else "this network", "untrained twin"]} | layers
    dims = ("layer", "row", "col")
    arrays = {
        "field": array(field.astype(np.float32), dims, "share of the sum", layers),
        "twin_field": array(twin_field.astype(np.float32), dims, "share of the sum", layers),
        "shown": array(shown.astype(np.float32), ("specimen", *dims), "square root of the share", drawn),
        "sigma": array(np.array([one.sigma for one in fits]), ("layer", "axis"), "px", both, "σ"),
        "twin_sigma": array(np.array([one.sigma for one in others]), ("layer", "axis"), "px", both, "σ, untrained"),
        "r2": array(np.array([one.r2 for one in fits]), ("layer",), "1", layers, "R²"),
        "twin_r2": array(np.array([one.r2 for one in others]), ("layer",), "1", layers, "R², untrained"),
        "r2_published": array(np.array([one.published_r2 for one in fits]), ("layer",), "1", layers, "R² as published"),
        "inside": array(np.array([one.inside for one in fits]), ("layer",), "share of the field", layers, "within 3 σ"),
        "twin_inside": array(np.array([one.inside for one in others]), ("layer",), "share of the field", layers, "within 3 σ, untrained"),
        "center_fit": array(np.array([one.center for one in fits]), ("layer", "axis"), "px", both, "fitted centre"),
        "center_mass": array(np.array([center_of_mass(own[name]) for name in names]), ("layer", "axis"), "px", both),
        "twin_center_mass": array(np.array([center_of_mass(null[name]) for name in names]), ("layer", "axis"), "px", both),
        "center": array(center, ("layer", "axis"), "px", both, "centre by arithmetic"),
        "jump": array(np.array([theory[n].jump if n in theory else size for n in names], dtype=float), ("layer", "axis"), "px", both),
        "theory": array(np.array([theory[n].size if n in theory else whole for n in names]), ("layer", "axis"), "px", both, "theory"),
        "mass": array(mass, ("layer", "scale"), "share of the field", layers | scales, "mass within"),
        "area": array(ratios, ("layer", "measure"), "share of the picture", layers | shares, "square that holds"),
        "used": array(np.array([fewest(own[n], 0.95) for n in names]), ("layer",), "share of the picture", layers, "pixels with 95 %"),
        "zero": array(np.array([float((own[n] == 0).mean()) for n in names]), ("layer",), "share of the picture", layers),
        "total": array(np.array([float(np.abs(own[n]).sum()) for n in names]), ("layer",), "target per input", layers),
    }  # fmt: skip
    if offset:
        arrays["offset"] = array(np.array([one.offset for one in fits]), ("layer",), "share of the maximum", layers, "constant")
    for axis in ("row", "col"):
        for mark in ("", "twin_"):
            values = arrays[f"{mark}sigma"].sel(axis=axis).values
            arrays[f"{mark}sigma_{axis}"] = array(
                values, ("layer",), "px", layers, f"{'untrained ' if mark else ''}σ along {axis}s"
            )
    return arrays


def _place(field: Field, cell: tuple[int, int]) -> tuple[float, float]:
    """The (row, col) pixel on which a cell is centred by arithmetic."""
    return field.center[0] + field.jump[0] * cell[0], field.center[1] + field.jump[1] * cell[1]


def _areas(field: np.ndarray[Any, Any], size: tuple[int, int], rule: str) -> np.ndarray[Any, Any]:
    scaled = replknet_scaled(field) if rule == "replknet" else field
    return area_ratio(scaled, (size[0] // 2, size[1] // 2), SHARES)


def _unit(field: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The field with absolute values that sum to 1; zeros stay zeros."""
    total = np.abs(field).sum()
    return field / total if total else field


def published_arrays(specimen: Specimen, names: Sequence[str]) -> dict[str, Any]:
    """What was published of this network's last map at this size, and for which weights; nothing where nothing was."""
    known = published(specimen.name)
    if known is None or known[1].layer not in names or specimen.recipe.size != SIZE:
        return {}
    name, row = known
    told = [f"{row.layer} of {name}", "same" if same_weights(specimen.name, specimen.weights) else "other"]
    axes = {"axis": ["row", "col"]}
    return {
        "published": array(np.array(row.sigma), ("axis",), "px", axes, f"published σ of {told[0]}"),
        "published_of": array(
            np.array(told, dtype=object), ("part",), "text", title="network, and whether its weights are the same"
        ),
    }
