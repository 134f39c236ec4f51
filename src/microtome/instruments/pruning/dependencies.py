"""Torch-Pruning: loaded when asked for, its groups of channels that can only be removed together, and its measures of importance."""

import importlib
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from microtome.errors import MissingExtra

BATCH_NORM = nn.modules.batchnorm._BatchNorm
Criterion = Literal["magnitude", "bn_scale", "taylor"]


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that can only be removed together: the layers that give them, those that read them, and what else is as wide.

    `plain` says that nothing else than element-wise operations and batch norms lies between.
    """

    producers: tuple[str, ...]
    readers: tuple[str, ...]
    plain: bool


def torch_pruning() -> Any:
    """The package Torch-Pruning.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("torch_pruning")
    except ImportError as error:
        raise MissingExtra(
            "prune_channels chooses channels with Torch-Pruning; install it with: pip install 'microtome[prune]'."
        ) from error


@contextmanager
def tracing_allowed() -> Generator[None]:
    """Inside, gradients are recorded, which Torch-Pruning reads the structure from, and its warnings are not shown."""
    with warnings.catch_warnings(), torch.inference_mode(False), torch.enable_grad():
        warnings.simplefilter("ignore")
        yield


def channel_groups(net: nn.Module, x: Tensor, ignored: Sequence[Tensor]) -> list[ChannelGroup]:
    """All groups of channels of `net`; `ignored` are parameters that are not cut."""
    package = torch_pruning()
    with tracing_allowed():
        graph = package.DependencyGraph().build_dependency(net, x, ignored_params=list(ignored), verbose=False)
        return [_described(graph, group) for group in graph.get_all_groups()]


def _described(graph: Any, group: Any) -> ChannelGroup:
    names = graph._module2name
    producers: dict[str, None] = {}
    readers: dict[str, None] = {}
    plain = True
    for dependency, _ in group:
        module = dependency.target.module
        if isinstance(module, nn.Conv2d | nn.Linear):
            depthwise = isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1
            if graph.is_out_channel_pruning_fn(dependency.handler):
                if not depthwise:
                    producers[names[module]] = None
            elif not depthwise:
                readers[names[module]] = None
        elif isinstance(module, nn.Parameter) or not isinstance(module, BATCH_NORM):
            plain = plain and not isinstance(module, nn.Parameter) and next(module.parameters(), None) is None
    return ChannelGroup(tuple(producers), tuple(readers), plain)


class ChannelPruner:
    """Removes the least important channels of a network, in place, in steps that end at `ratio` of every group."""

    def __init__(
        self, net: nn.Module, x: Tensor, ratio: float, criterion: Criterion, steps: int, protected: Sequence[str],
        ignored: Sequence[Tensor],
    ) -> None:  # fmt: skip
        self.package, self.net = torch_pruning(), net
        self.importance: Callable[[Any], Tensor | None] = {
            "magnitude": self.package.importance.GroupMagnitudeImportance,
            "bn_scale": self.package.importance.BNScaleImportance,
            "taylor": self.package.importance.GroupTaylorImportance,
        }[criterion]()
        with tracing_allowed():
            self.pruner = self.package.pruner.BasePruner(
                net, x, importance=self.importance, pruning_ratio=ratio, iterative_steps=steps,
                ignored_layers=[*(net.get_submodule(path) for path in protected), *ignored],
                in_channel_groups={}, out_channel_groups={}, num_heads={},
            )  # fmt: skip

    @property
    def history(self) -> list[Any]:
        """What was removed so far, to be done again by `replay`."""
        return self.pruner.DG.pruning_history()

    def step(self) -> None:
        """Remove the channels of the next step."""
        with tracing_allowed():
            for group in self.pruner.step(interactive=True):
                group.prune()

    def head_importance(self, reader: str, heads: int) -> Tensor | None:
        """The importance (head,) of the heads whose outputs the linear layer `reader` reads; None where the criterion has no say."""
        layer = cast(nn.Linear, self.net.get_submodule(reader))
        with tracing_allowed():
            group = self._read_by(layer, range(layer.in_features))
            scores = self.importance(group)
        return None if scores is None else scores.detach().reshape(heads, -1).sum(1)

    def remove_heads(self, reader: str, heads: int, gone: Sequence[int]) -> None:
        """Remove these heads from the linear layer that reads them and from those that give queries, keys and values."""
        layer = cast(nn.Linear, self.net.get_submodule(reader))
        each = layer.in_features // heads
        with tracing_allowed():
            self._read_by(layer, [head * each + unit for head in sorted(gone) for unit in range(each)]).prune()

    def _read_by(self, layer: nn.Module, places: Sequence[int] | range) -> Any:
        return self.pruner.DG.get_pruning_group(layer, self.package.prune_linear_in_channels, list(places))


def replay(net: nn.Module, x: Tensor, history: Sequence[Any], ignored: Sequence[Tensor], before: Callable[[], None]) -> None:
    """Remove from `net`, in place, what was removed from another of the same structure; `before` is called once it is traced."""
    with tracing_allowed():
        graph = torch_pruning().DependencyGraph().build_dependency(net, x, ignored_params=list(ignored), verbose=False)
        before()
        graph.load_pruning_history([list(record) for record in history])
