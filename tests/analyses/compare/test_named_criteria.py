"""Criteria by name: short ones, any key number, the nearest for a misspelt one, and what stands for what was not measured."""

import numpy as np
import pytest

from key_number_names import NAMES, SOMETIMES
from microtome.analyses.compare.criteria import Evidence
from microtome.analyses.compare.named_criteria import (
    SHORT,
    criteria_names,
    criterion_column,
    how_to_measure,
    parse_criterion,
)
from microtome.errors import BadOption, UnknownName
from microtome.finding import Finding, array
from microtome.key_numbers import KeyNumber

NO_EVIDENCE = Evidence("", np.zeros(2, bool))


def finding(analysis: str, *numbers: KeyNumber) -> Finding:
    return Finding(analysis=analysis, arrays={"runs": array([1.0], ("rank",), "ms")}, key_numbers=numbers)


def test_every_short_name_is_a_key_number_that_its_analysis_declares() -> None:
    for name, (analysis, number) in SHORT.items():
        assert name == "accuracy" or number in {*NAMES[analysis], *SOMETIMES.get(analysis, {})}


def test_names() -> None:
    assert parse_criterion("latency", "prefer").number == "latency of one image"
    assert parse_criterion("features.zeros, most", "prefer")[1:] == ("features", "zeros, most")
    assert criteria_names(["features.zeros", "most", "latency", "params"]) == ["features.zeros, most", "latency", "params"]
    with pytest.raises(UnknownName, match="names the criterion 'latncy'. Did you mean 'latency'"):
        parse_criterion("latncy", "prefer")
    with pytest.raises(UnknownName, match="there is no analysis 'robustnes'. Did you mean 'robustness'"):
        parse_criterion("robustnes.drift", "prefer")


def test_columns_by_hand() -> None:
    time = KeyNumber(name="latency of one image", value=4.0, low=3.0, high=6.0, unit="ms", has_interval=True, better="lower")
    size = KeyNumber(name="parameters", value=5.0, better="lower")
    byname = {"a": {"cost": finding("cost", time, size)}, "b": {}}
    column = criterion_column(parse_criterion("latency", "x"), byname, NO_EVIDENCE, "x")
    assert column.values[0] == 4 and np.isnan(column.values[1]) and (column.low[0], column.high[0]) == (3, 6)
    assert not column.larger_is_better and not column.exact and column.ratio and not column.of_images and column.unit == "ms"
    assert criterion_column(parse_criterion("params", "x"), byname, NO_EVIDENCE, "x").exact
    missing = criterion_column(parse_criterion("robustness", "x"), byname, NO_EVIDENCE, "x")
    assert not missing.is_measured and missing.larger_is_better and "robustness" in how_to_measure(missing.criterion)
    assert column.take(np.array([1])).values.shape == (1,)


def test_accuracy_is_that_of_the_answers_that_are_compared() -> None:
    plain = KeyNumber(name="best probe accuracy", value=0.7, unit="fraction", better="higher")
    fair = KeyNumber(name="best balanced probe accuracy", value=0.6, unit="fraction", better="higher")
    byname = {"a": {"probe": finding("probe", plain, fair)}}
    known = np.ones(1, bool)
    criterion = parse_criterion("accuracy", "x")
    assert criterion_column(criterion, byname, Evidence("probe", known), "x").values[0] == 0.7
    assert criterion_column(criterion, byname, Evidence("probe", known, np.array([0, 0, 0, 1]), 3.0), "x").values[0] == 0.6


def test_unknown_key_numbers_and_those_without_a_direction_are_refused() -> None:
    byname = {
        "a": {"cam": finding("cam", KeyNumber(name="maps", value=3.0), KeyNumber(name="object area", value=1, better="higher"))}
    }
    with pytest.raises(UnknownName, match="have no key number 'map'. Did you mean 'maps'"):
        criterion_column(parse_criterion("cam.map", "x"), byname, NO_EVIDENCE, "x")
    with pytest.raises(BadOption, match=r"neither more nor less is better; there are for example cam\.object area"):
        criterion_column(parse_criterion("cam.maps", "x"), byname, NO_EVIDENCE, "x")
