"""Rank correlation of maps is Spearman's, image by image, on one grid."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from microtome.instruments.attribution import VisibleLayers, mean_rank_correlation
from microtome.numerics.receptive.geometry import even_tiling


def test_rank_correlation_of_maps_is_spearmans():
    drawn = torch.Generator().manual_seed(1)
    one, two = ({"a": torch.randn(3, 6, 6, generator=drawn)} for _ in range(2))
    shown = VisibleLayers(("a",), {"a": even_tiling((12, 12), (6, 6))}, {})
    pairs = zip(one["a"].flatten(1).numpy(), two["a"].flatten(1).numpy(), strict=True)
    wanted = np.mean([spearmanr(*pair).statistic for pair in pairs])
    assert mean_rank_correlation(one, two, shown, (12, 12), 6) == pytest.approx([wanted], abs=1e-6)
    assert mean_rank_correlation(one, two["a"], shown, (12, 12), 6) == pytest.approx([wanted], abs=1e-6)
    constant = {"a": torch.cat([one["a"][:1], torch.ones(1, 6, 6)])}
    assert mean_rank_correlation(constant, one | {"a": one["a"][:2]}, shown, (12, 12), 6) == pytest.approx([1.0])


def test_gaussians_count_where_positions_are_drawn_so():
    drawn = torch.Generator().manual_seed(2)
    one, two = ({"a": torch.randn(2, 6, 6, generator=drawn)} for _ in range(2))
    where = {"a": even_tiling((12, 12), (6, 6))}
    plain = mean_rank_correlation(one, two, VisibleLayers(("a",), where, {}), (12, 12), 6)
    smooth = mean_rank_correlation(one, two, VisibleLayers(("a",), where, {}, {"a": (6.0, 6.0)}), (12, 12), 6)
    assert abs(plain[0] - smooth[0]) > 0.01
