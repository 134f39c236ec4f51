"""Channels: what lies side by side in a tensor, by hand for each kind of operation, in both memory layouts."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from microtome.numerics.graph.channels import ChannelRun, Channels, ChannelStream

WEIGHT = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))


def followed(work: Callable[[Tensor], Tensor], layout: torch.memory_format = torch.contiguous_format) -> ChannelStream | None:
    """What the result of `work` on an image of three channels and 6×6 px holds. The image is source 0."""
    x = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(1)).to(memory_format=layout)
    mode = Channels(x)
    with torch.no_grad(), mode:
        return mode.of(work(x))


def conv(x: Tensor) -> Tensor:
    return F.conv2d(x, WEIGHT, padding=1)


KEPT = {
    "relu": F.relu,
    "in place": lambda x: F.relu(x.clone(), inplace=True),
    "scaled": lambda x: 2 * x + 1,
    "pooled": lambda x: F.max_pool2d(F.avg_pool2d(x, 2), 2),
    "to one cell": lambda x: F.adaptive_avg_pool2d(x, 1),
    "mean": lambda x: x.mean((2, 3)),
    "global and flat": lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1),
    "rows cut": lambda x: x[:, :, 1:4, ::2],
    "padded": lambda x: F.pad(x, (1, 1, 0, 0)),
    "larger": lambda x: F.interpolate(x, scale_factor=2),
    "gated": lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)),
    "swish": lambda x: x * torch.sigmoid(x),
    "split and joined": lambda x: torch.cat([x[:, :1], x[:, 1:]], 1),
}
MIXED = {
    "softmax over channels": lambda x: x.softmax(1),
    "mean over channels": lambda x: x.mean(1),
    "turned": lambda x: x.flip(1),
    "shuffled": lambda x: x.view(2, 3, 1, 6, 6).transpose(1, 2).reshape(2, 3, 6, 6).roll(1, 1),
    "every other": lambda x: x[:, ::2],
    "convolved": conv,
    "two cut through": lambda x: x.flatten(1)[:, :50],
}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", KEPT)
def test_channels_stay_apart(name: str, layout: torch.memory_format) -> None:
    told = followed(KEPT[name], layout)
    assert told is not None and told.runs == (ChannelRun(0, 0, 3),)


@pytest.mark.parametrize("name", MIXED)
def test_mixed_channels_are_a_source_of_their_own(name: str) -> None:
    told = followed(MIXED[name])
    assert told is not None and len(told.runs) == 1 and told.runs[0].source > 0


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_concatenation_in_order(layout: torch.memory_format) -> None:
    told = followed(lambda x: torch.cat([conv(x), x, conv(x)[:, 1:3]], 1), layout)
    assert told is not None
    first, second, third = told.runs
    assert (first.start, first.width) == (0, 4) and second == ChannelRun(0, 0, 3) and (third.start, third.width) == (1, 2)
    assert 0 < first.source < third.source


def test_chunks_and_splits() -> None:
    told = followed(lambda x: torch.cat([conv(x).chunk(2, 1)[1], torch.split(x, [1, 2], 1)[1]], 1))
    assert told is not None and [run[1:3] for run in told.runs] == [(2, 2), (1, 2)]


def test_rows_and_columns_moved_into_the_channels() -> None:
    told = followed(lambda x: torch.cat([x, x + conv(x)[:, :3]], 1).flatten(1))
    assert told is not None
    assert [(run.width, run.cells) for run in told.runs] == [(3, 36), (3, 36)]
    assert len(told.gain) == 6 * 36
    assert told.runs[0].source == 0 != told.runs[1].source  # a sum is something new


def test_the_last_norm_scales_each_channel() -> None:
    """A norm of single channels divides out what scaled them before: |γ| of the second, not the product."""
    scale, shift = torch.tensor([2.0, -3.0, 0.5]), torch.zeros(3)

    def normed(x: Tensor) -> Tensor:
        first = F.batch_norm(x, shift, torch.ones(3), 7 * scale, shift)
        return torch.cat([F.relu(F.group_norm(first, 3, scale)), first, x], 1)

    told = followed(normed)
    assert told is not None and told.runs == (ChannelRun(0, 0, 3),) * 3
    assert told.gain.tolist() == pytest.approx([2, 3, 0.5, 14, 21, 3.5, 1, 1, 1])


def test_statistics_of_a_group_leave_ratios_within_it() -> None:
    """Channels of deviation 2, 3 and ½ under one deviation, √((4 + 9 + ¼)/3): what numbers say of noise, without a γ."""
    scale, shift = torch.tensor([2.0, -3.0, 0.5]), torch.zeros(3)

    def normed(x: Tensor) -> Tensor:
        return F.group_norm(F.batch_norm(x, shift, torch.ones(3), scale, shift), 1)

    told = followed(normed)
    assert told is not None
    assert told.gain.tolist() == pytest.approx([one / (13.25 / 3) ** 0.5 for one in (2, 3, 0.5)])
    noise = torch.randn(1, 3, 400, 400, generator=torch.Generator().manual_seed(0))
    assert normed(noise).std((0, 2, 3)).tolist() == pytest.approx(told.gain.tolist(), rel=0.02)


def test_what_does_not_descend_from_the_picture() -> None:
    assert followed(lambda x: torch.ones(2, 3, 6, 6)) is None
