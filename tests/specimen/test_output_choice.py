"""Which output is measured: names of tensors in any container, the rule, and what is asked for."""

import dataclasses
from collections import OrderedDict, namedtuple
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from microtome.analyses.accuracy import Accuracy
from microtome.errors import SpecimenError, UnknownName
from microtome.opening.opening import open as open_specimen
from microtome.specimen import Specimen
from microtome.specimen.output_choice import named_tensors

Pair = namedtuple("Pair", ["first", "second"])


@dataclasses.dataclass
class Answer:
    loss: Any
    logits: Any = None


class Slotted:
    __slots__ = ("mask", "score")

    def __init__(self, mask: Any, score: Any) -> None:
        self.mask, self.score = mask, score


class Net(nn.Module):
    """Pooled features and heads on them; `pack` makes of them what the network gives."""

    def __init__(self, pack: Any, classes: int = 3) -> None:
        super().__init__()
        self.conv, self.fc, self.side = nn.Conv2d(3, 6, 3, 2), nn.Linear(6, classes), nn.Linear(6, 5)
        self.pack = pack

    def forward(self, x: Tensor) -> Any:
        maps = torch.relu(self.conv(x))
        features = maps.mean((2, 3))
        return self.pack(SimpleNamespace(maps=maps, features=features, logits=self.fc(features), side=self.side(features)))


def opened(pack: Any, **words: Any) -> Specimen:
    torch.manual_seed(0)
    return open_specimen(Net(pack).eval(), recipe=16, **words)


LEAVES = st.sampled_from(["tensor", "none", "text"])
TREES = st.recursive(
    LEAVES,
    lambda inner: st.tuples(
        st.sampled_from(["list", "tuple", "dict", "ordered", "named", "data", "space", "slots"]),
        st.lists(inner, min_size=2, max_size=2),
    ),
    max_leaves=6,
)


def grown(tree: Any, way: str, every: dict[str, Tensor]) -> Any:
    """The value that a tree describes; its tensors are written into `every` by the way to them, as spelt in Python."""
    if isinstance(tree, str):
        if tree != "tensor":
            return None if tree == "none" else "text"
        return every.setdefault(way, torch.zeros(2, len(every) + 1))
    kind, (one, two) = tree
    keys = {"list": "01", "tuple": "01", "dict": "ab", "ordered": "ab", "named": ("first", "second"), "data": ("loss", "logits"),
            "space": ("x", "y"), "slots": ("mask", "score")}[kind]  # fmt: skip
    parts = [grown(part, f"{way}.{key}".strip("."), every) for part, key in zip((one, two), keys, strict=True)]
    makers: dict[str, Any] = {"list": list, "tuple": tuple, "named": lambda p: Pair(*p), "data": lambda p: Answer(*p),
              "dict": lambda p: dict(zip(keys, p, strict=True)), "ordered": lambda p: OrderedDict(zip(keys, p, strict=True)),
              "space": lambda p: SimpleNamespace(x=p[0], y=p[1]), "slots": lambda p: Slotted(*p)}  # fmt: skip
    return makers[kind](parts)


@settings(max_examples=200, deadline=None)
@given(TREES)
def test_every_tensor_in_every_container_has_a_name_that_finds_it(tree: Any) -> None:
    every: dict[str, Tensor] = {}
    value = grown(tree, "", every)
    found = named_tensors(value)
    assert list(found) == list(every) and all(found[name] is tensor for name, tensor in every.items())


@settings(max_examples=60, deadline=None)
@given(
    st.permutations(["maps", "features", "logits", "side"]),
    st.integers(2, 4),
    st.sampled_from(["tuple", "list", "dict", "data", "space"]),
    st.data(),
)
def test_what_is_asked_for_is_what_is_measured(order: list[str], count: int, kind: str, data: st.DataObject) -> None:
    names = order[:count]

    def pack(parts: Any) -> Any:
        values = [getattr(parts, name) for name in names]
        if kind in ("tuple", "list"):
            return values if kind == "list" else tuple(values)
        table = {f"key_{name}": value for name, value in zip(names, values, strict=True)}
        if kind == "data":
            return dataclasses.make_dataclass("Made", list(table))(**table)
        return table if kind == "dict" else SimpleNamespace(**table)

    place = data.draw(st.integers(0, count - 1))
    spelt = data.draw(st.sampled_from([place, str(place), place - count]))
    if kind not in ("tuple", "list") and data.draw(st.booleans()):
        spelt = f"key_{names[place]}"
    net = opened(pack, output=spelt)
    x = torch.randn(3, 3, 16, 16)
    with torch.no_grad():
        expected = getattr(Net.forward(_like(net, lambda parts: parts), x), names[place])
        assert torch.equal(net.answer(x), expected)
    sizes = {"maps": None, "features": 6, "logits": 3, "side": 5}
    assert net.outputs == sizes[names[place]]
    assert any("as asked for" in note for note in net.notes)
    assert net.json()["output"] == net.output_name != ""


