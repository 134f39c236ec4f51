"""Statistics for norms that never saw an image: without them an untrained network is not normalised, as no network in training is.

In the first step of any training every batch norm normalises. In evaluation it uses running statistics, which a fresh network holds
at mean 0 and variance 1, so activations grow or fade with depth and the network is no baseline for anything. One pass over a few
images, labels unused, gives them what training gives in its first step; the weights stay as they are.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from microtome.prose import plural
from microtome.specimen.layers import device_of
from microtome.specimen.recipe import Recipe

CALIBRATION_IMAGES = 32  # whose statistics a twin's norms get, of each class in proportion
LEAST_IMAGES = 8  # of images so large that fewer hold as many pixels as 32 of 224 px


class CalibrationBatch(Protocol):
    """Inputs of a few images, as `Recipe.normalise` takes them."""

    @property
    def inputs(self) -> np.ndarray[Any, Any]: ...


class ImageSet(Protocol):
    """What is asked of a set of images here: size, digest, a sample, an order by content, a part, pixels in a recipe's geometry."""

    def __len__(self) -> int: ...

    def digest(self) -> str: ...

    def sample(self, count: int) -> np.ndarray[Any, Any]: ...

    def content_order(self) -> np.ndarray[Any, Any]: ...

    def take(self, indices: Sequence[int]) -> "ImageSet": ...

    def batches(self, recipe: Recipe, size: int) -> Iterator[CalibrationBatch]: ...


def has_statistics(net: nn.Module) -> bool:
    """Whether a norm of the network keeps running statistics."""
    return any(_keeps_statistics(module) for module in net.modules())


def saw_no_image(net: nn.Module) -> bool:
    """Whether every norm with running statistics is as it was made: mean 0, variance 1, nothing shifted. False where there is none."""
    start = {"running_mean": (0.0,), "running_var": (1.0,), "weight": (0.0, 1.0), "bias": (0.0,)}
    norms = [module for module in net.modules() if _keeps_statistics(module)]
    return bool(norms) and all(
        any(bool((value == constant).all()) for constant in constants)
        for norm in norms
        for name, constants in start.items()
        if isinstance(value := getattr(norm, name, None), Tensor)
    )


def calibration_count(recipe: Recipe) -> int:
    """On how many images of that size the statistics are estimated: on 32, or on fewer larger ones with as many pixels."""
    return recipe.equal_count(CALIBRATION_IMAGES, LEAST_IMAGES)


def calibrate(net: nn.Module, recipe: Recipe, images: ImageSet) -> str:
    """Estimate the running statistics of all norms on some of the images, in place; what was done, as a note, or an empty text."""
    if not has_statistics(net) or not len(images):
        return ""
    count = min(calibration_count(recipe), len(images))
    few = images.take(images.sample(count).tolist())
    chosen = few.take(few.content_order().tolist())  # so that batches do not depend on names either
    size = min(count, recipe.equal_count(CALIBRATION_IMAGES, 1))  # larger images come in batches, whose statistics are averaged
    kinds = (parameter.dtype for parameter in net.parameters() if parameter.is_floating_point())
    dtype, device = next(kinds, torch.float32), device_of(net)
    inputs = (recipe.normalise(torch.from_numpy(part.inputs).to(device)).to(dtype) for part in chosen.batches(recipe, size))
    reached = estimate_statistics(net, inputs)
    return f"The running statistics of its {plural(reached, 'norm layer')} were estimated on {plural(count, 'image')}, without labels."


def estimate_statistics(net: nn.Module, inputs: Iterable[Tensor], only: Collection[nn.Module] | None = None) -> int:
    """Set running statistics to the average over the batches of inputs, in place; how many norms were reached.

    As in training with a cumulative average, each batch is normalised by its own statistics; all else stays in evaluation mode. With
    `only`, the statistics of other norms stay as well.
    """
    sums: dict[nn.Module, list[Tensor]] = {}

    def look(module: nn.Module, args: tuple[Any, ...]) -> None:
        x = args[0] if args else None
        mean, spread = (cast(Tensor, getattr(module, name)) for name in ("running_mean", "running_var"))
        if not isinstance(x, Tensor) or x.dim() < 2 or x.shape[1] != mean.numel():
            return
        moments = _moments(module, x)
        if moments is None:
            return
        sums.setdefault(module, []).append(torch.stack([moments[0], moments[2]]).double())
        mean.copy_(moments[0])
        spread.copy_(moments[1])

    norms = [module for module in net.modules() if _keeps_statistics(module) and (only is None or module in only)]
    handles = [norm.register_forward_pre_hook(look) for norm in norms]
    try:
        with torch.inference_mode(False), torch.no_grad():
            for x in inputs:
                net(x)
            for module, batches in sums.items():
                mean, spread = torch.stack(batches).mean(0)
                cast(Tensor, module.running_mean).copy_(mean)
                cast(Tensor, module.running_var).copy_(spread)
    finally:
        for handle in handles:
            handle.remove()
    return len(sums)


def _keeps_statistics(module: nn.Module) -> bool:
    return all(isinstance(module._buffers.get(name), Tensor) for name in ("running_mean", "running_var"))


def _moments(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
    """Mean, variance and unbiased variance (unit,) of what a norm reads; None where a unit has a single value, or is not finite."""
    values = x.detach().float().movedim(1, 0).flatten(2) if x.dim() > 2 else x.detach().float().T[..., None]
    if isinstance(module, nn.modules.instancenorm._InstanceNorm):  # pyright: ignore[reportPrivateUsage]
        spread, mean = torch.var_mean(values, dim=2, correction=0)  # of each image: (unit, image)
        spread, mean, count = spread.mean(1), mean.mean(1), values.shape[2]
    else:
        spread, mean = torch.var_mean(values, dim=(1, 2), correction=0)
        count = values[0].numel()
    if count < 2 or not bool(torch.isfinite(mean).all() and torch.isfinite(spread).all()):
        return None
    return mean, spread, spread * (count / (count - 1))
