"""Signs of changes and their agreement: counted by hand, scikit-learn's kappa, and what chance gives."""

import numpy as np
import pytest
import torch
from sklearn.metrics import cohen_kappa_score

from microtome.numerics.maps.parts import mask_bounds, part_of, random_position
from microtome.numerics.statistics.signs import (
    change_signs,
    change_strength,
    expected_disagreement,
    sign_disagreement,
    sign_kappa,
)


def test_signs_have_three_values_and_rounding_is_none():
    whole = torch.tensor([[3.0, 4, 0, 0]])  # root mean square 2.5
    change = torch.tensor([[1.0, -1, 1e-5, 3e-5]])
    assert change_signs(change, whole).tolist() == [[1, -1, 0, 1]]
    assert float(change_strength(torch.tensor([[0.0, 0, 3, 4]]), whole)) == pytest.approx(1)


def test_disagreement_by_hand():
    found = torch.tensor([[1, 0, -1, 0], [1, 0, 1, 0], [-1, 1, 1, 0]], dtype=torch.int8)
    assert sign_disagreement(found).tolist() == [0.25, 0.75, 0.5]  # pairs 01, 02, 12
    # of the first pair: shares (1/4, 1/2, 1/4) and (0, 1/2, 1/2): 1 - (0 + 1/4 + 1/8)
    assert float(expected_disagreement(found)[0]) == pytest.approx(1 - 3 / 8)


def test_several_looks_at_once_are_told_as_one_by_one():
    draws = torch.Generator().manual_seed(0)
    change, whole = torch.randn(3, 4, 30, generator=draws), torch.randn(4, 30, generator=draws)
    change[:, :, ::3] = 0
    found = change_signs(change, whole)
    for one in (sign_disagreement, expected_disagreement, sign_kappa):
        assert torch.equal(one(found), torch.stack([one(look) for look in found]))
    assert torch.equal(found, torch.stack([change_signs(look, whole) for look in change]))
    assert torch.equal(change_strength(change, whole), torch.stack([change_strength(look, whole) for look in change]))


def test_kappa_is_cohens_and_nought_by_chance():
    drawn = np.random.default_rng(0).choice([-1, 0, 1], (4, 400), p=[0.1, 0.7, 0.2])
    drawn[1, :200] = drawn[0, :200]
    found = torch.from_numpy(drawn).to(torch.int8)
    first, second = torch.triu_indices(4, 4, 1)
    wanted = [cohen_kappa_score(drawn[i], drawn[j]) for i, j in zip(first, second, strict=True)]
    assert sign_kappa(found).tolist() == pytest.approx(wanted)
    assert wanted[0] > 0.4 and abs(np.mean(wanted[1:])) < 0.05
    # few features that move give a small disagreement without any agreement: why it is corrected
    assert float(sign_disagreement(found)[-1]) < 0.5
    assert torch.isnan(sign_kappa(torch.zeros(2, 5, dtype=torch.int8))).all()


def test_halves_of_a_mask():
    mask = np.zeros((9, 8), dtype=bool)
    mask[2:6, 1:7] = True
    assert mask_bounds(mask) == (2, 6, 1, 7)
    assert part_of(mask, "upper").sum() == 12 and mask_bounds(part_of(mask, "upper")) == (2, 4, 1, 7)
    assert mask_bounds(part_of(mask, "right")) == (2, 6, 4, 7)
    for one, other in (("upper", "lower"), ("left", "right")):
        assert not (part_of(mask, one) & part_of(mask, other)).any()
        assert np.array_equal(part_of(mask, one) | part_of(mask, other), mask)
    assert part_of(mask, "object") is mask


def test_the_same_shape_elsewhere_stays_inside():
    mask = np.zeros((6, 6), dtype=bool)
    mask[:3, :2] = True
    mask[0, 0] = False
    draws = np.random.default_rng(0)
    seen = set()
    for _ in range(60):
        moved = random_position(mask, draws)
        top, bottom, left, right = mask_bounds(moved)
        assert np.array_equal(moved[top:bottom, left:right], mask[:3, :2])
        seen.add((top, left))
    assert seen >= {(0, 0), (3, 4)} and len(seen) <= 20
