"""A Gaussian bias over offsets that is added to the logits of self-attention, so that near tokens get more attention.

Source: Kim et al. 2023, arXiv:2305.04722: A² · exp(-d² / 2σ²) with d in patches, one A and one σ for each layer, shared over heads, no
constant (softmax does not see one); prefix tokens get nothing, which is our choice. A without the square is ours.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn

Form = Literal["squared", "plain"]
LEAST = 1e-6  # cells²: keeps the hill defined should training drive σ through zero


class GaussianBias(nn.Module):
    """The bias (query, key) of a grid of positions, numbered row by row, after `prefix` tokens that have no place."""

    squared: Tensor

    def __init__(self, grid: tuple[int, int], prefix: int, amplitude: float, sigma: float, form: Form) -> None:
        super().__init__()
        self.start, self.form, self.prefix = (amplitude, sigma), form, prefix
        self.amplitude = nn.Parameter(torch.tensor(float(amplitude)))
        self.sigma = nn.Parameter(torch.tensor(float(sigma)))
        places = torch.cartesian_prod(*(torch.arange(side, dtype=torch.float32) for side in grid)).reshape(-1, 2)
        self.register_buffer("squared", (places[:, None] - places[None]).square().sum(-1), persistent=False)

    def forward(self) -> Tensor:
        """The bias (query, key) as it is now."""
        height = self.amplitude**2 if self.form == "squared" else self.amplitude
        hill = height * torch.exp(-self.squared / (2 * self.sigma**2 + LEAST))
        return nn.functional.pad(hill, (self.prefix, 0, self.prefix, 0)) if self.prefix else hill

    def reset_parameters(self) -> None:
        """Set A and σ back to their initial values."""
        with torch.no_grad():
            self.amplitude.fill_(self.start[0])
            self.sigma.fill_(self.start[1])

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that must not decay; that they have no axis spares them in timm's rule and in ours."""
        return {"amplitude", "sigma"}


class BiasedAttention(nn.Module):
    """An attention module that is given the bias as part of its mask.

    `word` is the module's own name for the mask that is added to its logits: `attn_mask` (query, key), or `mask`
    (window, query, key) in Swin.
    """

    def __init__(self, attn: nn.Module, bias: GaussianBias, word: Literal["attn_mask", "mask"]) -> None:
        super().__init__()
        self.attn, self.bias, self.word = attn, bias, word

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, mask: Tensor | None = None, **named: Any) -> Tensor:
        """What the module gives for tokens `x` with the bias added to the mask it was given, if any."""
        given = attn_mask if self.word == "attn_mask" else mask
        hill = self.bias().to(x.dtype)
        if self.word == "mask":
            hill = hill[None]
        if given is not None and given.dtype == torch.bool:
            hill = torch.zeros_like(given, dtype=x.dtype).masked_fill(~given, float("-inf")) + hill
        elif given is not None:
            hill = given + hill
        return self.attn(x, **{self.word: hill}, **named)


class BiasedTable(nn.Module):
    """timm's `rel_pos`, the learned bias of an attention module, with the hill on top."""

    def __init__(self, table: nn.Module, bias: GaussianBias) -> None:
        super().__init__()
        self.table, self.bias = table, bias
        self.window_size: Any = table.window_size

    def get_bias(self) -> Tensor:
        """Both biases (1, head, query, key)."""
        table: Any = self.table
        return table.get_bias() + self.bias()

    def forward(self, attn: Tensor, shared_rel_pos: Tensor | None = None) -> Tensor:
        """Logits with both biases; as in timm, a shared bias is for layers that have none of their own."""
        return attn + self.get_bias()
