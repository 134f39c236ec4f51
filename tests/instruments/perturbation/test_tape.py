"""A tape run again: other batches, from the middle, without overwriting; norms and nested arguments by hand."""

import pytest
import torch
from torch import nn

from microtome.instruments.perturbation.tape import (
    INPUT,
    GrowingNumber,
    ValueRef,
    iterate_leaves,
    map_leaves,
    memory_layout,
    norm_terms,
    run_node,
    without_overwriting,
)
from taped_networks import small, taped


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_other_batches_give_what_the_network_gives_and_watched_values_are_shown(count: int, x: torch.Tensor) -> None:
    net, seen = small(), {}
    tape = taped(net, x, "4")
    batch = torch.randn(count, 3, 16, 16)
    with torch.no_grad():
        found = tape.run({INPUT: batch}, 0, count, seen.__setitem__)
        assert torch.allclose(found, net(batch), atol=1e-5)
        assert torch.allclose(seen["4"], net[:5](batch), atol=1e-5)


def test_it_runs_from_the_middle_on_what_lives_there(x: torch.Tensor) -> None:
    net = small()
    tape = taped(net, x)
    with torch.no_grad():
        whole, values = net(x), {INPUT: x}
        for place, node in enumerate(tape.nodes):
            living = {value: values[value].clone() for value in values if tape.last.get(value, -1) >= place}
            assert torch.allclose(tape.run(living, place, 1), whole, atol=1e-5)
            values |= dict(zip(node.gives, run_node(without_overwriting(node), values, 1), strict=False))


def test_sizes_that_grow_with_the_batch_and_constants_that_do_not_move(x: torch.Tensor) -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.randn(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            bias = (self.table * 2).expand(x.shape[0], 4)
            return x.reshape(x.shape[0] * 3, -1)[:, :4].view(x.shape[0], 3, 4).sum(1) + bias

    net = Flat()
    tape = taped(net, x)
    grows = [leaf for node in tape.nodes for leaf in iterate_leaves(node.args) if isinstance(leaf, GrowingNumber)]
    assert GrowingNumber(0, 3) in grows and GrowingNumber(0, 1) in grows
    batch = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        assert torch.allclose(tape.run({INPUT: batch}, 0, 4), net(batch), atol=1e-6)
    constant = next(node for node in tape.nodes if node.name == "mul")
    assert constant.gives[0] not in tape.moving and tape.output in tape.moving


def test_without_overwriting_the_input_stays(x: torch.Tensor) -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Sigmoid(), nn.Hardtanh(-0.2, 0.2, inplace=True))
    tape = taped(net, x)
    node = tape.nodes[-1]
    assert node.overwrites
    value = torch.randn(1, 2, 16, 16)
    values = {node.reads[0]: value.clone()}
    (made,) = run_node(without_overwriting(node), values, 1)
    assert torch.equal(values[node.reads[0]], value) and torch.equal(made, value.clamp(-0.2, 0.2))
    run_node(node, values, 1)
    assert torch.equal(values[node.reads[0]], made)


def test_a_norm_in_evaluation_gives_its_terms_and_in_training_none(x: torch.Tensor) -> None:
    norm = nn.BatchNorm2d(3, eps=0.25).eval()
    (node,) = taped(nn.Sequential(norm), x).nodes
    terms = norm_terms(node)
    assert terms is not None and terms[4] == 0.25
    parts = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    assert all(torch.equal(one, two) for one, two in zip(terms[:4], parts, strict=True))
    plain = nn.BatchNorm2d(3, track_running_stats=False)
    (node,) = [one for one in taped(nn.Sequential(plain), torch.randn(2, 3, 4, 4)).nodes if "norm" in one.name]
    assert norm_terms(node) is None


def test_leaves_of_nested_arguments_keep_their_shape() -> None:
    nested = (1, [ValueRef(3), {"a": (2, GrowingNumber(1, 2))}], None)
    assert list(iterate_leaves(nested)) == [1, ValueRef(3), 2, GrowingNumber(1, 2), None]
    doubled = map_leaves(nested, lambda leaf: leaf * 2 if type(leaf) is int else leaf)
    assert doubled == (2, [ValueRef(3), {"a": (4, GrowingNumber(1, 2))}], None)
    assert [type(part) for part in doubled] == [int, list, type(None)]


def test_one_channel_counts_as_channels_first() -> None:
    wide = torch.zeros(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    assert memory_layout(wide) is torch.channels_last
    assert memory_layout(wide.contiguous()) is memory_layout(wide[:, :1].contiguous()) is torch.contiguous_format
