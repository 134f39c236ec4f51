"""Where a view lies in its tensor: the numbers of the elements, read through the view, say it."""

import pytest
import torch

from microtome.numerics.receptive.views import ViewRegion, base_tensor, view_region

BASE = torch.arange(4 * 5 * 6).reshape(4, 5, 6)


@pytest.mark.parametrize(
    ("cut", "first", "step"),
    [
        ((slice(None), slice(1, 4), slice(2, None)), (0, 1, 2), (1, 1, 1)),
        ((slice(1, None, 2), slice(0, None, 3), slice(1, None, 2)), (1, 0, 1), (2, 3, 2)),
        ((slice(3, 4), slice(2, 3), slice(5, 6)), (3, 2, 5), (1, 1, 1)),
    ],
)
def test_a_cut_is_told_by_its_first_element_and_step(
    cut: tuple[slice, ...], first: tuple[int, ...], step: tuple[int, ...]
) -> None:
    view = BASE[cut]
    region = view_region(view, BASE)
    assert region == ViewRegion(first, step)
    rows = [torch.arange(count) * every + start for count, every, start in zip(view.shape, step, first, strict=True)]
    assert torch.equal(view, (rows[0][:, None, None] * 5 + rows[1][:, None]) * 6 + rows[2])


def test_what_is_no_cut_along_the_axes() -> None:
    assert view_region(BASE.transpose(1, 2), BASE) is None
    assert view_region(BASE[0], BASE) is None
    assert view_region(BASE[:, :0], BASE) is None
    assert view_region(BASE[:1], BASE.transpose(0, 2)) is None  # the tensor itself is not contiguous


def test_a_view_knows_its_tensor_and_a_copy_has_none() -> None:
    assert base_tensor(BASE[1:]) is not None and base_tensor(BASE[1:].clone()) is None
