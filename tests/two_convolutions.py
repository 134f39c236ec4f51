"""The smallest network with a head that several tests wrap and hold: two convolutions with rectifiers."""

from torch import Tensor, nn


class Small(nn.Module):
    """Two convolutions of stride 2, and a linear head over the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.act1 = nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU()
        self.conv2, self.act2 = nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.act2(self.conv2(self.act1(self.conv1(x)))).mean((2, 3)))
