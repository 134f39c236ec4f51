"""Which elements of a tensor a view of it shows: what is written into the view is written there.

y[:, :, 2:] = x reaches y through a view: region(y[:, :, 2:], y) is Region((0, 0, 2, 0), (1, 1, 1, 1)).
"""

from dataclasses import dataclass

from torch import Tensor

FACTORIES = frozenset(
    {
        "new_zeros",
        "new_ones",
        "new_full",
        "new_empty",
        "new_empty_strided",
        "zeros_like",
        "ones_like",
        "full_like",
        "empty_like",
        "rand_like",
        "randn_like",
        "randint_like",
    }
)  # constants: nothing is read


@dataclass(frozen=True)
class ViewRegion:
    """The first element along each axis, and every how many-th is shown."""

    first: tuple[int, ...]
    step: tuple[int, ...]


def base_tensor(tensor: Tensor) -> Tensor | None:
    """The tensor whose elements `tensor` shows, None where it has elements of its own."""
    return tensor._base  # pyright: ignore[reportPrivateUsage]


def view_region(view: Tensor, base: Tensor) -> ViewRegion | None:
    """Where the view's elements lie in `base`; None unless both have the same axes, in order, and `base` is contiguous."""
    if view.dim() != base.dim() or not base.is_contiguous() or 0 in view.shape:
        return None
    rest = int(view.storage_offset()) - int(base.storage_offset())
    first: list[int] = []
    step: list[int] = []
    for dim in range(base.dim()):
        own = int(base.stride(dim))
        ratio, odd = divmod(int(view.stride(dim)), own) if view.shape[dim] > 1 else (1, 0)
        place, rest = divmod(rest, own) if base.shape[dim] > 1 else (0, rest)
        if odd or place + (view.shape[dim] - 1) * ratio >= base.shape[dim]:
            return None
        first.append(place)
        step.append(ratio)
    return ViewRegion(tuple(first), tuple(step)) if rest == 0 else None
