"""Convolutions of a tape joined with what follows them: a sum with a shortcut and a ReLU become part of the call.

Kernels of 1 × 1 run as matrix products. What a tape gives stays the same but for rounding.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from microtome.instruments.perturbation.tape import Node, ValueRef, memory_layout

RELU_FUNCTIONS = ("relu", "relu_")
ADD_FUNCTIONS = ("add", "add_")


class FusedConvolution:
    """A convolution by constant weights, with a sum and a ReLU behind it; called like the operation itself, and the two.

    Kernels of 1 × 1 run as a matrix product: torch's own choice for few images is several times slower.
    """

    def __init__(self, weight: Tensor, stride: Sequence[int], dilation: Sequence[int], groups: int) -> None:
        self.weight = weight
        self.pointwise = (*stride, *dilation, groups, *weight.shape[2:]) == (1,) * 7

    def __call__(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Sequence[int], *rest: Any
    ) -> Tensor:
        # rest: dilation, transposed, output padding, groups, then what is added and whether a ReLU follows
        if self.pointwise and max(padding) == 0 and memory_layout(x) is torch.channels_last:
            made = F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), bias).permute(0, 3, 1, 2)
        else:
            made = torch.ops.aten.convolution(x, weight, bias, stride, padding, *rest[:4])
        if len(rest) > 4:
            made = made if rest[4] is None else made.add_(rest[4])
            made = made.relu_() if rest[5] else made
        return made


def fuse_nodes(nodes: Sequence[Node], shapes: Any, kept: set[int]) -> list[Node]:
    """The nodes with each convolution by constant weights joined with the sum and the ReLU that alone read it.

    `kept` are values that must stay. A convolution moves to its sum only where nothing in between overwrites memory.
    """
    readers: dict[int, list[int]] = {}
    for place, node in enumerate(nodes):
        for value in node.reads:
            readers.setdefault(value, []).append(place)
    fused: list[Node | None] = [_prepare_node(node) for node in nodes]

    def next_place(node: Node) -> int:
        """Where the one operation stands that alone reads the node's output, -1 where there is none."""
        value = node.gives[0]
        return readers[value][0] if len(readers.get(value, [])) == 1 and value not in kept else -1

    for place in range(len(nodes)):
        node, at = fused[place], place
        if node is None or not isinstance(node.func, FusedConvolution) or len(node.args) > 9:  # of those that moved here, too
            continue
        then = next_place(node)
        plus = _added_value(nodes, at, then, node.gives[0], shapes) if fused[then] is nodes[then] else None
        if plus is not None:
            node = replace(node, args=(*node.args[:9], plus, False), gives=nodes[then].gives)
            fused[at], at = None, then
            then = next_place(node)
        if then > at and fused[then] is nodes[then] and nodes[then].name in RELU_FUNCTIONS and not nodes[then].aliased:
            before = node.args[9] if len(node.args) > 9 else None
            node = replace(node, args=(*node.args[:9], before, True), gives=nodes[then].gives)
            fused[then] = None
        fused[at] = node
    return [node for node in fused if node is not None]


def _prepare_node(node: Node) -> Node:
    if node.name != "convolution" or node.args[6] is not False or isinstance(node.args[2], ValueRef):
        return node
    weight = node.args[1]
    fits = isinstance(weight, Tensor) and weight.dim() == 4 and weight.dtype == torch.float32 and weight.device.type == "cpu"
    if not fits:
        return node
    return replace(node, func=FusedConvolution(weight, node.args[3], node.args[5], node.args[8]), label="convolution")


def _added_value(nodes: Sequence[Node], place: int, then: int, value: int, shapes: Any) -> ValueRef | None:
    """What the operation at `then` adds to the value made at `place`, None where it does anything else or can't be joined."""
    if then < 0 or nodes[then].name not in ADD_FUNCTIONS or nodes[then].aliased:
        return None
    node = nodes[then]
    if len(node.args) != 2 or node.kwargs.get("alpha", 1) != 1 or not all(isinstance(arg, ValueRef) for arg in node.args):
        return None
    if any(node.overwrites for node in nodes[place + 1 : then]):
        return None
    other = [arg for arg in node.args if arg.value != value]
    return other[0] if len(other) == 1 and shapes[other[0].value] == shapes[value] else None
