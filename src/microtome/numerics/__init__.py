"""Pure functions on tensors and arrays: they know shapes and formulas, and nothing about networks, images or findings.

`logme` is public; everything else is found in its topic.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microtome.numerics.transferability.evidence import logme as logme

__all__ = ["logme"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("microtome.numerics.transferability.evidence"), name)
    raise AttributeError(f"module 'microtome.numerics' has no attribute '{name}'; it has {', '.join(__all__)}, and its topics")
