"""What takes a block's place: forms of outputs, linear maps on every layout, no channels."""

import pytest
import torch
from torch import nn

from microtome.networks.stand_ins import LinearBlock, NoNewChannels, SkippedBlock, block_form, keep_encoder_running, to_form

X, Y = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)


def test_the_form_of_an_output_is_read_from_one_call() -> None:
    assert block_form([X], Y) == ("tensor", 1)
    assert block_form([[X, X]], [Y, Y]) == ("list", 1)
    assert block_form([[X, X]], (Y, Y)) == ("tuple", 1)
    assert block_form([X], (Y,)) == ("wrapped", 1)
    assert block_form([X, [3, 3]], (Y, [3, 3])) == ("arguments", 2)
    assert block_form([X, [3, 3]], (Y, [2, 2])) is None  # it halves the size that it is told
    assert block_form([[X, X]], [Y]) is None
    assert block_form([[X, X]], Y) is None
    assert block_form([X], {"maps": Y}) is None


@pytest.mark.parametrize(("form", "count", "given"), [("tensor", 1, [X]), ("wrapped", 1, [X]), ("arguments", 2, [X, [3, 3]])])
def test_a_skipped_block_hands_on_its_input(form, count, given) -> None:
    output = SkippedBlock(form, count)(*given)
    first = output if form == "tensor" else output[0]
    assert first is X
    assert form != "arguments" or output[1] == [3, 3]
    assert to_form([[X, Y]], "list", 1)[1] is Y
    named = SkippedBlock()(hidden=X)
    assert named is X


def test_a_linear_block_over_maps_lists_and_tokens() -> None:
    maps = LinearBlock([(4, 6)], True, [(2, 2)], "tensor", 1)
    assert maps(torch.randn(1, 4, 4, 4)).shape == (1, 6, 2, 2)
    several = LinearBlock([(4, 4), (4, 4)], True, [None, None], "list", 1)
    given = several([X, Y])
    assert isinstance(given, list)
    assert torch.equal(given[0], X)
    tokens = LinearBlock([(5, 5)], False, [None], "tensor", 1)
    assert isinstance(tokens.maps[0], nn.Linear)
    rows = torch.randn(2, 7, 5)
    torch.testing.assert_close(tokens(rows), rows)


def test_no_new_channels_stack_to_what_was_there() -> None:
    assert torch.equal(torch.cat([X, NoNewChannels()([X, Y])], 1), X)
    assert NoNewChannels()(X).shape == (2, 0, 3, 3)


@pytest.mark.parametrize("batch_first", [True, False])
def test_an_encoder_runs_without_its_first_layer(batch_first) -> None:
    """Its forward asks the first layer for the order of axes; without that layer it is the second layer alone."""
    layers = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first)
    encoder = nn.TransformerEncoder(layers, 2, enable_nested_tensor=batch_first).eval()
    second, x = encoder.layers[1], torch.randn(3, 5, 8)
    removed, encoder.layers[0] = encoder.layers[0], SkippedBlock()
    keep_encoder_running(encoder, removed, encoder.layers[0])
    padding = torch.zeros(*((3, 5) if batch_first else (5, 3)), dtype=torch.bool)
    padding[:, -1] = True
    with torch.no_grad():
        assert torch.equal(encoder(x), second(x))
        assert encoder(x, src_key_padding_mask=padding).shape == x.shape
