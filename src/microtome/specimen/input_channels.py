"""How many input channels a network takes, found by following the image to the first convolution or linear layer that reads it."""

from typing import Any

import torch
from torch import nn

from microtome.specimen.noise_images import noise_images
from microtome.specimen.outputs import first_tensor
from microtome.specimen.recipe import Recipe

READERS = (nn.Conv2d, nn.Conv3d, nn.Linear)


class _ReachedReader(BaseException):  # no network that catches exceptions catches this one
    """The first layer with a fixed number of inputs was called."""

    def __init__(self, wanted: int, given: int) -> None:
        super().__init__()
        self.wanted, self.given = wanted, given


def input_channels(net: nn.Module, recipe: Recipe) -> int | None:
    """The number of channels that an image of the recipe's size has to have; None where that cannot be found.

    The pass ends at the first layer that reads the image. Where the image was rearranged before (space to depth, patches), as many numbers
    come from each channel, so that its inputs over those that came are the channels over those of the recipe.
    """

    def stop(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        value = first_tensor(inputs) if first_tensor(inputs) is not None else first_tensor(tuple(named.values()))
        if value is None:
            return
        linear = isinstance(module, nn.Linear)
        axis = -1 if linear else -(len(module.kernel_size) + 1)  # pyright: ignore[reportArgumentType]
        wanted = module.in_features if linear else module.in_channels
        raise _ReachedReader(int(wanted), int(value.shape[axis]))  # pyright: ignore[reportArgumentType]

    handles = [
        module.register_forward_pre_hook(stop, with_kwargs=True) for module in net.modules() if isinstance(module, READERS)
    ]
    try:
        with torch.no_grad():
            net(noise_images(net, recipe, 1))
    except _ReachedReader as reached:
        channels, rest = divmod(reached.wanted * recipe.channels, reached.given)
        return channels if channels and not rest else None
    except Exception:  # noqa: BLE001  # whatever it raises, nothing is known from it
        return None
    finally:
        for handle in handles:
            handle.remove()
    return None
