"""Copies of networks whose functions name the network: whatever the way, a copy runs its own modules and never the original's."""

import functools
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from microtome.specimen.copying import copy_network


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean((2, 3)))


class Runner:
    """An object that is no module and holds one."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def run(self, x: Tensor) -> Tensor:
        return Net.forward(self.net, x)  # pyright: ignore[reportArgumentType]


network: Any = None  # the network as a script has it, a global variable


def by_global(x: Tensor) -> Tensor:
    return network.head(network.body(x).mean((2, 3)))


def through_global(x: Tensor) -> Tensor:
    return by_global(x)


def closure(net: Any) -> Callable[..., Any]:
    return lambda x: net.head(net.body(x).mean((2, 3)))


def nested(net: Any) -> Callable[..., Any]:
    parts: dict[str, Any] = {"body": net.body, "rest": [net.head]}

    def inner(x: Tensor) -> Tensor:
        return parts["rest"][0](parts["body"](x).mean((2, 3)))

    @functools.wraps(inner)
    def outer(x: Tensor) -> Tensor:
        return inner(x)

    return outer


def by_default(net: Any) -> Callable[..., Any]:
    def run(x: Tensor, head: nn.Module = net.head, *, body: nn.Module = net.body) -> Tensor:
        return head(body(x).mean((2, 3)))

    return run


def recursive(net: Any) -> Callable[..., Any]:
    def run(x: Tensor, times: int = 1) -> Tensor:
        return run(x, times - 1) if times else Net.forward(net, x)

    return run


def by_weights(net: Any) -> Callable[..., Any]:
    weight, bias = net.head.weight, net.head.bias
    return lambda x: nn.functional.linear(net.body(x).mean((2, 3)), weight, bias)


WAYS: dict[str, Callable[[Any], Callable[..., Any]]] = {
    "closure": closure,
    "nested closures": nested,
    "default": by_default,
    "recursive": recursive,
    "weights": by_weights,
    "bound closure": lambda net: types.MethodType(lambda self, x: closure(net)(x), net),
    "partial": lambda net: functools.partial(Net.forward, net),
    "partial of a closure": lambda net: functools.partial(lambda scale, x: closure(net)(x) * scale, 1.0),
    "method of an object": lambda net: Runner(net).run,
    "original forward": lambda net: (lambda before: lambda x: before(x) * 1)(net.forward),
    "global": lambda net: by_global,
    "through a global": lambda net: through_global,
}


def answers(net: nn.Module, x: Tensor) -> tuple[Tensor, set[str]]:
    """What a network gives, and which of its modules ran."""
    ran: set[str] = set()
    handles = [
        module.register_forward_hook(lambda *_, path=path: ran.add(path)) for path, module in net.named_modules() if path
    ]
    with torch.no_grad():
        given_values = net(x)
    for handle in handles:
        handle.remove()
    return given_values, ran


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(WAYS)), st.integers(0, 2), st.booleans())
def test_a_copy_runs_its_own_modules(way: str, depth: int, as_hook: bool) -> None:
    global network
    torch.manual_seed(0)
    inner: Any = Net().eval()
    network = inner
    run = WAYS[way](inner)
    if as_hook:
        inner.register_forward_hook(lambda _module, inputs, _output: run(inputs[0]))
    else:
        inner.forward = run
    net: nn.Module = inner
    for _ in range(depth):
        net = nn.Sequential(net)
    x = torch.randn(2, 3, 8, 8)
    before, _ = answers(net, x)
    other = copy_network(net)
    same, ran = answers(other, x)
    assert torch.equal(before, same)
    assert {path.rpartition(".")[2] for path in ran} >= {"body" if way != "weights" or as_hook else "0"}
    calls: list[str] = []
    for path, module in net.named_modules():
        module.register_forward_hook(lambda *_, path=path: calls.append(path))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
        assert not other(x).any()
        assert torch.equal(before, net(x))
        calls.clear()
        other(x)
    assert calls == []


def test_functions_that_do_not_name_the_network_stay_themselves() -> None:
    counter = {"calls": 0}

    def count(*_: object) -> None:
        counter["calls"] += 1

    net = Net().eval()
    net.body[1].forward = torch.relu  # type: ignore[method-assign]
    net.head.register_forward_hook(count)
    other = copy_network(net)
    assert other.body[1].forward is torch.relu  # type: ignore[union-attr,index]
    assert next(iter(other.head._forward_hooks.values())) is count  # type: ignore[union-attr]


@pytest.mark.parametrize("where", ["inside", "forward"])
def test_the_copy_of_a_compiled_network_is_not_compiled(where: str) -> None:
    net: Any = Net().eval()
    if where == "forward":
        net.forward = torch.compile(net.forward)
    else:
        net.body = torch.compile(net.body)
    other = copy_network(net)
    assert [path for path, _ in other.named_modules()] == [path for path, _ in Net().named_modules()]
    _, ran = answers(other, torch.randn(2, 3, 8, 8))
    assert {"body", "body.0", "head"} <= ran
