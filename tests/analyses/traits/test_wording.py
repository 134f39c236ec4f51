"""Caveats: what else differs between the families, and what the verdicts do not say."""

from dataclasses import replace

import numpy as np

import planted_study as planted
from microtome.analyses.traits.material import gather_study
from microtome.analyses.traits.wording import confounders


def test_parameters_and_pretraining_are_named_as_confounders() -> None:
    study = gather_study({name: {"cost": planted.cost(name, size)} for name, size in (("d1", 1e6), ("d2", 3e6), ("w1", 2e6))})
    lines = confounders(study)
    assert (
        lines[0]
        == "The families differ in parameters too (deeper 1 M to 3 M; wider 2 M), which the comparison does not separate."
    )
    assert lines[1].startswith("Pretraining differs between networks") and "d1 (made)" in lines[1]
    assert confounders(gather_study({"d1": {"cost": planted.cost("d1", 1e6)}})) == []


def test_maps_coarser_than_the_grid_are_named() -> None:
    finding = planted.objects("d1", np.random.default_rng(0))
    coarse = replace(finding, origin=finding.origin | {"facts": {"map_grid": [4, 4]}})
    assert confounders(gather_study({"d1": {"objects": coarse}})) == [
        "Maps coarser than the common grid cover more by themselves: d1 (4 × 4)."
    ]
