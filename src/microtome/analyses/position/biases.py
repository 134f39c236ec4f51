"""Learned relative biases of attention over offsets, and the Gaussian that fits each head's best."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from microtome.finding import array
from microtome.instruments.attention import all_attention_paths, relative_bias
from microtome.instruments.untrained_twins import TWINS
from microtome.numerics.graph.attention import GaussianHill, fit_hill, offset_table
from microtome.specimen import Specimen


def twin_bias_arrays(twin: Specimen) -> dict[str, Any]:
    """How well Gaussians fit the biases of an untrained twin."""
    fits = {name: [fit_hill(bias) for bias in heads] for name, heads in _bias_tables(twin).items()}
    if not fits:
        return {}
    layers = {"layer": list(fits)}
    return {
        "twin_bias_r2_by_head": _pad_tables(fits, layers, TWINS),
        "twin_bias_r2": array([_median_fit(heads).r2 for heads in fits.values()], ("layer",), "1", layers, TWINS),
    }


def bias_arrays(specimen: Specimen) -> dict[str, Any]:
    """Learned relative biases over offsets and their Gaussians."""
    tables = _bias_tables(specimen)
    if not tables:
        return {}
    layers = {"layer": list(tables)}
    fits = {name: [fit_hill(bias) for bias in heads] for name, heads in tables.items()}
    widest = max(table.shape[1:] for table in tables.values())
    shown_layers = [name for name, table in tables.items() if table.shape[1:] == widest]
    shown = np.stack([tables[name].mean(0) - tables[name].mean() for name in shown_layers])
    median = [_median_fit(heads) for heads in fits.values()]
    return {
        "bias": array(shown, ("layer", "row", "col"), "logits", {"layer": shown_layers}, "learned bias, about its mean"),
        "bias_r2_by_head": _pad_tables(fits, layers, "R² by head"),
        "bias_r2": array([fit.r2 for fit in median], ("layer",), "1", layers, "R²"),
        "bias_sigma": array([fit.sigma for fit in median], ("layer",), "positions", layers, "σ"),
        "bias_height": array([fit.height for fit in median], ("layer",), "logits", layers, "height"),
    }


def _bias_tables(specimen: Specimen) -> dict[str, np.ndarray[Any, Any]]:
    """By path, the learned bias of an attention module over offsets (head, row, col)."""
    biases = {path: relative_bias(specimen.net.get_submodule(path)) for path in all_attention_paths(specimen)}
    return {path: offset_table(*bias) for path, bias in biases.items() if bias is not None}


def _pad_tables(fits: dict[str, list[GaussianHill]], layers: dict[str, Any], title: str) -> Any:
    r2 = np.full((len(fits), max(len(heads) for heads in fits.values())), np.nan)
    for index, heads in enumerate(fits.values()):
        r2[index, : len(heads)] = [fit.r2 for fit in heads]
    return array(r2, ("layer", "head"), "1", layers, title)


def _median_fit(fits: Sequence[GaussianHill]) -> GaussianHill:
    """The fit with the (lower) median R²; an undefined one where none was fitted."""
    known = sorted((fit for fit in fits if not np.isnan(fit.r2)), key=lambda fit: fit.r2)
    return known[(len(known) - 1) // 2] if known else fits[0]
