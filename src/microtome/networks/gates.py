"""The squeeze-and-excitation gate: one number for each channel (or place), by which its map is multiplied.

Source: Hu et al. 2018, arXiv:1709.01507, sec. 3: z = mean over places of u, s = σ(W2 · ReLU(W1 · z)), out = s · u. Other squeezes and
excitations: its section 6.2 and 6.3; no squeeze (1 x 1 convolutions on the whole map): its section 7.1.
"""

from typing import Literal

import torch
from torch import Tensor, nn

Squeeze = Literal["avg", "max", "none"]
Excitation = Literal["sigmoid", "tanh", "relu"]
LEAST = 4  # channels of the inner layer: fewer are all zero behind their ReLU too easily
EXCITATIONS: dict[str, type[nn.Module]] = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}


class SqueezeExciteGate(nn.Module):
    """Multiplies each channel by `factor` times its gate; layer names are those of timm's SEModule (fc1, fc2, gate).

    `units` channels are squeezed to round(units / ratio), at least 4. A gate has 2 · units · squeezed weights, and with `bias`
    units + squeezed more.
    """

    def __init__(
        self,
        units: int,
        ratio: float = 16,
        squeeze: Squeeze = "avg",
        excitation: Excitation = "sigmoid",
        bias: bool = True,
        factor: float = 1.0,
    ) -> None:
        super().__init__()
        inner = max(LEAST, round(units / ratio))
        self.squeeze: Squeeze = squeeze
        self.factor = factor
        self.fc1 = nn.Conv2d(units, inner, 1, bias=bias)
        self.act = nn.ReLU()
        self.fc2 = nn.Conv2d(inner, units, 1, bias=bias)
        self.gate = EXCITATIONS[excitation]()

    def forward(self, x: Tensor) -> Tensor:
        """The maps (image, unit, row, col), each channel multiplied by its gate."""
        z = x if self.squeeze == "none" else x.mean((2, 3), keepdim=True) if self.squeeze == "avg" else x.amax((2, 3), True)
        gates: Tensor = self.gate(self.fc2(self.act(self.fc1(z))))
        return x * (gates * self.factor if self.factor != 1.0 else gates)

    def mirror(self) -> None:
        """Make every second unit of the inner layer the negative of the one before, so that no gate begins dead."""
        with torch.no_grad():
            pairs = self.fc1.weight[: len(self.fc1.weight) // 2 * 2]
            pairs[1::2] = -pairs[::2]
            if self.fc1.bias is not None:
                self.fc1.bias.zero_()

    def set_constant(self, bias: float) -> None:
        """Make the gate the same for every input: fc2 gets zero weights, and biases (if it has any) of `bias`."""
        with torch.no_grad():
            self.fc2.weight.zero_()
            if self.fc2.bias is not None:
                self.fc2.bias.fill_(bias)
