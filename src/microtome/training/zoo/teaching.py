"""Distillation from a mini convolutional network to a vision transformer: logits for the class token, maps for the patches.

Source: Touvron et al. 2021, arXiv:2012.12877 (a convolutional teacher for a transformer); Hinton et al. 2015, arXiv:1503.02531
(its probabilities as target); Romero et al. 2015, arXiv:1412.6550 (its inner maps as hints); Beyer et al. 2022,
arXiv:2205.01580 (positions that start as sines and cosines). No mask is shown to a network.
"""

from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

from microtome import networks

GRID = 8  # patches a side
_LEVELS = {"mini_vgg": (7, 14, 23)}  # layers of `features` whose maps are hints: after the second and third pool, and the last


class Teacher:
    """A shipped VGG, frozen: its probabilities (image, class), and its maps at three depths, as hints (image, token, unit)."""

    def __init__(self, name: str) -> None:
        self.net: Any = networks.build(name)
        self.net.load_state_dict(load_file(networks.weights_file(name)))
        self.net.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.levels = _LEVELS[name]
        self.units = [features.shape[-1] for features in self(torch.zeros(2, 3, *networks.SIZE))[1]]

    def __call__(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The teacher's outputs for the images (image, rgb, row, col)."""
        hints: list[Tensor] = []
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            maps = x.contiguous(memory_format=torch.channels_last)
            for number, layer in enumerate(self.net.features):
                maps = layer(maps)
                if number in self.levels:
                    hints.append(_standardise(maps.float()))
            probabilities = self.net.forward_head(maps).float().softmax(-1)
        return probabilities, hints


class TaughtNetwork(nn.Module):
    """A vision transformer of timm's with one more layer per hint, for training, that guesses it from its patches."""

    def __init__(self, net: Any, units: list[int], seed: int) -> None:
        super().__init__()
        self.net = net
        depth = len(net.blocks)
        self.depths = [round((number + 1) * depth / len(units)) - 1 for number in range(len(units))]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.guesses = nn.ModuleList(
                nn.Sequential(nn.LayerNorm(net.num_features), nn.Linear(net.num_features, unit)) for unit in units
            )

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits (image, class) and the guessed hints (image, token, unit)."""
        last, inner = self.net.forward_intermediates(x, indices=self.depths, output_fmt="NLC", return_prefix_tokens=False)
        return self.net.forward_head(last), [guess(features) for guess, features in zip(self.guesses, inner, strict=True)]


def prepare_student(net: Any, images: Tensor) -> Any:
    """The transformer with better first weights: patches enter decorrelated, positions start as sines and cosines.

    `images` (image, rgb, row, col) are some to take the statistics of patches from: a patch's mean colour would
    drown its edges otherwise.
    """
    conv: nn.Conv2d = net.patch_embed.proj
    size, width = int(conv.kernel_size[0]), int(conv.out_channels)
    patches = images.unfold(2, size, size).unfold(3, size, size).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3 * size * size).double()
    mean = patches.mean(0)
    values, vectors = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
    rows = (vectors[:, -width:] / (values[-width:] + 1e-3).sqrt()).T
    place = torch.arange(GRID, dtype=torch.float64)
    rates = GRID ** (-torch.arange(width // 4) / (width // 4)) * 2
    waves = torch.cat([(place[:, None] * rates).sin(), (place[:, None] * rates).cos()], 1)  # (place, unit)
    both = torch.cat([waves[:, None].expand(-1, GRID, -1), waves[None].expand(GRID, -1, -1)], 2).reshape(GRID * GRID, -1)
    with torch.no_grad():
        conv.weight.copy_(rows.reshape(conv.weight.shape))
        if conv.bias is not None:
            conv.bias.copy_(-rows @ mean)
        net.pos_embed[:, 1:].copy_(both * 0.5)
    return net


def _standardise(maps: Tensor) -> Tensor:
    """Maps (image, unit, row, col) as hints on the grid of patches (image, token, unit), each unit standardised."""
    tokens = pixel_unshuffle(maps, maps.shape[-1] // GRID).flatten(2).transpose(1, 2)
    return (tokens - tokens.mean(dim=(0, 1), keepdim=True)) / (tokens.std(dim=(0, 1), keepdim=True) + 1e-3)
