"""Convolutions that read more channels than before and give the same, until they are trained."""

import torch
from torch import nn


class WidenedConv2d(nn.Conv2d):
    """A convolution without groups with `more` channels behind its input; the weights that read them start at zero.

    `in_channels` counts them. Derived classes say where the channels come from.
    """

    def __init__(self, plain: nn.Conv2d, more: int) -> None:
        super().__init__(
            plain.in_channels + more,
            plain.out_channels,
            (plain.kernel_size[0], plain.kernel_size[1]),
            (plain.stride[0], plain.stride[1]),
            plain.padding if isinstance(plain.padding, str) else (plain.padding[0], plain.padding[1]),
            (plain.dilation[0], plain.dilation[1]),
            1,
            plain.bias is not None,
            plain.padding_mode,
            plain.weight.device,
            plain.weight.dtype,
        )
        with torch.no_grad():
            self.weight.zero_()
            self.weight[:, : plain.in_channels] = plain.weight
            if self.bias is not None and plain.bias is not None:
                self.bias.copy_(plain.bias)