def _like(net: Specimen, pack: Any) -> Net:
    other = Net(pack).eval()
    other.load_state_dict(net.net.state_dict())
    return other


@settings(max_examples=60, deadline=None)
@given(st.permutations(["maps", "features", "logits"]), st.integers(2, 3), st.booleans())
def test_without_a_word_the_one_that_a_linear_layer_gives_is_measured_and_said(
    order: list[str], count: int, keyed: bool
) -> None:
    names = order[:count]
    net = opened(lambda parts: {f"k{n}": getattr(parts, n) for n in names} if keyed else [getattr(parts, n) for n in names])
    (note,) = [note for note in net.notes if "outputs" in note]
    wanted = "logits" if "logits" in names else names[0]
    assert net.output_name == (f"k{wanted}" if keyed else str(names.index(wanted)))
    assert f"'{net.output_name}'" in note and "output=NAME" in note
    assert ("'fc'" in note) == ("logits" in names)
    assert net.head == ("fc" if wanted == "logits" else net.head)


def test_names_and_labels_decide_before_layers() -> None:
    assert opened(lambda p: {"features": p.features, "out": p.side, "aux": p.logits}).output_name == "out"
    assert opened(lambda p: Answer(p.features, p.logits)).output_name == "logits"
    net = opened(lambda p: {"out": p.side, "aux": p.logits}, labels=["a", "b", "c"])
    assert net.output_name == "aux" and any("3 labels" in note for note in net.notes)
    losses = opened(lambda p: (p.logits.sum(), p.logits.argmax(1), p.features, p.logits))
    assert losses.output_name == "3"  # neither a loss nor whole numbers, nor features


def test_one_tensor_is_no_choice() -> None:
    for pack in (lambda p: p.logits, lambda p: [p.logits], lambda p: {"anything": p.logits, "none": None}):
        net = opened(pack)
        assert (net.output_name, net.outputs, net.head) == ("", 3, "fc") and not any("output=" in note for note in net.notes)


def test_a_wrong_name_is_refused_with_names_and_shapes() -> None:
    with pytest.raises(UnknownName, match=r"Did you mean 'logits'\? It gives features \(6\), logits \(3\)"):
        opened(lambda p: {"features": p.features, "logits": p.logits}, output="logit")
    with pytest.raises(UnknownName, match=r"0 \(6 x 7 x 7\), 1 \(3\)"):
        opened(lambda p: (p.maps, p.logits), output=2)
    with pytest.raises(UnknownName, match="holds 2 tensors: heads.a"):
        opened(lambda p: {"heads": {"a": p.logits, "b": p.side}}, output="heads")
    with pytest.raises(UnknownName, match="alone; leave output out"):
        opened(lambda p: p.logits, output="logits")
    assert opened(lambda p: {"heads": {"a": p.logits}, "x": p.maps}, output="heads").output_name == "heads.a"


def test_the_choice_is_part_of_the_key() -> None:
    def pack(parts: Any) -> Any:
        return {"a": parts.logits, "b": parts.side}

    keys = [Accuracy().key(opened(pack, output=name), None, "cpu") for name in (None, "a", "b")]
    assert keys[0] == keys[1] != keys[2]


def test_outputs_that_come_and_go_are_refused() -> None:
    net = opened(lambda p: {"a": p.logits, "b": p.side}, output="b")
    with pytest.raises(SpecimenError, match="did not give its output 'b'"):
        net.pick({"a": torch.zeros(1, 3)})
    with pytest.raises(SpecimenError, match="gives no tensor"):
        opened(lambda p: None).logits(torch.zeros(1, 3, 16, 16))
