"""Receptive fields put together: a pattern of positions beyond the border, and what the field of a layer says of itself."""

import numpy as np
import pytest
from torch import nn

from microtome.numerics.receptive.field import Field, Span
from nan_rows import field


def test_a_pattern_of_positions_goes_on_beyond_the_border():
    """Two 4 x 4 transposed convolutions at stride 2 around a 3 x 3: 7 + 3 · 4 = 19 px; moving the outermost cell on says 21."""
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.ConvTranspose2d(4, 4, 4, 2, 1), nn.Conv2d(4, 4, 3, 1, 1),
        nn.ConvTranspose2d(4, 4, 4, 2, 1),
    )  # fmt: skip
    assert field(net, (64, 64)).size == (19.0, 19.0)


def span(first, last, *, whole=False, smallest=1.0):
    return Span(np.array(first), np.array(last), whole, 1.0, 0.0, smallest, 0.0, 9)


def test_a_span_is_as_long_as_its_longest_position():
    assert span([0, 1, 2], [2, 5, 4]).size == 5.0
    assert span([0, 1], [2, 5], whole=True).size == float("inf")
    assert (span([-1, 1], [1, 5]).pixels(0), span([-1, 1], [1, 5], whole=True).pixels(0)) == ((-1, 1), (0, 8))


@pytest.mark.parametrize(
    ("entering", "smallest", "border"),
    [((9.0, 9.0), (11.0, 9.0), True), ((9.0, 8.0), (11.0, 11.0), False), ((9.0, 9.0), (9.0, 9.0), False)],
)
def test_a_border_layer_enlarges_a_field_that_covers_the_image(entering, smallest, border):
    sides = [span([0], [8], smallest=length) for length in smallest]
    assert Field(sides[0], sides[1], entering=entering).is_border((9, 9)) is border
    assert not Field(
        span([0], [8], smallest=float("inf"), whole=True), span([0], [8], whole=True), entering=entering
    ).is_border((9, 9))
