"""How operations move and join receptive fields: moves and norms, against NaN and by hand, and what is not followed."""

import pytest
import torch
import torch.nn.functional as F

from nan_rows import clipped, field, kernel, nan_rows

MAKERS = {
    "slice": lambda x: x[:, :, 3:29:2],
    "patch merging": lambda x: torch.cat([x[:, :, 0:32:2], x[:, :, 1:33:2]], 1),
    "unequal branches": lambda x: torch.cat([x, F.conv2d(x, kernel(7), padding=3)], 1),
    "roll": lambda x: torch.roll(F.conv2d(x, kernel(3), padding=1), 5, 2),
    "flip": lambda x: F.conv2d(x[:, :, :20], kernel(3)).flip(2),
    "stack": lambda x: torch.stack([x, F.conv2d(x, kernel(3, units=3), padding=1)], 1).flatten(1, 2),
    "index": lambda x: x[:, :, torch.tensor([4, 0, 9])],
    "gated linear unit": lambda x: F.glu(torch.cat([x, F.conv2d(x, kernel(3, units=3), padding=1)], 1), 1),
    "response normalisation": lambda x: F.local_response_norm(F.conv2d(x, kernel(3)), 3),
    "layer norm over units": lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (3,)).permute(0, 3, 1, 2),
}  # fmt: skip


@pytest.mark.parametrize("name", MAKERS)
def test_every_position_agrees_with_nan(name):
    found = field(MAKERS[name])
    assert clipped(found.row) == nan_rows(MAKERS[name])
    assert clipped(found.col) == nan_rows(lambda x: MAKERS[name](x.mT).mT)
    assert (found.exact, found.gated) == (True, False)


def test_response_normalisation_reads_the_neighbouring_units():
    """Of four units only the last sees three rows: its neighbour does after the norm, the first does not."""

    def make(x):
        return F.local_response_norm(torch.cat([x, F.avg_pool2d(x[:, :1], 3, 1, 1)], 1), 3)

    sizes = [field(make, shaped=lambda value, unit=unit: value[:, unit : unit + 1]).size[0] for unit in range(4)]
    assert sizes == [1.0, 1.0, 3.0, 3.0]


def test_norms_by_the_statistics_of_the_image_are_gates():
    def of(norm):
        found = field(norm)
        return found.size, found.gated

    assert of(lambda x: F.group_norm(x, 3)) == ((1.0, 1.0), True)
    assert of(lambda x: F.layer_norm(x, x.shape[1:])) == ((1.0, 1.0), True)
    assert of(lambda x: F.batch_norm(x, torch.zeros(3), torch.ones(3), training=True)) == ((1.0, 1.0), True)
    assert of(lambda x: F.batch_norm(x, torch.zeros(3), torch.ones(3))) == ((1.0, 1.0), False)
    assert of(lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (3,)).permute(0, 3, 1, 2)) == ((1.0, 1.0), False)


def test_what_is_not_followed_is_named_and_taken_as_large_as_it_can_be():
    found = field(lambda x: x.cumsum(2))
    assert (found.exact, found.unfollowed) == (False, ("cumsum",))
    assert found.rows(5) == (0, 32)


def test_running_maxima_see_back():
    for running in (lambda x: x.cummax(2)[0], lambda x: x.logcumsumexp(2)):
        assert not field(running).exact
