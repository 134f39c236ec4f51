"""A network of odd parts, whose calls and outputs several tests count by hand."""

from torch import Tensor, nn


class Odd(nn.Module):
    """A module called three times, one that gives a list, one that gives a dictionary, one never called."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.split = Split()
        self.table = Table()
        self.unused = nn.Conv2d(3, 3, 1)
        self.many = nn.ModuleList([nn.Conv2d(4, 4, 1) for _ in range(2)])
        self.head = nn.Linear(4, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        for conv in self.many:
            x = self.relu(conv(x))
        fine, coarse = self.split(x)
        return self.head(self.table(fine)["maps"].mean((2, 3)) + coarse.mean((2, 3)))


class Split(nn.Module):
    def forward(self, x: Tensor) -> list[Tensor]:
        return [x, x[:, :, ::2, ::2]]


class Table(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"maps": x * 2}
