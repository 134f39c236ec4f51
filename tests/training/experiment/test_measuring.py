"""Numbers of findings: key numbers and arrays by name and coordinate, and what is refused."""

import numpy as np
import pytest

from microtome.errors import BadOption
from microtome.finding import Finding, array
from microtome.key_numbers import KeyNumber
from microtome.training.experiment.definition import NumberQuery
from microtome.training.experiment.measuring import describe_number, numbers_of

LAYERS = {"layer": ["conv1", "conv2", "head"]}
FINDING = Finding(
    analysis="an",
    arrays={
        "index": array([0.1, np.nan, 0.3], ("layer",), "1", LAYERS),
        "index_low": array([0.0, np.nan, 0.2], ("layer",), "1", LAYERS),
        "index_high": array([0.2, np.nan, 0.4], ("layer",), "1", LAYERS),
        "twin_index": array([0.01, 0.02, 0.03], ("layer",), "1", LAYERS),
        "map": array(np.zeros((2, 2)), ("row", "col"), "px"),
    },
    key_numbers=(KeyNumber(name="top-1", value=0.5, unit="fraction", low=0.4, better="higher", baseline=0.1),),
)


def query(name: str, at: str = "") -> NumberQuery:
    return NumberQuery(f"a: {name}" + (f" [{at}]" if at else ""), "a", name, at)


def test_a_key_number_with_its_interval_and_baseline() -> None:
    assert numbers_of(FINDING, [query("top-1")]) == {
        "a: top-1": {"value": 0.5, "low": 0.4, "high": None, "baseline": 0.1, "unit": "fraction", "better": "higher"}
    }


def test_an_array_gives_a_number_for_each_coordinate_that_is_chosen() -> None:
    every = numbers_of(FINDING, [query("index")])
    assert list(every) == ["a: index [conv1]", "a: index [conv2]", "a: index [head]"]
    assert every["a: index [head]"] == describe_number(0.3, 0.2, 0.4, "1", "", 0.03)
    assert every["a: index [conv2]"]["value"] is None
    assert list(numbers_of(FINDING, [query("index", "conv*")])) == ["a: index [conv1]", "a: index [conv2]"]
    assert list(numbers_of(FINDING, [query("index", "conv2|head")])) == ["a: index [conv2]", "a: index [head]"]
    last = numbers_of(FINDING, [query("index", "last")])  # whatever the last layer is called: variants may differ in it
    assert last["a: index [last]"]["value"] == 0.3


@pytest.mark.parametrize(
    ("name", "at", "sentence"),
    [
        ("indx", "", r"an has no number 'indx'; it has top-1, and arrays such as index.*'index'"),
        ("map", "", r"map of an has the dimensions row, col"),
        ("index", "fc*", r"index of an has no fc\* among conv1, conv2, head"),
    ],
)
def test_what_is_refused(name: str, at: str, sentence: str) -> None:
    with pytest.raises(BadOption, match=sentence):
        numbers_of(FINDING, [query(name, at)])
