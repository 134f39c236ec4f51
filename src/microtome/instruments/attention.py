"""Attention maps: which modules have them, what grid their tokens lie on, and how to see them.

Attention is found by what it computes, a softmax over positions, whatever its class is called. A fused kernel never forms the map. While
one looks, modules with a switch for it (timm's `fused_attn`) run it written out, `nn.MultiheadAttention` is asked for its weights, and
for any other the map is computed from queries and keys; afterwards everything is as it was.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from math import prod
from typing import Any, cast

import torch
from torch import Tensor, nn

from microtome.numerics.graph.softmax_attention import AttentionMode, AttentionSize
from microtome.specimen.anatomy import first_convolution
from microtome.specimen.outputs import slow_attention
from microtome.specimen.specimen import Specimen

PREFIX = 16  # at most so many class, distillation and register tokens stand before the grid


@dataclass(frozen=True)
class TokenGrid:
    """The grid (rows, cols) that a layer's tokens lie on, one position's size (rows, cols) in px, and how many tokens precede it.

    `windows` says that the grid is that of one window among several.
    """

    grid: tuple[int, int]
    cell: tuple[float, float]
    prefix: int
    windows: bool


@dataclass(frozen=True)
class PositionEmbedding:
    """Learned positions: the tensor that holds them, and those of the grid's tokens (token, unit)."""

    name: str
    tensor: Tensor
    values: Tensor


def attention_paths(net: nn.Module) -> list[str]:
    """Paths of the modules whose attention maps can be seen, in the order they are registered."""
    return [name for name, module in net.named_modules() if _shows_itself(module)]


def all_attention_paths(specimen: Specimen) -> list[str]:
    """As `attention_paths`, with the modules whose own code computes attention in whatever way, in the order they are registered."""
    named = attention_paths(specimen.net)
    computed = [
        path
        for path in specimen.anatomy.trace.attention
        if path and not any(path == other or path.startswith(other + ".") for other in named)
    ]
    every = {*named, *computed}
    return [path for path, _ in specimen.net.named_modules() if path in every]


def token_grid(specimen: Specimen, path: str, count: int) -> TokenGrid | None:
    """Where the `count` tokens of the attention module at `path` lie; None where they are on no grid that is known."""
    module = specimen.net.get_submodule(path)
    size = specimen.recipe.size
    window: Any = getattr(module, "window_size", None)
    if isinstance(window, tuple | list) and prod(cast(Sequence[int], window)) == count:
        whole: Any = _from_parent(specimen.net, path, "input_resolution") or _own_grid(specimen, path)
        if whole is None:
            return None
        cell = (size[0] / whole[0], size[1] / whole[1])
        return TokenGrid((window[0], window[1]), cell, 0, tuple(window) != tuple(whole))
    grid = patch_grid(specimen)
    if grid is None or not 0 <= count - prod(grid) <= PREFIX or _is_out_of_order(specimen, path):
        return None
    return TokenGrid(grid, (size[0] / grid[0], size[1] / grid[1]), count - prod(grid), False)


def _own_grid(specimen: Specimen, path: str) -> tuple[int, int] | None:
    """The grid of what the module gives; None where it is not known."""
    return next((layer.grid for layer in specimen.layers if layer.path == path and layer.layout in ("nchw", "nhwc")), None)


def _is_out_of_order(specimen: Specimen, path: str) -> bool:
    """Whether the module's tokens do not lie row by row behind their prefix."""
    arrangement = next((layer.arrangement for layer in specimen.layers if layer.path == path), None)
    return arrangement is not None and arrangement.order is not None


