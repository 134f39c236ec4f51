"""Gradients of the function that a network computes, whatever its forward does to save memory in training.

Inside, `torch.no_grad`, `torch.inference_mode` and `torch.set_grad_enabled(False)` do nothing (a frozen backbone), and gradient
checkpointing runs each block once. None of them changes what comes out, so the gradient is exact. A `detach` is left alone: it may be
meant as a part of the function's gradient (straight-through estimators).
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
import torch.utils.checkpoint
from torch import nn

CHECKPOINTS: Any = torch.utils.checkpoint  # its private parts, looked up when a block runs


class _PlainCall:
    """Stands for the autograd function of reentrant checkpointing: calls the block as if there were none."""

    @staticmethod
    def apply(function: Callable[..., Any], _preserve: bool, *args: Any) -> Any:
        return function(*args)


def _no_checkpoint(*_: Any, **__: Any) -> Generator[None]:
    """Stands for the generator around a block of non-reentrant checkpointing."""
    yield


@contextmanager
def full_gradients(net: nn.Module) -> Generator[None]:
    """Inside, every forward pass of `net` as a whole records all gradients, and no block is run twice."""
    undo: list[tuple[Any, str, Any]] = []

    def begin(*_: Any) -> None:
        if undo:  # a network that calls itself
            return
        for owner, name, substitute in _substitutes():
            undo.append((owner, name, getattr(owner, name)))
            setattr(owner, name, substitute)

    def end(*_: Any) -> None:
        while undo:
            owner, name, original = undo.pop()
            setattr(owner, name, original)

    handles = [net.register_forward_pre_hook(begin, prepend=True), net.register_forward_hook(end, always_call=True)]
    try:
        yield
    finally:
        end()
        for handle in handles:
            handle.remove()


@contextmanager
def freeze_parameters(net: nn.Module) -> Generator[None]:
    """Inside, no parameter requires a gradient, and all others are recorded, whatever was set outside; flags are as before afterwards."""
    thawed = [parameter for parameter in net.parameters() if parameter.requires_grad]
    for parameter in thawed:
        parameter.requires_grad_(False)
    try:
        with torch.inference_mode(False), torch.enable_grad(), full_gradients(net):
            yield
    finally:
        for parameter in thawed:
            parameter.requires_grad_(True)


def _substitutes() -> list[tuple[Any, str, Any]]:
    """What is replaced while a network runs: owner, name, and what stands there meanwhile."""
    core: Any = torch._C  # pyright: ignore[reportPrivateUsage]
    enable, inference = core._set_grad_enabled, core._InferenceMode

    def set_grad_enabled(_mode: bool) -> None:
        enable(True)

    def inference_mode(_mode: bool = True) -> Any:
        return inference(False)

    return [
        (core, "_set_grad_enabled", set_grad_enabled),
        (core, "_InferenceMode", inference_mode),
        (CHECKPOINTS, "CheckpointFunction", _PlainCall),
        (CHECKPOINTS, "_checkpoint_without_reentrant_generator", _no_checkpoint),
    ]
