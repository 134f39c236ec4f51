"""How a module's own output becomes (image, ...): the batch in front, windows joined, tokens row by row; and back again."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from microtome.errors import SpecimenError


@dataclass(frozen=True)
class Arrangement:
    """The way from a raw output to the one that analyses see.

    `batch` is the raw axis that counts images; of its parts in memory `outer` come before the images and `inner` after them (windows).
    `axes` puts the rest in order, after the batch was taken out and its parts were made axes of their own; the first `merged` of them are
    joined to tokens, which `order` then lists (prefix first, then row by row).
    """

    batch: int
    outer: int = 1
    inner: int = 1
    axes: tuple[int, ...] = ()
    merged: int = 0
    order: tuple[int, ...] | None = None

    @property
    def images_first(self) -> bool:
        """Whether the raw value has the images in front already, and nothing else in their axis."""
        return self.batch == 0 and self.outer == self.inner == 1

    @cached_property
    def _index(self) -> Tensor:
        return torch.tensor(self.order)

    @cached_property
    def _back(self) -> Tensor:
        return torch.argsort(self._index)

    def by_image(self, value: Tensor) -> Tensor:
        """The raw value with the images in front and the parts of their axis as axes of their own: the rest as it is."""
        if value.shape[self.batch] % (self.outer * self.inner):
            raise SpecimenError(
                f"The axis of {value.shape[self.batch]} is no multiple of {self.outer * self.inner} windows: windows are known for images "
                "of the recipe's size only."
            )
        value = value.unflatten(self.batch, (self.outer, -1, self.inner)).movedim(self.batch + 1, 0)
        # the parts that are no axes go, the inner one first
        value = value.squeeze(self.batch + 2) if self.inner == 1 else value
        return value.squeeze(self.batch + 1) if self.outer == 1 else value

    def arrange(self, value: Tensor) -> Tensor:
        """What analyses see of a raw value."""
        value = self.by_image(value).permute(0, *(1 + axis for axis in self.axes))
        if self.merged > 1:
            value = value.flatten(1, self.merged)
        if self.order is None:
            return value
        if value.shape[1] != len(self.order):
            raise SpecimenError(
                f"The order of tokens is known for {len(self.order)} of them, at the recipe's size; here are {value.shape[1]}."
            )
        return value.index_select(1, self._index.to(value.device))

    def restore(self, value: Tensor, like: Tensor) -> Tensor:
        """The raw value that `arrange` turns into `value`; `like` is a raw value of its shape."""
        if self.order is not None:
            value = value.index_select(1, self._back.to(value.device))
        rest = self.by_image(like).permute(0, *(1 + axis for axis in self.axes)).shape
        value = value.reshape(rest).permute(0, *(1 + self.axes.index(axis) for axis in range(len(self.axes))))
        if self.outer == 1:
            value = value.unsqueeze(self.batch + 1)
        if self.inner == 1:
            value = value.unsqueeze(self.batch + 2)
        return value.movedim(0, self.batch + 1).reshape(like.shape)
