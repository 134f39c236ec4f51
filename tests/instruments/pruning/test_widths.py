"""Kept channels as a record: cut by hand, written down and read back, refused where it does not fit."""

import copy

import pytest
import torch
from torch import nn

from microtome.errors import BadOption, Uneditable
from microtome.instruments.pruning.widths import Widths, fill_with_indices, is_whole_number, widths_between


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 1)).eval()


KEPT = (0, 2, 3, 5)
WIDTHS = Widths(
    {"0.weight": {0: KEPT}, "0.bias": {0: KEPT}, "3.weight": {1: KEPT}}
    | {f"1.{name}": {0: KEPT} for name in ("weight", "bias", "running_mean", "running_var")},
    {"0": {"out_channels": 4}, "1": {"num_features": 4}, "3": {"in_channels": 4}},
)


def test_a_cut_network_is_the_hand_sliced_one_and_equals_zeros() -> None:
    net, masked = network(), network()
    wide = network()
    WIDTHS.apply(net)
    WIDTHS.mask(masked)
    assert torch.equal(net[0].weight, wide[0].weight[list(KEPT)]) and net[0].out_channels == 4
    assert torch.equal(net[3].weight, wide[3].weight[:, list(KEPT)])
    x = torch.randn(2, 3, 8, 8)
    assert torch.allclose(net(x), masked(x), atol=1e-6)
    assert not torch.allclose(net(x), wide(x), atol=1e-3)
    assert WIDTHS.removed_units(wide) == (2, 6, 1)


def test_the_record_survives_being_written() -> None:
    word = WIDTHS.encode()
    assert "," not in word and "=" not in word
    again = Widths.decode(word)
    assert again == WIDTHS and again.encode() == word


@pytest.mark.parametrize("word", ["", "x", "????", WIDTHS.encode()[:-9], "eJwDAAAAAAE"])
def test_a_damaged_record_is_refused(word: str) -> None:
    with pytest.raises(BadOption, match="option kept holds no record"):
        Widths.decode(word)


def test_a_record_of_another_architecture_is_refused() -> None:
    with pytest.raises(Uneditable, match="another architecture: '0.weight' is missing or too small"):
        WIDTHS.apply(nn.Sequential(nn.Conv2d(3, 4, 3)))
    with pytest.raises(Uneditable, match="has no number 'groupies'"):
        Widths({}, {"0": {"groupies": 3}}).apply(network())


def test_tensors_of_two_modules_stay_shared() -> None:
    net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    net[1].weight = net[0].weight
    Widths({"0.weight": {0: (1, 3)}, "1.weight": {0: (1, 3)}}, {}).apply(net)
    assert net[0].weight is net[1].weight and tuple(net[0].weight.shape) == (2, 4)


def test_what_was_kept_is_read_off_indices() -> None:
    net, narrow = network(), network()
    indices = copy.deepcopy(net)
    fill_with_indices(indices)
    assert indices[0].weight.detach().view(torch.int32)[1, 0, 0, 0] == 27  # by hand: 3 channels of 3 x 3
    for each in (indices, narrow):
        WIDTHS.apply(each)
    assert widths_between(net, indices, narrow) == WIDTHS


def test_what_is_no_choice_along_axes_is_refused() -> None:
    net = nn.Sequential(nn.Linear(3, 3, bias=False))
    indices = copy.deepcopy(net)
    fill_with_indices(indices)
    mixed = indices[0].weight.detach().flatten()[[0, 1, 3, 5]].reshape(2, 2)
    indices[0].weight = nn.Parameter(mixed)
    with pytest.raises(Uneditable, match="no choice along its axes"):
        widths_between(net, indices, net)


def test_whole_numbers() -> None:
    assert (
        is_whole_number(3)
        and is_whole_number((3, 4))
        and not is_whole_number(True)
        and not is_whole_number(())
        and not is_whole_number(0.5)
    )
