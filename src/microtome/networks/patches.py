"""Patch embeddings with a layer norm of their own, after the projection or before it.

Source: Kim et al. 2021, arXiv:2111.08413 (PreLayerNorm), of which we had the abstract; the two readings are those of re-implementations.
"""

from torch import Tensor, nn
from torch.nn.functional import fold, unfold


class NormedPatches(nn.Sequential):
    """A patchifying convolution, then layer norm over the units of each patch: maps (image, unit, row, col)."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.LayerNorm(conv.out_channels, eps=1e-6)

    def forward(self, input: Tensor) -> Tensor:
        """Normalised embeddings, laid out as those of the convolution."""
        return self.norm(self.conv(input).movedim(1, -1)).movedim(-1, 1)


class NormedPixels(nn.Sequential):
    """Layer norm over all numbers of a patch (channels and pixels together), then the patchifying convolution."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        rows, cols = conv.kernel_size
        self.norm = nn.LayerNorm(conv.in_channels * rows * cols, eps=1e-6)
        self.conv = conv

    def forward(self, input: Tensor) -> Tensor:
        """Embeddings of the normalised patches, laid out as those of the convolution; pixels beyond the last whole patch are cut."""
        rows, cols = self.conv.kernel_size
        size = input.shape[2] // rows * rows, input.shape[3] // cols * cols
        patches = unfold(input[:, :, : size[0], : size[1]], (rows, cols), stride=(rows, cols))  # image, number, patch
        return self.conv(fold(self.norm(patches.mT).mT, size, (rows, cols), stride=(rows, cols)))
