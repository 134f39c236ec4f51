"""The loss of a batch: cross-entropy by image or by pixel, with label smoothing, and with auxiliary outputs where a network has them.

Source: Szegedy et al. 2016, arXiv:1512.00567 (label smoothing); Szegedy et al. 2015, arXiv:1409.4842 (auxiliary classifiers, weight 0.3).
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor
from torch.nn import functional

from microtome.specimen.outputs import first_tensor

AUXILIARY_WEIGHT = 0.3


def training_loss(value: Any, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """The mean loss of what a network in training mode returned: its main output, and 0.3 of each auxiliary one.

    `targets` are classes (image,) or (image, row, col), or fractions (image, class).
    """
    main, *others = _class_outputs(value)
    loss = cross_entropy(main, targets, smoothing)
    for other in others:
        loss = loss + AUXILIARY_WEIGHT * cross_entropy(other, targets, smoothing)
    return loss


def cross_entropy(scores: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """The mean cross-entropy of class scores (image, class) or (image, class, row, col); maps are first resized to their targets."""
    scores = scores.float()
    if targets.ndim == 3 and scores.shape[2:] != targets.shape[1:]:
        scores = functional.interpolate(scores, tuple(targets.shape[1:]), mode="bilinear", align_corners=False)
    if targets.ndim < 3 and scores.ndim > 2:
        scores = scores.flatten(1)
    return functional.cross_entropy(scores, targets, label_smoothing=smoothing)


def _class_outputs(value: Any) -> list[Tensor]:
    """The main output first, then auxiliary ones of the same kind."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        mapping = cast(Mapping[str, Any], value)
        order = [mapping[name] for name in ("out", "logits") if name in mapping] or list(mapping.values())[:1]
        tensors = [*order[:1], *(mapping[name] for name in ("aux", "aux_logits") if name in mapping)]
        return [tensor for tensor in tensors if isinstance(tensor, Tensor)]
    if isinstance(value, list | tuple):
        tensors = [part for part in cast(Sequence[Any], value) if isinstance(part, Tensor)]
        return [tensor for tensor in tensors if tensor.ndim == tensors[0].ndim and tensor.shape[1] == tensors[0].shape[1]]
    tensor = first_tensor(value)
    return [] if tensor is None else [tensor]
