"""The contract of an analysis, the census that only observes, and the collation of findings."""

from microtome.analysis.census import (
    AnyCensus,
    Census,
    collect_tallies,
    shown_to_twins,
    survey,
    survey_keys,
    twin_indices,
)
from microtome.analysis.collation import Collation, collation_key, collation_origin, group_by_specimen
from microtome.analysis.contract import Analysis, Arrays, Measurement, Needs, build_analysis, origin
from microtome.options import option
from microtome.scan import BatchValues, discard_tally
from microtome.specimen.twins import TWIN_IMAGES

__all__ = [
    "Analysis",
    "AnyCensus",
    "Arrays",
    "BatchValues",
    "Census",
    "Collation",
    "Measurement",
    "Needs",
    "TWIN_IMAGES",
    "build_analysis",
    "collation_key",
    "collation_origin",
    "collect_tallies",
    "discard_tally",
    "group_by_specimen",
    "option",
    "origin",
    "shown_to_twins",
    "survey",
    "survey_keys",
    "twin_indices",
]
