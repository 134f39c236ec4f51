"""Attention found by what is computed, whatever the class is called: a softmax over keys that then weights values.

Either torch's fused `scaled_dot_product_attention`, or a softmax over the last axis whose result is multiplied with a matrix.
"""

import weakref
from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

PRODUCTS = frozenset(("matmul", "__matmul__", "bmm", "einsum"))
PASSES = frozenset(
    (
        "dropout",
        "to",
        "type_as",
        "float",
        "half",
        "contiguous",
        "reshape",
        "view",
        "flatten",
        "unflatten",
        "nan_to_num",
        "clone",
    )
)  # operations that leave the weights weights


class AttentionSize(NamedTuple):
    """One attention: heads (1 where there is no axis for them), queries, keys, and features of a value."""

    heads: int
    queries: int
    keys: int
    features: int


class AttentionMode(TorchFunctionMode):
    """While it is entered, `each(size, weights)` is called for every attention; `weights()` is its map (image, head, query, key)."""

    def __init__(self, each: Callable[[AttentionSize, Callable[[], Tensor]], None]) -> None:
        super().__init__()
        self.each = each
        self.weights: dict[int, weakref.ref[Tensor]] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        name = str(getattr(func, "__name__", ""))
        if name == "scaled_dot_product_attention":
            self._fused(*args, **given)
        elif name in PRODUCTS:
            operands = [each for each in args if isinstance(each, Tensor)]
            if len(operands) > 1 and self._is_weights(operands[0]):
                self._written_out(operands[0], operands[1])
        value = func(*args, **given)
        if name == "softmax" and isinstance(value, Tensor) and _over_last(value, args, given):
            self.weights[id(value)] = weakref.ref(value)
        elif (
            name in PASSES and isinstance(value, Tensor) and args and isinstance(args[0], Tensor) and self._is_weights(args[0])
        ):
            if value.shape[-1] == args[0].shape[-1]:
                self.weights[id(value)] = weakref.ref(value)
        return value

    def _is_weights(self, tensor: Tensor) -> bool:
        known = self.weights.get(id(tensor))
        return known is not None and known() is tensor

    def _written_out(self, weights: Tensor, values: Tensor) -> None:
        if weights.ndim < 3 or weights.shape[-1] < 2 or weights.shape[-2] < 2 or weights.shape[-1] not in values.shape:
            return
        size = AttentionSize(_heads(weights), weights.shape[-2], weights.shape[-1], values.shape[-1])
        self.each(size, lambda: _four_axes(weights))

    def _fused(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> None:
        if query.ndim < 3 or query.shape[-2] < 2 or key.shape[-2] < 2:
            return

        def weights() -> Tensor:
            keys = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3) if enable_gqa else key
            logits = query @ keys.mT * (1 / sqrt(query.shape[-1]) if scale is None else scale)
            allowed = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril() if is_causal else attn_mask
            if allowed is not None:
                logits = logits.masked_fill(~allowed, float("-inf")) if allowed.dtype == torch.bool else logits + allowed
            return _four_axes(logits.softmax(-1))

        self.each(AttentionSize(_heads(query), query.shape[-2], key.shape[-2], value.shape[-1]), weights)


def _heads(tensor: Tensor) -> int:
    return int(tensor.shape[-3]) if tensor.ndim > 3 else 1


def _four_axes(weights: Tensor) -> Tensor:
    """(image, head, query, key), windows counted among the images."""
    return weights.unsqueeze(1) if weights.ndim == 3 else weights.flatten(0, -4)


def _over_last(value: Tensor, args: Sequence[Any], given: dict[str, Any]) -> bool:
    axis = given.get("dim", args[1] if len(args) > 1 else None)
    return isinstance(axis, int) and axis % value.ndim == value.ndim - 1
