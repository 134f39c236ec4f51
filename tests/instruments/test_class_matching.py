"""Which output stands for which class: numbered classes against the arithmetic, everything else by name or in order."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microtome.errors import Unmeasurable
from microtome.instruments.class_matching import match_classes


def match(classes, outputs, labels=None):
    network = SimpleNamespace(name="net", labels=labels, wordnet=None)
    images = SimpleNamespace(name="set", classes=tuple(classes), labels=np.zeros(1, np.int64), classes_are_wordnet=False)
    return match_classes(network, images, outputs)


@given(st.integers(2, 300), st.data())
def test_numbers_from_zero_are_the_outputs_of_these_numbers(outputs, data):
    some = data.draw(st.sets(st.integers(1, outputs - 1)))
    classes = sorted({0, *some})
    width = data.draw(st.sampled_from([0, 3]))
    assert match([f"{one:0{width}d}" for one in classes], outputs).output.tolist() == classes


@given(st.integers(2, 300), st.data())
def test_numbers_from_one_to_the_last_output_begin_at_one(outputs, data):
    some = data.draw(st.sets(st.integers(1, outputs)))
    classes = sorted({outputs, *some})
    assert match(map(str, classes), outputs).output.tolist() == [one - 1 for one in classes]


def test_numeric_order_is_said_where_another_order_would_differ():
    assert "ImageFolder" in match(map(str, range(12)), 12).how
    assert "ImageFolder" not in match(map(str, range(10)), 10).how


@pytest.mark.parametrize(("classes", "outputs"), [(["3", "7"], 12), (["cat", "dog"], 3), (["1", "01"], 5), (["0", "15"], 12)])
def test_nothing_is_guessed(classes, outputs):
    with pytest.raises(Unmeasurable):
        match(classes, outputs)


def test_other_classes_go_by_name_or_in_order():
    assert match(["b", "a"], 3, labels=("a", "b", "c")).output.tolist() == [1, 0]
    assert match(["cat", "dog"], 2).output.tolist() == [0, 1]
    assert match(["10", "20", "30"], 3).output.tolist() == [0, 1, 2]
    assert match(["1", "0"], 2, labels=("zero", "1", "0")).output.tolist() == [1, 2]
