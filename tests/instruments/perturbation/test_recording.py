"""A forward pass written down: what is left out and folded, and what cannot be written down for other batches."""

import pytest
import torch
from torch import nn

from microtome.instruments.perturbation.recording import RecordingFailed
from microtome.instruments.perturbation.tape import INPUT
from taped_networks import recorded, small, taped


class By(nn.Module):
    """What `rule` makes of the module and the images."""

    def __init__(self, rule) -> None:
        super().__init__()
        self.rule, self.conv = rule, nn.Conv2d(3, 4, 3)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rule(self, x)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_norms_are_folded_and_what_nothing_reads_is_left_out(x: torch.Tensor) -> None:
    def rule(own: By, x: torch.Tensor) -> torch.Tensor:
        own.conv(x * 3).sigmoid()  # nothing reads it
        return own.conv(x).mean((2, 3))

    assert [node.name for node in taped(By(rule), x).nodes] == ["convolution", "mean"]
    tape = taped(small(), x)
    assert tape.folded and not [node for node in tape.nodes if "norm" in node.name]
    assert not taped(By(rule), x).folded


def test_a_norm_stays_where_the_convolution_is_watched_or_read_twice(x: torch.Tensor) -> None:
    net = small()
    watched, seen = taped(net, x, "0"), {}
    assert [node.name for node in watched.nodes if "norm" in node.name]
    with torch.no_grad():
        watched.run({INPUT: x}, 0, 1, seen.__setitem__)
        assert torch.allclose(seen["0"], net[0](x), atol=1e-6)

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = net[0], net[1]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            value = self.conv(x)
            return (self.norm(value) + value).mean((2, 3))

    assert [node.name for node in taped(Twice(), x).nodes if "norm" in node.name]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (lambda own, x: own.conv(x).mean((2, 3)) * len(x) ** 0.5, "an argument depends on the batch"),
        (lambda own, x: own.conv(x) if len(x) == 1 else own.conv(x).relu(), "number of operations depends on the batch"),
        (lambda own, x: own.conv(x).relu() if len(x) == 1 else own.conv(x).tanh(), "operations depend on the batch"),
    ],
)
def test_what_depends_on_the_batch_is_refused(rule, said: str, x: torch.Tensor) -> None:
    with torch.no_grad():
        whole = recorded(By(rule), x)
        assert torch.allclose(whole.draft.run({INPUT: x}, 0, 1), By.forward(whole.net, x))  # for one image it holds
        with pytest.raises(RecordingFailed, match=said):
            whole.tape()


def test_a_network_that_changes_its_own_buffers_is_refused(x: torch.Tensor) -> None:
    def counting(own: By, x: torch.Tensor) -> torch.Tensor:
        own.count += 1
        return own.conv(x)

    with pytest.raises(RecordingFailed, match="changes its own parameters or buffers"):
        recorded(By(counting), x)
    with pytest.raises(RecordingFailed, match="the output was not seen"):
        recorded(By(lambda own, x: own.count), x)
