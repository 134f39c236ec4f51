"""Whether an input recipe fits the weights: statistics that the first batch norm stored, beside those that images give through it.

A batch norm keeps the mean and variance, by channel, of what it read in training. Images that come through the training recipe give
nearly the same; through another scale, normalisation or order of colours they do not. No label is needed. What it cannot see: the
size, the crop and the interpolation, networks without such a norm, norms folded into their convolutions, and images that are unlike
those of the training.

Source: ours; the divergence between normal distributions is that of Kullback & Leibler 1951.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from microtome.errors import hint
from microtome.specimen.calibration import ImageSet
from microtome.specimen.noise_images import to_network
from microtome.specimen.recipe import IMAGENET_MEAN, IMAGENET_STD, Recipe

IMAGES = 32  # whose statistics are taken
EXPLAINED = (
    0.1  # divergence up to which a recipe explains the statistics; right recipes gave 0.001 to 0.09 on training-like images
)
WORSE = 5.0  # times the divergence of another recipe, from which the given one is suspected
SWAPPED = 2.5  # the same for red and blue exchanged, which changes little
SMALLEST = 0.01  # divergence below which nothing is suspected
WRONG_SCALE = 100.0  # times, from which images of any kind show it
LARGE = 10.0  # divergence that no kind of image gives through the right recipe


@dataclass(frozen=True)
class RecipeFit:
    """How well the given recipe and the best other one explain what norm `layer` stored: divergences, 0 for the same statistics."""

    layer: str
    given: float
    best: float
    other: Recipe
    swapped: bool  # the other one has red and blue exchanged
    only_swapped: bool  # and differs in nothing else

    @property
    def suspect(self) -> bool:
        """Whether the other recipe fits so much better that the given one is suspected."""
        if self.wrong_scale:
            return True
        times = SWAPPED if self.only_swapped else WORSE
        return self.given > SMALLEST and self.best <= EXPLAINED and self.given >= times * self.best

    @property
    def wrong_scale(self) -> bool:
        """Whether the given recipe is so far off that no kind of image explains it."""
        return self.given > LARGE and self.given > WRONG_SCALE * self.best

    def text(self, source: str) -> str:
        """One sentence: what differs, which recipe would fit, and how to give it; `source` names the images."""
        start = (
            f"The recipe may not fit the weights: through it {source} give statistics far from those that '{self.layer}' stored in "
            f"training (divergence {_number(self.given)})"
        )
        change = f"mean {_text(self.other.mean)} and std {_text(self.other.std)}"
        remedy = hint(
            f"--recipe mean={_text(self.other.mean)},std={_text(self.other.std)}",
            f"recipe={{'mean': {self.other.mean}, 'std': {self.other.std}}}",
        )
        swap = "the order blue, green, red"
        flip = "wrap the network so that it takes x.flip(1)"
        if self.only_swapped:
            return f"{start}; {swap} fits better ({_number(self.best)}): {flip}."
        if self.swapped:
            return f"{start}; {change} in {swap} fit better ({_number(self.best)}): try {remedy}, and {flip}."
        return f"{start}; {change} fit better ({_number(self.best)}): try {remedy}."


class _Reached(Exception):
    """The first batch norm was reached; nothing after it is needed."""


def recipe_fit(net: nn.Module, recipe: Recipe, pixels: np.ndarray[Any, Any]) -> RecipeFit | None:
    """How well recipes explain the first batch norm's statistics on `pixels`, uint8 (image, row, col, rgb).

    None where there is no such norm that saw an image, or where the recipe is not for three channels.
    """
    if not can_judge(net, recipe) or not len(pixels):
        return None
    scores: dict[tuple[Recipe, bool], float] = {}
    layer = ""
    for other in other_recipes(recipe):
        for swapped in (False, True):
            reached = _first_norm(net, _input(net, other, pixels, swapped))
            if reached is None:
                return None
            layer, scores[other, swapped] = reached
    given = scores.pop((recipe, False))
    other, swapped = min(scores, key=lambda each: scores[each])
    return RecipeFit(layer, given, scores[other, swapped], other, swapped, swapped and other == recipe)


def can_judge(net: nn.Module, recipe: Recipe) -> bool:
    """Whether there is a norm to compare with, and a recipe of three channels; asked before any image is read or passed."""
    return recipe.channels == 3 and any(_saw_images(module) for module in net.modules())


def other_recipes(recipe: Recipe) -> list[Recipe]:
    """The given recipe first, then those that are taken for it by mistake: other scales and normalisations."""
    zero, unit, half, pixel = ((value,) * 3 for value in (0.0, 1.0, 0.5, 1 / 255))
    every = [(IMAGENET_MEAN, IMAGENET_STD), (zero, unit), (half, half), (zero, pixel), (IMAGENET_MEAN, pixel)]
    return list(dict.fromkeys([recipe, *(replace(recipe, mean=mean, std=std) for mean, std in every)]))


def recipe_doubt(net: nn.Module, recipe: Recipe, images: ImageSet) -> str:
    """A sentence where another recipe fits the stored statistics far better on some of the images; else empty."""
    if not can_judge(net, recipe):
        return ""
    chosen = images.take(images.sample(min(IMAGES, len(images))).tolist())
    pixels = np.concatenate([np.asarray(part.inputs) for part in chosen.batches(recipe, IMAGES)])
    fit = recipe_fit(net, recipe, pixels)
    return fit.text("these images") if fit is not None and fit.suspect else ""


def scale_note(net: nn.Module, recipe: Recipe) -> str:
    """A sentence where values are so far off scale that no image is needed to see it; else empty."""
    fit = recipe_fit(net, recipe, photograph_noise(recipe.size)) if can_judge(net, recipe) else None
    return fit.text("images of any kind") if fit is not None and fit.wrong_scale else ""


def photograph_noise(size: tuple[int, int], count: int = 4) -> np.ndarray[Any, Any]:
    """Noise with the spectrum, mean colour and colour covariance of photographs: uint8 (image, row, col, rgb), the same in every call."""
    rows, cols = size
    frequency = torch.fft.fftfreq(rows)[:, None] ** 2 + torch.fft.rfftfreq(cols)[None] ** 2
    amplitude = 1 / frequency.clamp_min(1 / (4 * max(size) ** 2)).sqrt()
    white = torch.randn(count, 3, rows, cols, generator=torch.Generator().manual_seed(0))
    smooth = torch.fft.irfft2(torch.fft.rfft2(white) * amplitude, s=size)
    smooth = smooth / smooth.std().clamp_min(1e-6)
    mixing = torch.tensor([[0.27, 0.0, 0.0], [0.25, 0.08, 0.0], [0.235, 0.11, 0.06]])  # from covariances of ImageNet's colours
    colours = torch.einsum("ij,njhw->nhwi", mixing, smooth) + torch.tensor(IMAGENET_MEAN)
    return (colours.clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def _input(net: nn.Module, recipe: Recipe, pixels: np.ndarray[Any, Any], swapped: bool) -> Tensor:
    return to_network(net, recipe.normalise(torch.from_numpy(np.ascontiguousarray(pixels[..., ::-1] if swapped else pixels))))


def _first_norm(net: nn.Module, x: Tensor) -> tuple[str, float] | None:
    """The path of the first batch norm that runs, and the divergence of what it reads from what it stored; None where there is none."""
    norms = {module: path for path, module in net.named_modules() if _saw_images(module)}
    reached: list[tuple[str, float]] = []

    def look(module: nn.Module, args: tuple[Any, ...]) -> None:
        if args and isinstance(args[0], Tensor) and args[0].dim() >= 2:
            reached.append((norms[module], _divergence(module, args[0])))
            raise _Reached

    handles = [module.register_forward_pre_hook(look) for module in norms]
    try:
        with torch.inference_mode():
            net(x)
    except _Reached:
        pass
    finally:
        for handle in handles:
            handle.remove()
    return reached[0] if reached else None


def _saw_images(module: nn.Module) -> bool:
    """Whether the module is a batch norm with running statistics that are not as they were made."""
    kind = nn.modules.batchnorm._BatchNorm  # pyright: ignore[reportPrivateUsage]
    if not isinstance(module, kind) or module.running_mean is None or module.running_var is None or module.training:
        return False
    return not (bool((module.running_mean == 0).all()) or bool((module.running_var == 1).all()))


def _divergence(module: nn.Module, x: Tensor) -> float:
    """The mean over channels of the divergence of normal distributions, as read from as stored."""
    norm: Any = module
    values = x.detach().double().movedim(1, 0).flatten(1)
    mean, stored_mean = values.mean(1), norm.running_mean.double()
    spread, stored = values.var(1, correction=0) + norm.eps, norm.running_var.double() + norm.eps
    each = 0.5 * (spread / stored + (mean - stored_mean) ** 2 / stored - 1 - torch.log(spread / stored))
    return float(each.mean())


def _text(values: tuple[float, ...]) -> str:
    """Three numbers as `--recipe` takes them, or one where they are equal."""
    words = [f"{value:.4g}" for value in values]
    return words[0] if len(set(words)) == 1 else "/".join(words)


def _number(value: float) -> str:
    """Two significant digits, without an exponent."""
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"
