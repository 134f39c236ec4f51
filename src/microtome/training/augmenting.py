"""Random changes of training images: mirror, shift, crop, RandAugment, erase, mixup and CutMix; masks move along.

All draws come from torch's global generator, which the training loop seeds for each step and puts back.

Source: torchvision.transforms.v2; Cubuk et al. 2020, arXiv:1909.13719 (RandAugment); Zhang et al. 2018, arXiv:1710.09412 (mixup);
Yun et al. 2019, arXiv:1905.04899 (CutMix); Zhong et al. 2020, arXiv:1708.04896 (erasing).
"""

import importlib
from typing import Any

import torch
from torch import Tensor

from microtome._torchvision import transforms
from microtome.errors import BadOption
from microtome.specimen import Recipe
from microtome.training.recipe import Augmentation


class Augmenter:
    """Changes batches as a recipe says; one for images of `channels` channels and a network with so many classes."""

    def __init__(self, choice: Augmentation, framing: Recipe, classes: int, *, segments: bool, channels: int) -> None:
        if segments and (choice.randaugment or choice.mixup or choice.cutmix):
            raise BadOption(
                "RandAugment, mixup and CutMix change images and not their masks; leave augmentation.randaugment, mixup and cutmix out "
                "for a network that gives a class for every pixel."
            )
        if choice.randaugment and channels != 3:
            raise BadOption(
                f"RandAugment works on three channels, and the images have {channels}; leave augmentation.randaugment out."
            )
        self.choice, self.framing = choice, framing
        v2: Any = transforms()
        self._v2 = v2
        self._randaugment = v2.RandAugment() if choice.randaugment else None
        self._erase = v2.RandomErasing(p=choice.erase) if choice.erase else None
        mixers = [v2.MixUp(alpha=choice.mixup, num_classes=classes)] if choice.mixup else []
        mixers += [v2.CutMix(alpha=choice.cutmix, num_classes=classes)] if choice.cutmix else []
        self._mixer = None if not mixers else mixers[0] if len(mixers) == 1 else v2.RandomChoice(mixers)

    def __call__(self, values: Tensor, targets: Tensor, layout: torch.memory_format) -> tuple[Tensor, Tensor]:
        """Inputs (image, channel, row, col) of values (image, row, col, channel), and their targets.

        Targets stay classes (image,) or (image, row, col), or become fractions (image, class) by mixup and CutMix.
        """
        masks = targets if targets.ndim > 1 else None
        values, masks = self._move(values, masks)
        values, masks = self._crop(values, masks)
        if self._randaugment is not None:
            moved = values.permute(0, 3, 1, 2)
            values = torch.stack([self._randaugment(image) for image in moved]).permute(0, 2, 3, 1)
        x = self.framing.normalise(values, layout)
        if self._erase is not None:
            x = torch.stack([self._erase(image) for image in x]).contiguous(memory_format=layout)
        if self._mixer is not None and len(x) > 1:
            x, targets = self._mixer(x, targets)
            x = x.contiguous(memory_format=layout)
        return x, targets if masks is None else masks

    def _move(self, values: Tensor, masks: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Half of the images mirrored, each shifted by whole pixels; what comes in at a border repeats it."""
        count, rows, cols = values.shape[:3]
        flip = torch.rand(count) < 0.5 if self.choice.flip else torch.zeros(count, dtype=torch.bool)
        most = self.choice.shift
        shifts = torch.randint(-most, most + 1, (count, 2)) if most else torch.zeros(count, 2, dtype=torch.long)
        row = (torch.arange(rows)[None] + shifts[:, :1]).clamp(0, rows - 1)
        col = (torch.arange(cols)[None] + shifts[:, 1:]).clamp(0, cols - 1)
        col = torch.where(flip[:, None], cols - 1 - col, col)
        image = torch.arange(count)[:, None, None]
        moved = values[image, row[:, :, None], col[:, None, :]]
        return moved, None if masks is None else masks[image, row[:, :, None], col[:, None, :]]

    def _crop(self, values: Tensor, masks: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """A part of each image, of a size between the two fractions, resized to the whole; masks by their nearest pixel."""
        if not self.choice.crop_scale:
            return values, masks
        wrap: Any = importlib.import_module("torchvision.tv_tensors")
        crop: Any = self._v2.RandomResizedCrop(list(self.framing.size), scale=self.choice.crop_scale, antialias=True)
        parts: list[Tensor] = []
        part_masks: list[Tensor] = []
        for at, image in enumerate(values.permute(0, 3, 1, 2)):
            if masks is None:
                parts.append(crop(image))
                continue
            part, mask = crop(wrap.Image(image), wrap.Mask(masks[at][None]))
            parts.append(part.as_subclass(Tensor))
            part_masks.append(mask.as_subclass(Tensor)[0])
        return torch.stack(parts).permute(0, 2, 3, 1), torch.stack(part_masks) if masks is not None else None
