"""The first convolution to run, whatever the order of the modules."""

from torch import Tensor, nn

from microtome.opening.opening import open as open_specimen
from microtome.specimen.anatomy import first_convolution


class Backwards(nn.Module):
    """Modules in another order than they run in, and one that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.unused, self.last = nn.Conv2d(3, 3, 1), nn.Conv2d(4, 2, 1)
        self.first = nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x))


def test_the_first_convolution_is_the_first_to_run() -> None:
    assert first_convolution(open_specimen(Backwards().eval(), recipe=8)) == "first.1"


def test_without_a_convolution_over_rows_and_columns_there_is_none() -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Unflatten(1, (1, 48)), nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(92, 2))
    assert first_convolution(open_specimen(linear.eval(), recipe=4)) == ""
