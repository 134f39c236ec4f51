"""The poolings by hand, on one map of two units and 2 x 3 places."""

import pytest
import torch

from microtome.networks.pooling import (
    POOLINGS,
    AttentionPool,
    ChannelGroups,
    ElementMask,
    HeadWidths,
    L2Pool,
    MapSize,
    RowColMeans,
    SpatialFilm,
    SpatialMasks,
    build_pooling,
)

X = torch.tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 9.0]], [[0.0, 0.0, 6.0], [0.0, 0.0, 0.0]]]])
SIZE = MapSize(2, 2, 3)
MEANS = [[4.0, 1.0]]


def test_rows_and_columns() -> None:
    assert RowColMeans()(X).tolist() == [[2.0, 6.0, 2.0, 0.0, 2.5, 3.5, 6.0, 0.0, 0.0, 3.0]]
    for pooling, by_hand in (("x_avgpool", [[2.0, 6.0, 2.0, 0.0]]), ("y_avgpool", [[2.5, 3.5, 6.0, 0.0, 0.0, 3.0]])):
        assert build_pooling(pooling, SIZE, HeadWidths())[0](X).tolist() == by_hand  # type: ignore[arg-type]


def test_masks() -> None:
    masks = SpatialMasks(2, 2, 3)
    with torch.no_grad():
        masks.weight.zero_()
        masks.weight[0, 1, 2], masks.weight[1] = 6.0, 1.0
    assert masks(X).tolist() == [[9.0, 0.0, 4.0, 1.0]]  # one place alone, then the mean
    balanced = SpatialMasks(5, 2, 3, balanced=True)
    torch.testing.assert_close(balanced.weight.mean(0), torch.ones(2, 3))
    assert float(balanced.weight.detach().std()) > 0.03  # and still they differ
    mask = ElementMask(2, 2, 3)
    assert torch.equal(mask(X), X)
    with torch.no_grad():
        mask.weight[1].zero_()
    assert mask(X)[0, 1].abs().sum() == 0 and torch.equal(mask(X)[0, 0], X[0, 0])


def test_attention() -> None:
    pool = AttentionPool(2)
    torch.testing.assert_close(pool(X), torch.tensor(MEANS))  # a query of zero
    with torch.no_grad():
        pool.query[1] = 100.0
    torch.testing.assert_close(pool(X), torch.tensor([[3.0, 6.0]]))  # all weight where unit 1 is strong


def test_film() -> None:
    pool = SpatialFilm(2, 2, 3)
    torch.testing.assert_close(pool(X), torch.tensor(MEANS))
    with torch.no_grad():
        pool.film.bias[5], pool.film.bias[6] = 2.0, 12.0  # the last place times 3, and the first place shifted by 12
    torch.testing.assert_close(pool(X), torch.tensor([[4.0 + 2 * 9 / 6 + 2, 1.0 + 2]]))


def test_groups_see_their_own_channels() -> None:
    pool = ChannelGroups(SIZE, 2, 4).eval()
    before = pool(X)
    changed = X.clone()
    changed[:, 1] += 1
    after = pool(changed)
    assert torch.equal(before[:, :4], after[:, :4]) and before.shape == (1, 8)
    assert not torch.equal(before[:, 4:], after[:, 4:]) or bool((before[:, 4:] == 0).all())


def test_l2_pooling() -> None:
    assert float(L2Pool()(torch.tensor([[[[3.0, 4.0], [0.0, 0.0]]]]))) == pytest.approx(2.5)  # the root of 25 / 4
    rim = L2Pool(3, 2, 1)(torch.full((1, 1, 4, 4), 7.0))
    torch.testing.assert_close(rim, torch.full((1, 1, 2, 2), 7.0))  # places of the padding do not count


@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_head_gives_as_many_numbers_as_it_says(pooling: str) -> None:
    head, count = build_pooling(pooling, SIZE, HeadWidths(groups=2, group_width=3, hidden=7))  # type: ignore[arg-type]
    by_formula = {"fc": 12, "x_avgpool": 4, "y_avgpool": 6, "xy_avgpool": 10, "max_fc": 7, "masks": 6, "groups": 6}
    assert count == by_formula.get(pooling, 2) and head.eval()(X).shape == (1, count)
