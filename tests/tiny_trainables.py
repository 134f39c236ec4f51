"""Networks small enough to be trained by hand: one linear layer, and two convolutions with batch norm and dropout."""

from torch import Tensor, nn

SIDE = 16  # px


def linear_net(num_classes: int = 10) -> nn.Module:
    """One matrix on the pixels."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, num_classes))


def conv_net(num_classes: int = 10) -> nn.Module:
    """Two convolutions, batch norm, dropout, mean pooling and a head."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(8, num_classes),
    )  # fmt: skip


def fixed_net() -> nn.Module:
    """Three outputs, and no option for them."""
    return linear_net(3)


class Explosive(nn.Module):
    """Scores that grow beyond every bound after the first updates."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.head = nn.Linear(3 * SIDE * SIDE, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1)) ** 9


def explosive_net(num_classes: int = 10) -> nn.Module:
    """A network whose loss becomes infinite."""
    return Explosive(num_classes)


def map_net(num_classes: int = 2) -> nn.Module:
    """A class for every pixel, by one convolution."""
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, num_classes, 1))
