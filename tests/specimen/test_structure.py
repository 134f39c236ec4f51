"""Blocks, stages and aliases of generated networks: wrapped to depth three, with blocks and stages that give tuples or dictionaries."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import microtome as mt
from two_convolutions import Small

RECIPE = {"size": 32, "crop": 1.0}


class Pair(NamedTuple):
    hidden: Tensor
    weights: Tensor


@dataclass
class Record:
    hidden: Tensor
    weights: Tensor


GIVES = {
    "tensor": lambda x, more: x,
    "tuple of one": lambda x, more: (x,),
    "tuple": lambda x, more: (x, more),
    "list": lambda x, more: [x, more],
    "named tuple": Pair,
    "dictionary": lambda x, more: OrderedDict(hidden=x, weights=more),
    "data class": Record,
}


def hidden(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, dict):
        return value["hidden"]
    return value.hidden if isinstance(value, Record) else value[0]


class Block(nn.Module):
    def __init__(self, units: int, gives: str) -> None:
        super().__init__()
        self.norm, self.wide, self.narrow = nn.LayerNorm(units), nn.Linear(units, 2 * units), nn.Linear(2 * units, units)
        self.gives = gives

    def forward(self, x: Tensor) -> Any:
        return GIVES[self.gives](x + self.narrow(torch.relu(self.wide(self.norm(x)))), torch.softmax(x @ x.mT, -1))


class Stage(nn.Module):
    """As in Hugging Face's Swin: gives what the next stage takes, and what it was before it was merged."""

    def __init__(self, units: int, depth: int, gives: str, stage_gives: str, merge: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(units, gives) for _ in range(depth)])
        self.merge = nn.Linear(4 * units, 2 * units) if merge else None
        self.gives = stage_gives

    def forward(self, x: Tensor) -> Any:
        for block in self.blocks:
            x = hidden(block(x))
        whole = x
        if self.merge is not None:
            n, count, units = x.shape
            side = int(count**0.5) // 2
            x = x.view(n, side, 2, side, 2, units).permute(0, 1, 3, 2, 4, 5).reshape(n, side * side, 4 * units)
            x = self.merge(x)
        return GIVES[self.gives](x, whole)


class Net(nn.Module):
    def __init__(self, gives: str = "tensor", stage_gives: str = "tensor") -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, 4)
        self.layers = nn.ModuleList([Stage(8 * 2**k, 2, gives, stage_gives, k < 2) for k in range(3)])
        self.norm, self.classifier = nn.LayerNorm(32), nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        for layer in self.layers:
            x = hidden(layer(x))
        return self.classifier(self.norm(x).mean(1))


class Holder(nn.Module):
    """A module that holds one network, under a name, and may normalise its images or give more than its answer."""

    def __init__(self, net: nn.Module, name: str, extra: str) -> None:
        super().__init__()
        self.add_module(name, net)
        self.name, self.extra = name, extra
        if extra == "loss":
            self.criterion = nn.CrossEntropyLoss()
        if extra == "head":
            self.fc = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Any:
        if self.extra == "normalised":
            x = (x - 0.1) / 0.9
        y = getattr(self, self.name)(x)
        return self.fc(y) if self.extra == "head" else y


WRAPPERS = st.lists(
    st.tuples(st.sampled_from(["model", "net", "backbone", "module", "encoder"]), st.sampled_from(["", "normalised", "loss"])),
    max_size=3,
)


def without(prefix: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.removeprefix(prefix) for name in names)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(WRAPPERS, st.sampled_from(["plain", "stages"]), st.booleans())
def test_a_wrapped_network_has_the_structure_it_has_alone(wrappers: list[tuple[str, str]], kind: str, head: bool) -> None:
    torch.manual_seed(0)
    inner = Small() if kind == "plain" else Net()
    alone = mt.open(inner.eval(), recipe=RECIPE)
    net: nn.Module = inner
    prefix = ""
    for place, (name, extra) in enumerate(wrappers):
        net = Holder(net, name, "head" if head and place == len(wrappers) - 1 else extra)
        prefix = f"{name}.{prefix}"
    wrapped = mt.open(net.eval(), recipe=RECIPE)
    assert {alias: without(prefix, names) for alias, names in wrapped.aliases.items()} == alone.aliases
    assert without(prefix, tuple(block.name for block in wrapped.blocks)) == tuple(block.name for block in alone.blocks)
    assert [block.stage for block in wrapped.blocks] == [block.stage for block in alone.blocks]
    assert {"deep", "stages"} <= set(alone.aliases)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(GIVES)), st.sampled_from(sorted(set(GIVES) - {"tensor", "tuple of one"})))
def test_blocks_and_stages_may_give_more_than_their_maps(gives: str, stage_gives: str) -> None:
    torch.manual_seed(0)
    net = mt.open(Net(gives, stage_gives).eval(), recipe=RECIPE)
    assert [block.name for block in net.blocks] == [f"layers.{stage}.blocks.{block}" for stage in range(3) for block in (0, 1)]
    assert [block.stage for block in net.blocks] == [0, 0, 1, 1, 2, 2]
    assert [net.layer(name).path for name in net.aliases["deep"]] in (["layers.2"], ["layers.2.blocks.1"])
    assert all(net.layer(block.exit).grid for block in net.blocks)
    assert all(net.layer(block.exit).units == 8 * 2**block.stage for block in net.blocks)


@pytest.mark.parametrize("returns", ["tuple", "data class"])
def test_hugging_face_encoders_are_resolved_to_their_layers(returns: str) -> None:
    """`vit.encoder.layer[i]` gives a tuple or the tensor, the encoder an object with `last_hidden_state`."""

    @dataclass
    class BaseModelOutput:
        last_hidden_state: Tensor
        hidden_states: tuple[Tensor, ...] | None = None

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key, self.value, self.out = (nn.Linear(16, 16) for _ in range(4))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            weights = torch.softmax(self.query(x) @ self.key(x).mT / 4, -1)
            return self.out(weights @ self.value(x)), weights

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention, self.before = Attention(), nn.LayerNorm(16)
            self.intermediate, self.output = nn.Linear(16, 32), nn.Linear(32, 16)

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            mixed, weights = self.attention(self.before(x))
            x = x + mixed
            return x + self.output(torch.relu(self.intermediate(x))), weights

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.ModuleList([Layer() for _ in range(3)])

        def forward(self, x: Tensor) -> Any:
            states: tuple[Tensor, ...] = (x,)
            for layer in self.layer:
                x = layer(x)[0]
                states = (*states, x)
            return (x, states) if returns == "tuple" else BaseModelOutput(x, states)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embeddings, self.cls = nn.Conv2d(3, 16, 8, 8), nn.Parameter(torch.zeros(1, 1, 16))
            self.encoder, self.layernorm = Encoder(), nn.LayerNorm(16)

        def forward(self, x: Tensor) -> Any:
            x = self.embeddings(x).flatten(2).transpose(1, 2)
            given_values = self.encoder(torch.cat([self.cls.expand(len(x), -1, -1), x], 1))
            return self.layernorm(given_values[0] if returns == "tuple" else given_values.last_hidden_state)

    class ForImages(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vit, self.classifier = Model(), nn.Linear(16, 3)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"logits": self.classifier(self.vit(x)[:, 0])}

    torch.manual_seed(0)
    net = mt.open(ForImages().eval(), recipe=RECIPE)
    assert [block.name for block in net.blocks] == [f"vit.encoder.layer.{place}" for place in range(3)]
    assert net.aliases["deep"] == ("vit.encoder.layer.2.before",)
    assert net.layer("vit.encoder.layer.1[0]").prefix == 1
