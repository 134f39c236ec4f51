"""A convolutional network of ours as the teacher of a vision transformer: answers for the class token, maps for the patches.

Source: Touvron et al. 2021, arXiv:2012.12877 (a convolutional teacher for a transformer); Hinton et al. 2015, arXiv:1503.02531
(its probabilities as target); Romero et al. 2015, arXiv:1412.6550 (its inner maps as hints). No mask is shown to a network.
"""

from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from microtome import networks


class Teacher:
    """A shipped network, frozen: probabilities (image, class) and standardised last maps (image, token, unit)."""

    def __init__(self, name: str) -> None:
        self.net: Any = networks.build(name)
        self.net.load_state_dict(load_file(networks.weights(name)))
        self.net.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.units = int(self.net.num_features)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the teacher says of the images (image, rgb, row, col)."""
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            maps = self.net.forward_features(x.contiguous(memory_format=torch.channels_last))
            probabilities = self.net.forward_head(maps).float().softmax(-1)
        tokens = maps.float().flatten(2).transpose(1, 2)
        spread = tokens.std(dim=(0, 1), keepdim=True) + 1e-6
        return probabilities, (tokens - tokens.mean(dim=(0, 1), keepdim=True)) / spread


class Taught(nn.Module):
    """A vision transformer of timm's with one more layer, for training, that guesses the teacher's maps from its patches."""

    def __init__(self, net: Any, units: int, seed: int) -> None:
        super().__init__()
        self.net = net
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.guess = nn.Linear(net.num_features, units)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (image, class) and guessed maps (image, token, unit)."""
        tokens = self.net.forward_features(x)
        return self.net.forward_head(tokens), self.guess(tokens[:, self.net.num_prefix_tokens :])