def patch_grid(specimen: Specimen) -> tuple[int, int] | None:
    """The grid of patches that the first convolution cuts the image into; None where it cuts none."""
    path = first_convolution(specimen)
    if not path:
        return None
    conv = cast(nn.Conv2d, specimen.net.get_submodule(path))
    rows, cols = (side // step for side, step in zip(specimen.recipe.size, conv.stride, strict=True))
    return (rows, cols) if tuple(conv.kernel_size) == tuple(conv.stride) else None


def position_embedding(specimen: Specimen) -> PositionEmbedding | None:
    """The positions that are added to the patches right after they were embedded; None where there are none."""
    grid = patch_grid(specimen)
    for name in ("pos_embed", "encoder.pos_embedding"):
        module = specimen.net
        for part in name.split("."):
            module = getattr(module, part, None)
        if grid is None or not isinstance(module, Tensor) or module.dim() != 3:
            continue
        if 0 <= module.shape[1] - prod(grid) <= PREFIX:
            return PositionEmbedding(name, module, module.detach()[0, -prod(grid) :])
    return None


def relative_bias(module: nn.Module) -> tuple[Tensor, tuple[int, int]] | None:
    """The learned bias (head, token, token) of an attention module over the pairs of its grid, and the grid (rows, cols).

    Read from `_get_rel_pos_bias` or `rel_pos.get_bias` (timm's names), prefix tokens left out; None where it has none.
    """
    window: Any = getattr(module, "window_size", None)
    rule: Any = getattr(module, "_get_rel_pos_bias", None)
    inner: Any = getattr(module, "rel_pos", None)
    if rule is None and inner is not None and hasattr(inner, "get_bias"):
        window, rule = inner.window_size, inner.get_bias
    if rule is None or window is None:
        return None
    bias = cast(Tensor, rule()).detach()
    bias = bias[0] if bias.dim() == 4 else bias
    count = window[0] * window[1]
    return bias[:, -count:, -count:], (int(window[0]), int(window[1]))


def allowed_pairs(net: nn.Module, path: str, count: int) -> Tensor:
    """Which of `count` tokens may look at which, as 1 or 0 (window, 1, token, token): all, or what the block's mask allows.

    The mask is timm's `attn_mask` of shifted windows, which adds -100 to the logits of forbidden pairs.
    """
    mask = _from_parent(net, path, "attn_mask")
    if not isinstance(mask, Tensor) or mask.shape[-1] != count:
        return torch.ones(1, 1, count, count)
    return (mask >= 0).float().cpu().reshape(-1, 1, count, count)


@contextmanager
def watch_attention(net: nn.Module, paths: Sequence[str], each: Callable[[str, Tensor], None]) -> Generator[None]:
    """Inside, `each(path, map)` is called with every attention map (image × window, head, query, key) as it is made."""
    modules = {path: net.get_submodule(path) for path in paths}
    switched = [
        module for module in modules.values() if getattr(module, "fused_attn", False) and _has_attention_dropout(module)
    ]
    computed = {path: module for path, module in modules.items() if not _shows_itself(module)}
    inside: list[str] = []

    def visit(_size: AttentionSize, weights: Callable[[], Tensor]) -> None:
        if inside and inside[-1] in computed:
            each(inside[-1], weights())

    handles: list[Any] = []
    try:
        for module in switched:
            cast(Any, module).fused_attn = False
        for path, module in modules.items():
            if isinstance(module, nn.MultiheadAttention):
                handles += _weight_hooks(path, module, each)
            elif path not in computed:
                drop = cast(nn.Module, module.attn_drop)
                handles.append(drop.register_forward_pre_hook(_capture_hook(path, each)))
        for path, module in net.named_modules() if computed else ():
            handles.append(module.register_forward_pre_hook(lambda *_, path=path: inside.append(path)))
            handles.append(module.register_forward_hook(lambda *_: _leave(inside), always_call=True))
        with slow_attention(), AttentionMode(visit) if computed else nullcontext():
            yield
    finally:
        for handle in handles:
            handle.remove()
        for module in switched:
            cast(Any, module).fused_attn = True


def _leave(inside: list[str]) -> None:
    inside.pop()


def _shows_itself(module: nn.Module) -> bool:
    """Whether a module's map can be had from itself, by its dropout or as its second output."""
    return isinstance(module, nn.MultiheadAttention) or _has_attention_dropout(module)


def _from_parent(net: nn.Module, path: str, name: str) -> Any:
    """What the nearest module above `path` that has something of that name calls so; None where none has."""
    while path:
        path = path.rpartition(".")[0]
        parent: Any = getattr(net.get_submodule(path), name, None)
        if parent is not None:
            return parent
    return None


def _has_attention_dropout(module: nn.Module) -> bool:
    """Whether a module hands its map of attention to a dropout of its own, which can be watched."""
    return isinstance(getattr(module, "attn_drop", None), nn.Module) and hasattr(module, "num_heads")


def _capture_hook(path: str, each: Callable[[str, Tensor], None]) -> Callable[..., None]:
    def take(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        each(path, inputs[0])

    return take


def _weight_hooks(path: str, module: nn.MultiheadAttention, each: Callable[[str, Tensor], None]) -> list[Any]:
    """Hooks that make torch's own attention form its weights, and hand on what the caller had asked for."""

    def ask(_module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
        given = dict(zip(("key_padding_mask", "need_weights", "attn_mask"), inputs[3:], strict=False))
        return inputs[:3], given | named | {"need_weights": True, "average_attn_weights": False}

    def take(_module: nn.Module, _inputs: Any, named: dict[str, Any], output: Any) -> Any:
        each(path, output[1])
        return output[0], output[1].mean(1)

    return [
        module.register_forward_pre_hook(ask, with_kwargs=True),
        module.register_forward_hook(take, with_kwargs=True),
    ]
