"""What one traced forward pass shows of a network, and the little of a specimen that its tools need."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from torch import nn

from microtome.specimen.blocks import Block, Unit
from microtome.specimen.layers import Layer
from microtome.specimen.tracing import Trace


@dataclass(frozen=True)
class Anatomy:
    """The result of one traced forward pass: layers, blocks, aliases."""

    trace: Trace
    units: list[Unit]
    layers: tuple[Layer, ...]
    blocks: tuple[Block, ...]
    aliases: dict[str, tuple[str, ...]]
    gives_probability: bool = False  # whether the one output is what a sigmoid gave


class OpenedNetwork(Protocol):
    """What watching, residual branches and shared tensors need of a specimen; `Specimen` has it all."""

    @property
    def net(self) -> nn.Module: ...
    @cached_property
    def anatomy(self) -> Anatomy: ...
    @property
    def blocks(self) -> tuple[Block, ...]: ...
    @cached_property
    def residuals(self) -> tuple[Any, ...]: ...
    def find(self, pattern: str | Sequence[str]) -> list[str]: ...
    def layer(self, name: str) -> Layer: ...


def first_convolution(specimen: OpenedNetwork) -> str:
    """The path of the first two-dimensional convolution to run, or an empty text."""
    return next((call.path for call in specimen.anatomy.trace.calls if isinstance(call.module, nn.Conv2d)), "")
