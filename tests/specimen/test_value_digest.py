"""Digests of single values: equal for equal values however they were made, different for different ones, in any order and cycle."""

import dataclasses
import enum
import functools
import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from microtome.specimen.value_digest import digest_of

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
NESTED = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner) | st.frozensets(PLAIN),
    max_leaves=12,
)


def spelt(value):
    """An independent oracle: a text that tells values apart, sets in sorted order."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{spelt(key)}:{spelt(one)}" for key, one in value.items()) + "}"
    if isinstance(value, frozenset):
        return "set(" + ",".join(sorted(map(spelt, value))) + ")"
    if isinstance(value, list | tuple):
        return type(value).__name__ + "(" + ",".join(map(spelt, value)) + ")"
    return f"{type(value).__name__}={value!r}"


@given(NESTED, NESTED)
def test_two_values_share_a_digest_exactly_when_they_are_spelt_alike(one, other):
    assert (digest_of([one]) == digest_of([other])) == (spelt(one) == spelt(other))


@given(st.frozensets(st.text(), min_size=2))
def test_the_order_of_a_set_does_not_count(words):
    assert digest_of([set(words)]) == digest_of([dict.fromkeys(sorted(words, reverse=True)).keys() | set()])


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass
class Config:
    depth: int = 2
    names: tuple = ("a",)


class Slotted:
    __slots__ = ("size",)

    def __init__(self, size):
        self.size = size


DIFFERENT = [
    (torch.zeros(2), torch.zeros(3)),
    (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
    (torch.zeros(2), torch.tensor([0.0, 1.0])),
    (torch.tensor([0.0]).bfloat16(), torch.tensor([1.0]).bfloat16()),
    (np.zeros(2), np.zeros(2, np.float32)),
    (np.zeros((2, 3)), np.zeros((3, 2))),
    (np.array([None, "a"], object), np.array([None, "b"], object)),
    (Colour.RED, Colour.BLUE),
    (Config(), Config(depth=3)),
    (Slotted(1), Slotted(2)),
    (torch.float32, torch.float16),
    (len, sum),
    (functools.partial(max, 1), functools.partial(max, 2)),
    (lambda x: x + 1, lambda x: x + 2),
    (lambda x, y=1: x, lambda x, y=2: x),
    (lambda x: x.a, lambda x: x.b),
    (1, True),
    (0.0, -0.0),
    (torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)),
    (torch.jit.script(torch.nn.ReLU()), torch.jit.script(torch.nn.Tanh())),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_things_differ(one, other):
    assert digest_of([one]) != digest_of([other])


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.arange(3),
        lambda: Config(),
        lambda: Slotted(4),
        lambda: threading.Lock(),
        lambda: functools.lru_cache(lambda x: x),
        lambda: torch.jit.script(torch.nn.ReLU()),
        lambda: object(),
    ],
)
def test_the_same_thing_made_twice_is_the_same(make):
    assert digest_of([make()]) == digest_of([make()])


def test_cycles_end():
    ring = []
    ring.append(ring)
    other = []
    other.append([other])
    assert digest_of([ring]) != digest_of([other])


def test_a_function_that_calls_itself_through_another_is_followed():
    def pair(step):
        def even(n):
            return n == 0 or odd(n - step)

        def odd(n):
            return n != 0 and even(n - step)

        return even

    assert digest_of([pair(1)]) == digest_of([pair(1)])
    assert digest_of([pair(1)]) != digest_of([pair(2)])


def test_what_a_cached_property_remembers_does_not_count():
    class Shape:
        def __init__(self):
            self.side = 3

        @functools.cached_property
        def area(self):
            return self.side**2

    asked, fresh = Shape(), Shape()
    assert asked.area == 9
    assert digest_of([asked]) == digest_of([fresh])
