"""Why a network does not run on its recipe's images, by trying one image, other channels, other sizes; nothing is advised untried."""

import inspect
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from microtome.errors import hint
from microtome.specimen.input_channels import input_channels
from microtome.specimen.recipe import Recipe, with_channels

SIZES = (32, 28, 64, 48, 96, 112, 128, 160, 192, 224, 227, 240, 256, 288, 299, 320, 384, 448, 512)  # px; the usual ones

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def why_it_fails(net: nn.Module, recipe: Recipe, error: Exception) -> str:
    """One sentence: what was tried, what went wrong, and a remedy where one was found to work; the cause alone where none was."""
    rows, cols = recipe.size
    words = f"{type(error).__name__}: {first_line(error)}"
    start = f"The network does not run on two images of {rows} x {cols} px with {_channels(recipe.channels)} ({words})"
    if _takes_nothing(net):
        return f"{start}: its forward takes no argument, so it reads no image; hand over the part that does."
    if missing := _missing_arguments(net):
        verb = "is an argument" if len(missing) == 1 else "are arguments"
        names = ", ".join(f"'{name}'" for name in missing)
        return f"{start}: {names} {verb} of its forward besides the image; wrap it in a module whose forward takes the image alone."
    if _runs(net, recipe, count=1):
        return (
            f"{start}: it runs on one image at a time, not on two, so its forward fixes the number of images; write "
            "x.flatten(1) or x.shape[0] where it says 1."
        )
    for channels in _other_channels(net, recipe):
        if _runs(net, with_channels(recipe, channels)):
            return f"{start}: it runs on {_channels(channels)}; {_recipe_hint('channels', channels)}."
    for side in SIZES:
        if recipe.size != (side, side) and _runs(net, replace(recipe, size=(side, side))):
            return f"{start}: it runs on {side} x {side} px; {_recipe_hint('size', side)}."
    return f"{start}; no other usual size and no other number of channels helps, so the cause lies in its forward."


def _recipe_hint(name: str, value: int) -> str:
    return hint(f"give --recipe {name}={value}", f"give recipe={{'{name}': {value}}}")


def _channels(count: int) -> str:
    return f"{count} channel{'s' if count != 1 else ''}"


def _takes_nothing(net: nn.Module) -> bool:
    """Whether forward has no argument that an image could be."""
    try:
        given = inspect.signature(net.forward).parameters.values()
    except (TypeError, ValueError):
        return False
    return not any(each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD, each.VAR_POSITIONAL) for each in given)


def _missing_arguments(net: nn.Module) -> list[str]:
    """Arguments of forward, after the first, that have no default."""
    try:
        given = list(inspect.signature(net.forward).parameters.values())
    except (TypeError, ValueError):
        return []
    wanted = [each for each in given if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    positional = [each for each in given if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    return [each.name for each in wanted if each is not (positional[0] if positional else None)]


def _other_channels(net: nn.Module, recipe: Recipe) -> Iterator[int]:
    likely = [input_channels(net, recipe), *(each.in_channels for each in net.modules() if isinstance(each, _CONVOLUTIONS))]
    yield from (count for count in dict.fromkeys([*likely[:3], 1, 3]) if count is not None and count != recipe.channels)


def _runs(net: nn.Module, recipe: Recipe, count: int = 2) -> bool:
    """Whether a forward pass of noise ends."""
    first: Any = next((p for p in net.parameters() if p.is_floating_point()), None)
    noise: Tensor = torch.randn(count, recipe.channels, *recipe.size, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            net(noise if first is None else noise.to(first.device, first.dtype))
    except Exception:  # noqa: BLE001  # whatever it raises, it does not run
        return False
    return True


def first_line(error: Exception) -> str:
    """The first line of an exception's message."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else "no message")[:200]
