"""The simplified network of the weight-banding study, and the changes that it made to it.

Twelve convolutions of stride 1 in six groups with five L2 poolings between them, global average pooling, 1001 outputs; batch norm
after everything with weights but the last layer. The article says neither the window of the L2 pooling (2 x 2 follows from the sizes
and stride 2, the mean instead of the sum of squares is our reading: the batch norm after it takes the factor out), nor the activation
(ReLU is our reading), nor how wide the layers of its channel groups are (64, from the run's name). The heads are those of `pooling`.

Source: Petrov et al. 2021, Weight Banding, distill.pub/2020/circuits/weight-banding, figure 4; sizes from its repository's history.
"""

from torch import Tensor, nn

from microtome.errors import BadOption, did_you_mean
from microtome.networks.coordinates import Coordinates
from microtome.networks.pooling import POOLINGS, HeadWidths, L2Pool, MapSize, Pooling, build_pooling

# group: (kernel, width, convolutions)
PLAN = ((7, 32, 1), (5, 64, 1), (5, 64, 1), (5, 128, 2), (5, 256, 5), (5, 512, 2))
LEAST_WIDTH = HeadWidths().groups  # of any convolution, so that its channels can be grouped


class BandingNet(nn.Module):
    """The convolutions, named as in the article (conv0a … conv5b), then the chosen pooling and the last layer `fc`."""

    def __init__(self, num_classes: int, pooling: Pooling, masks: int, coordinates: bool, width: float, size: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.features = nn.Sequential()
        units = 3
        for group, (kernel, wide, count) in enumerate(PLAN):
            for letter in "abcde"[:count]:
                outputs = max(LEAST_WIDTH, round(wide * width))
                extra = coordinates and group == len(PLAN) - 1
                if extra:
                    self.features.add_module(f"coordinates{group}{letter}", Coordinates())
                conv = nn.Conv2d(units + 2 * extra, outputs, kernel, padding=kernel // 2, bias=False)
                self.features.add_module(f"conv{group}{letter}", conv)
                self.features.add_module(f"norm{group}{letter}", nn.BatchNorm2d(outputs))
                self.features.add_module(f"act{group}{letter}", nn.ReLU())
                units = outputs
            if group < len(PLAN) - 1:
                self.features.add_module(f"pool{group}", L2Pool())
        side = size // 32
        self.pool, wide = build_pooling(pooling, MapSize(units, side, side), HeadWidths(masks=masks))
        self.fc = nn.Linear(wide, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """The logits (image, class)."""
        return self.fc(self.pool(self.features(x)))


def banding_net(
    num_classes: int = 1001,
    pooling: Pooling = "gap",
    masks: int = 3,
    coordinates: bool = False,
    width: float = 1.0,
    size: int = 224,
) -> nn.Module:
    """The simplified network; the options are the article's changes to it.

    `pooling`: gap; fc (no pooling: the last layer sees every place); x_avgpool (each row averaged), y_avgpool (each column) and
    xy_avgpool (both; these two were never run there); max_fc (global maximum, a layer of 4096); masks (`masks` learned spatial
    weightings: 3, 5 or 16 there); mask (one weight for each element, then gap); attention (one learned query) and film (a scale and a
    shift for each place), which are our readings; groups (16 groups of channels, a layer for each). `coordinates` puts coordinate
    channels before 5a and 5b. `width` scales all widths (ours, for small runs); `size` is the side of the image in px.

    Raises: BadOption.
    """
    if pooling not in POOLINGS:
        raise BadOption(f"The banding network has no pooling '{pooling}'.{did_you_mean(str(pooling), POOLINGS)}")
    if size < 32 or size % 32 or masks < 1 or width <= 0:
        raise BadOption(
            f"The banding network takes size in multiples of 32, masks of 1 or more, width above 0; given were {size}, {masks}, "
            f"{width}."
        )
    return BandingNet(num_classes, pooling, masks, coordinates, width, size)
