"""Arrays of effective receptive fields: the field itself, its Gaussian, its mass, its area, and those of the twin."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from microtome.finding import array
from microtome.instruments.untrained_twins import TWINS, over_twins
from microtome.key_numbers import FRACTION, format_value
from microtome.numerics.receptive.effective import (
    area_ratio,
    center_of_mass,
    fit_gaussian,
    fraction_holding,
    mass_within_radius,
    replknet_scale,
)
from microtome.numerics.receptive.field import Field
from microtome.specimen import Specimen

RADII = (5, 10, 20, 30, 40, 60, 80)  # px
AREA_FRACTIONS = (0.2, 0.3, 0.5, 0.99)


def finite(value: float) -> float:
    """The value, or NaN where it is infinite."""
    return float(value) if math.isfinite(value) else math.nan


def field_arrays(
    specimen: Specimen,
    names: Sequence[str],
    own: Mapping[str, np.ndarray[Any, Any]],
    nulls: Sequence[Mapping[str, np.ndarray[Any, Any]]],
    theory: Mapping[str, Field],
    cells: Mapping[str, tuple[int, int]],
    rule: str,
    offset: bool,
) -> dict[str, Any]:
    """The arrays of the fields `own` of the network and `nulls` of its untrained twins, by layer."""
    size = specimen.recipe.size
    layers, axes = {"layer": list(names)}, {"axis": ["row", "col"]}
    both = layers | axes
    half = ((size[0] - 1) / 2, (size[1] - 1) / 2)
    centers = {name: _center_px(theory[name], cells[name]) if name in theory else half for name in names}
    center = np.array([centers[name] for name in names])
    fits = [fit_gaussian(own[name], offset) for name in names]
    whole = (float("inf"), float("inf"))
    radii = [radius for radius in RADII if radius <= max(size) / 2] or [RADII[0]]
    scales = {"scale": [f"{radius} px" for radius in radii]}
    fractions = {"measure": [format_value(fraction, FRACTION) for fraction in AREA_FRACTIONS]}
    mass = np.array([mass_within_radius(own[name], centers[name], radii) for name in names])
    used = np.array([fraction_holding(own[name], 0.95) for name in names])
    ratios = np.array([_area_ratios(own[name], size, rule) for name in names])
    field = np.stack([_normalised(own[name]) for name in names])
    twins = over_twins([_twin_arrays(null, names, offset) for null in nulls])
    twin_field = twins["twin_field"].values
    shown = np.stack([np.sqrt(np.abs(field)), np.sqrt(np.abs(twin_field))])
    specimens = {"specimen": ["trained" if specimen.trained else "this network", TWINS]} | layers
    dims = ("layer", "row", "col")
    arrays = {
        "field": array(field.astype(np.float32), dims, "fraction of the sum", layers),
        "shown": array(shown.astype(np.float32), ("specimen", *dims), "square root of the fraction", specimens),
        "sigma": array(np.array([fit.sigma for fit in fits]), ("layer", "axis"), "px", both, "σ"),
        "r2": array(np.array([fit.r2 for fit in fits]), ("layer",), "1", layers, "R²"),
        "r2_published": array(np.array([fit.published_r2 for fit in fits]), ("layer",), "1", layers, "R² as published"),
        "inside": array(np.array([fit.inside for fit in fits]), ("layer",), "fraction of the field", layers, "within 3 σ"),
        "center_fit": array(np.array([fit.center for fit in fits]), ("layer", "axis"), "px", both, "fitted centre"),
        "center_mass": array(np.array([center_of_mass(own[name]) for name in names]), ("layer", "axis"), "px", both),
        "center": array(center, ("layer", "axis"), "px", both, "computed centre"),
        "jump": array(np.array([theory[n].jump if n in theory else size for n in names], dtype=float), ("layer", "axis"), "px", both),
        "theory": array(np.array([theory[n].size if n in theory else whole for n in names]), ("layer", "axis"), "px", both, "theory"),
        "mass": array(mass, ("layer", "scale"), "fraction of the field", layers | scales, "mass within"),
        "area": array(ratios, ("layer", "measure"), "fraction of the image", layers | fractions, "area that holds"),
        "used": array(used, ("layer",), "fraction of the image", layers, "pixels with 95%"),
        "zero": array(np.array([float((own[n] == 0).mean()) for n in names]), ("layer",), "fraction of the image", layers),
        "total": array(np.array([float(np.abs(own[n]).sum()) for n in names]), ("layer",), "target per input", layers),
    } | twins  # fmt: skip
    if offset:
        arrays["offset"] = array(
            np.array([fit.offset for fit in fits]), ("layer",), "fraction of the maximum", layers, "constant"
        )
    for axis in ("row", "col"):
        for mark in ("", "twin_"):
            values = arrays[f"{mark}sigma"].sel(axis=axis).values
            arrays[f"{mark}sigma_{axis}"] = array(
                values, ("layer",), "px", layers, f"{'untrained ' if mark else ''}σ along {axis}s"
            )
    return arrays


def _twin_arrays(null: Mapping[str, np.ndarray[Any, Any]], names: Sequence[str], offset: bool) -> dict[str, Any]:
    """The fields of one untrained twin and their Gaussians."""
    layers = {"layer": list(names)}
    both, axes = layers | {"axis": ["row", "col"]}, ("layer", "axis")
    fits = [fit_gaussian(null[name], offset) for name in names]
    field = np.stack([_normalised(null[name]) for name in names])
    return {
        "twin_field": array(field.astype(np.float32), ("layer", "row", "col"), "fraction of the sum", layers),
        "twin_sigma": array(np.array([fit.sigma for fit in fits]), axes, "px", both, "σ, untrained"),
        "twin_r2": array(np.array([fit.r2 for fit in fits]), ("layer",), "1", layers, "R², untrained"),
        "twin_inside": array(np.array([fit.inside for fit in fits]), ("layer",), "fraction of the field", layers, "within 3 σ, untrained"),
        "twin_center_mass": array(np.array([center_of_mass(null[name]) for name in names]), axes, "px", both),
    }  # fmt: skip


def _center_px(field: Field, cell: tuple[int, int]) -> tuple[float, float]:
    """The (row, col) pixel that the position is centred on, computed from strides and paddings."""
    return field.center[0] + field.jump[0] * cell[0], field.center[1] + field.jump[1] * cell[1]


def _area_ratios(field: np.ndarray[Any, Any], size: tuple[int, int], rule: str) -> np.ndarray[Any, Any]:
    scaled = replknet_scale(field) if rule == "replknet" else field
    return area_ratio(scaled, (size[0] // 2, size[1] // 2), AREA_FRACTIONS)


def _normalised(field: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The field with absolute values that sum to 1; zeros stay zeros."""
    total = np.abs(field).sum()
    return field / total if total else field
