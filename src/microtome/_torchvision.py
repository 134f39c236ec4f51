"""The one door to torchvision and timm: repairs the import where torchvision's compiled operators do not load.

Source: docs/decisions/0003-torchvision.md. A torchvision wheel built for CUDA beside a CPU build of torch fails at import with
"operator torchvision::nms does not exist". Only on that exact error are the two missing schemas declared, and the import
repeated; a healthy torchvision is never touched (declaring its namespace twice would abort the whole process).
"""

import importlib
import sys
import warnings
from types import ModuleType
from typing import Any

_declared: Any = None  # keeps the library object alive: its schemas vanish with it


def torchvision() -> ModuleType:
    """The torchvision package, imported and, if its operators are missing, repaired (with one warning)."""
    global _declared
    if "torchvision" in sys.modules:
        return sys.modules["torchvision"]
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    import torch

    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    _declared = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        _declared.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    warnings.warn(
        "torchvision's compiled operators do not match this torch build; classification and segmentation models work, "
        "detection models do not",
        RuntimeWarning,
        stacklevel=2,
    )
    return importlib.import_module("torchvision")


def timm() -> ModuleType:
    """The timm package, with torchvision made importable first."""
    torchvision()
    return importlib.import_module("timm")


def transforms() -> Any:
    """The module `torchvision.transforms.v2`, imported the same way."""
    torchvision()
    return importlib.import_module("torchvision.transforms.v2")
