"""The shape annotations are in force under test: a wrong shape raises."""

import pytest
import torch
from jaxtyping import TypeCheckError

from microtome.numerics.maps.heat import energy_inside, grad_cam


def test_a_wrong_rank_is_refused():
    with pytest.raises(TypeCheckError):
        grad_cam(torch.ones(2, 3, 4), torch.ones(2, 3, 4))


def test_dimensions_of_one_name_must_agree():
    with pytest.raises(TypeCheckError):
        energy_inside(torch.ones(2, 7, 7), torch.ones(3, 14, 14, dtype=torch.bool))
