"""What a finding of `cam` says about the kind of its maps: name, source, refusals and remarks."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from microtome.analyses.cam.arrays import BatchMaps, overlay_grid
from microtome.finding import Finding
from microtome.instruments.attribution import MapKind, VisibleLayers, kind_caveats
from microtome.instruments.attribution.drawing import bilinear_shift, fuse_maps
from microtome.instruments.attribution.grey_baseline import MAX_GAP
from microtome.instruments.attribution.layer_reasons import layer_reason
from microtome.key_numbers import FRACTION, format_value
from microtome.map_kinds import map_kind_entry
from microtome.numerics.receptive.geometry import even_tiling
from microtome.prose import plural
from microtome.specimen import Specimen

FUSED = "fused"  # the name of the joined map among the layers
MIN_SHIFT = 0.5  # px; a smaller shift is not worth a word


def kind_facts(
    specimen: Specimen, kind: MapKind, name: str, parts: Sequence[BatchMaps], shown: VisibleLayers
) -> dict[str, Any]:
    """Title, text and source of the kind, why each layer is there, and what was remarked on it."""
    entry = map_kind_entry(name)
    remarks = {layer: remark for part in parts for layer, remark in part.remarks.items()}
    text = f"{kind.title}: {entry.summary[:1].lower()}{entry.summary[1:]}"
    return {
        "kind": kind.title,
        "kind_text": text,
        "kind_source": entry.source,
        "kind_remarks": remarks,
        "shifts": bilinear_shifts(shown, specimen.recipe.size),
        "reasons": {layer: layer_reason(specimen, layer) for layer in shown.names if layer != FUSED},
        "depends_on_class": kind.depends_on_class,
        "signed": kind.signed,
    }


def bilinear_shifts(shown: VisibleLayers, size: tuple[int, int]) -> dict[str, list[float]]:
    """Layer -> by how many px (down, to the right) plain bilinear upsampling would shift its map from where it is drawn."""
    return {name: list(bilinear_shift(where, size)) for name, where in shown.where.items()}


def grid_note(finding: Finding, layer: str) -> str:
    """The caption of a map on its own grid: what the layer is, and by how much plain bilinear upsampling would shift it."""
    if layer == FUSED:
        return "The mean of the maps of several layers, each with equal say."
    note = f"{finding.facts['reasons'][layer]}. The network's own grid, its positions where they lie in the image."
    down, right = finding.facts["shifts"][layer]
    if max(abs(down), abs(right)) < MIN_SHIFT:
        return note
    sides = ("lower" if down > 0 else "higher"), ("right" if right > 0 else "left")
    shift = f"{format_value(abs(down), 'px')} {sides[0]} and {format_value(abs(right), 'px')} further {sides[1]}"
    return f"{note} Plain bilinear upsampling would draw it {shift}."


def fuse_parts(
    specimen: Specimen, shown: VisibleLayers, parts: Sequence[BatchMaps], size: tuple[int, int]
) -> tuple[VisibleLayers, list[BatchMaps]]:
    """The layers and maps with one more, that joins those of shallow, middle and deep (of all layers where fewer than two are mapped)."""
    names, grid = fused_names(specimen, shown), overlay_grid(size)
    joined = [
        replace(
            part,
            maps=part.maps | {FUSED: fuse_maps(shown, part.maps, names, size, grid)},
            other=part.other | {FUSED: fuse_maps(shown, part.other, names, size, grid)},
            twin=part.twin | {FUSED: fuse_maps(shown, part.twin, names, size, grid)},
        )
        for part in parts
    ]
    where = {**shown.where, FUSED: even_tiling(size, grid)}
    return replace(shown, names=(*shown.names, FUSED), where=where), joined


def fused_names(specimen: Specimen, shown: VisibleLayers) -> tuple[str, ...]:
    """The layers that are joined: shallow, middle and deep, or all where fewer than two of those are mapped."""
    named = [name for alias in ("shallow", "middle", "deep") for name in specimen.aliases.get(alias, ())]
    names = tuple(name for name in shown.names if name in named)
    return names if len(names) > 1 else shown.names


def map_caveats(finding: Finding) -> list[str]:
    """What limits the maps of this kind."""
    facts = finding.facts
    caveats = [f"{layer}: {remark}" for layer, remark in (*facts["widths"].items(), *facts["kind_remarks"].items())]
    caveats += _completeness(finding)
    return caveats + kind_caveats(str(facts["kind"]), depends_on_class=facts["depends_on_class"], signed=facts["signed"])


def _completeness(finding: Finding) -> list[str]:
    """By how much the sums of the maps miss what they should sum to, where the kind promises a sum."""
    if "gap" not in finding:
        return []
    gaps = finding["gap"].values
    known = gaps[~np.isnan(gaps)]
    if not len(known):
        return ["The target is the same for image and grey image, so nothing is known of the completeness of the maps."]
    worst = f"the largest gap is {format_value(float(known.max()), FRACTION)} of it"
    wide = int((known > MAX_GAP).sum())
    if not wide:
        return [f"Each map sums to the target's difference between image and grey image; {worst}."]
    return [
        f"{wide} of {plural(len(gaps), 'map')} do not sum to the target's difference between image and grey image within "
        f"{format_value(MAX_GAP, FRACTION)}; {worst}: such a map leaves out evidence, or invents it."
    ]
