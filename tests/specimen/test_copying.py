"""Copies of networks: nothing shared that is state, and one sentence where that cannot be."""

import itertools
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from microtome.errors import SpecimenError
from microtome.specimen.copying import copy_network


class Holder:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, *_: Any) -> None:
        return None

    def listen(self, *_: Any) -> None:
        return None


def wrap(value: Any, how: str, net: nn.Module) -> None:
    """Hang a value onto a module in one of the ways that people do."""
    module: Any = net[1]  # type: ignore[index]
    if how == "hook":
        module.register_forward_hook(Holder(value))
    elif how == "method":
        module.register_forward_hook(Holder(value).listen)
    else:
        module.thing = {"plain": value, "list": [1, value], "dict": {"a": value}, "object": Holder({"b": [value]})}[how]


WAYS = ("plain", "list", "dict", "object", "hook", "method")


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(WAYS), st.sampled_from(["lock", "rlock", "file", "module", "generator", "computed"]), st.integers(1, 3))
def test_what_does_not_copy_is_shared_or_copied_by_its_state(how: str, kind: str, depth: int) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(*[nn.Conv2d(4, 4, 1) for _ in range(depth)])).eval()
    weight = net[0].weight
    with Path(__file__).open() as file:
        value = {"lock": threading.Lock(), "rlock": threading.RLock(), "file": file, "module": itertools,
                 "generator": torch.Generator().manual_seed(5), "computed": weight * 2}[kind]  # fmt: skip
        wrap(value, how, net)
        made = copy_network(net)
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(made(x), net(x))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.zero_()
    assert bool(weight.any()) and not bool(made(x).any())
    if how == "plain" and kind == "generator":
        own: Any = net[1]
        other: Any = made[1]  # type: ignore[index]
        assert torch.equal(torch.rand(3, generator=own.thing), torch.rand(3, generator=other.thing))
    if how == "plain" and kind == "computed":
        assert made[1].thing.data_ptr() != net[1].thing.data_ptr()  # type: ignore[index, union-attr, operator]


@pytest.mark.parametrize("how", WAYS)
def test_an_iterator_is_refused_with_module_and_attribute(how: str) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    wrap((n for n in range(3)), how, net)
    with pytest.raises(SpecimenError, match=r"'(thing|_forward_hooks)' of '1' \(ReLU\) holds a generator"):
        copy_network(net)


class Stubborn(nn.Module):
    def __deepcopy__(self, memo: Any) -> Any:
        raise ValueError("no copies of me")

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_a_module_that_refuses_is_said() -> None:
    with pytest.raises(SpecimenError, match="cannot be copied .ValueError: no copies of me"):
        copy_network(nn.Sequential(Stubborn()))


def test_shared_modules_stay_shared_within_the_copy() -> None:
    one = nn.Linear(2, 2)
    made = copy_network(nn.Sequential(one, one))
    assert made[0] is made[1] is not one  # type: ignore[index]
