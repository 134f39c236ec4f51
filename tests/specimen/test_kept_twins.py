"""Twins give way oldest first; the layout changes where kernels are."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from microtome.specimen import kept_twins
from microtome.specimen.kept_twins import kept_twin, to_working_layout


@dataclass
class Weight:
    weight_bytes: int


def test_the_oldest_make_room_and_none_is_built_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_twins, "TWIN_BYTES", 20)
    known: dict[int, Weight] = {}
    built = [kept_twin(known, key, 10, lambda: Weight(10)) for key in (1, 2)]
    assert kept_twin(known, 1, 10, lambda: pytest.fail("it is there")) is built[0]
    kept_twin(known, 3, 10, lambda: Weight(10))
    assert list(known) == [2, 3]
    kept_twin(known, 4, 100, lambda: Weight(100))  # larger than the limit: it alone
    assert list(known) == [4]


def test_a_quarter_of_the_free_memory_is_the_limit_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_twins, "free_bytes", lambda: 80)
    known: dict[int, Weight] = {}
    for key in range(4):
        kept_twin(known, key, 10, lambda: Weight(10))
    assert list(known) == [2, 3]  # with two held the limit is (80 + 20) / 4 = 25, room for two


def test_networks_of_convolutions_alone_change_their_layout() -> None:
    deep = to_working_layout(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)))
    assert deep[1].weight.is_contiguous(memory_format=torch.channels_last)
    patches = nn.Sequential(nn.Conv2d(3, 4, 3))
    assert to_working_layout(patches) is patches and not patches[0].weight.is_contiguous(memory_format=torch.channels_last)
