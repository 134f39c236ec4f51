import math

import numpy as np
import pytest
import torch

from cka_oracle import debiased_cka, hsic1
from microtome.errors import Unmeasurable
from microtome.numerics.statistics.cka import (
    cka,
    gram_matrix,
    hsic_matrix,
    u_centered,
)


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def explicit_hsic1(first, second):
    """Song et al. 2012, eq. 5, term by term, from plain Gram matrices."""
    n = len(first)
    K, L = first - np.diag(np.diag(first)), second - np.diag(np.diag(second))
    one = np.ones(n)
    value = np.trace(K @ L) + (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ K @ L @ one)
    return value / (n * (n - 3))


def biased_cka(first, second):
    first, second = first - first.mean(0), second - second.mean(0)
    return float((first.T @ second).norm() ** 2 / ((first.T @ first).norm() * (second.T @ second).norm()))


@pytest.mark.parametrize("count", [4, 5, 9, 40])
def test_hsic1_is_the_explicit_formula(count):
    x, y = random(count, 7, seed=1, dtype=torch.float64), random(count, 3, seed=2, dtype=torch.float64)
    expected = explicit_hsic1((x @ x.T).numpy(), (y @ y.T).numpy())
    assert float(hsic1(x @ x.T, y @ y.T)) == pytest.approx(expected, rel=1e-10)
    assert float(hsic1(gram_matrix(x), gram_matrix(y))) == pytest.approx(
        expected, rel=1e-10
    )  # taking the mean off changes nothing


def test_hsic1_by_hand():
    # Four images, K = L = adjacency of one pair (0, 1): tr(KL) = 2, 1'K1 = 2, 1'KL1 = 2, so
    # [2 + 4/(3·2) - 2/2·2] / (4·1) = (2/3) / 4 = 1/6.
    pair = torch.zeros(4, 4, dtype=torch.float64)
    pair[0, 1] = pair[1, 0] = 1
    assert float(hsic1(pair, pair)) == pytest.approx(1 / 6, abs=1e-15)


def test_u_centered_rows_sum_to_zero():
    centered = u_centered(gram_matrix(random(11, 20)))
    assert centered.sum(1).abs().max() < 1e-10
    assert (centered.diagonal() == 0).all()


def test_a_large_mean_does_not_drown_the_features():
    x = random(32, 50, dtype=torch.float64)
    # In float32 the squares of 1000 leave steps of 0.06 in each product; the mean comes off before.
    shifted = (x + 1000).float()
    assert float(debiased_cka(shifted, x.float())) == pytest.approx(1, abs=1e-4)
    naive = shifted @ shifted.T
    assert (gram_matrix(shifted) - gram_matrix(x)).norm() < 1e-2 * (
        naive - naive.mean(0) - naive.mean(1)[:, None] + naive.mean() - gram_matrix(x)
    ).norm()


def test_same_features_give_one_in_any_rotation_and_scale():
    x = random(24, 10, dtype=torch.float64)
    turn = torch.linalg.qr(random(10, 10, seed=3, dtype=torch.float64)).Q
    y = random(24, 15, seed=4, dtype=torch.float64) + x.sum(1, keepdim=True)
    assert float(debiased_cka(x, x)) == pytest.approx(1, abs=1e-12)
    assert float(debiased_cka(x, x @ turn * 7 + 3)) == pytest.approx(1, abs=1e-12)
    assert float(debiased_cka(x @ turn * 7, y)) == pytest.approx(float(debiased_cka(x, y)), abs=1e-12)


def test_independent_noise_gives_about_zero_where_the_biased_form_gives_nearly_one():
    values = [float(debiased_cka(random(64, 2000, seed=s), random(64, 2000, seed=s + 100))) for s in range(20)]
    assert abs(np.mean(values)) < 0.01
    assert np.isfinite(values).all()
    assert biased_cka(random(64, 2000), random(64, 2000, seed=100)) > 0.9


def test_a_whole_set_in_one_batch_is_the_sum_of_one_batch():
    features = [random(40, 30, seed=s, dtype=torch.float64) for s in range(3)]
    features[1] = features[1] + features[0]
    centered = torch.stack([u_centered(gram_matrix(one)) for one in features])
    sums = hsic_matrix(centered)
    for i in range(3):
        for j in range(3):
            assert float(sums[i, j]) == pytest.approx(
                explicit_hsic1(*(f @ f.T for f in (features[i].numpy(), features[j].numpy()))), rel=1e-9
            )
    assert torch.allclose(cka(sums, sums.diagonal(), sums.diagonal()).diagonal(), torch.ones(3, dtype=torch.float64))


def test_sums_over_small_batches_come_near_the_whole():
    x = random(1024, 20, dtype=torch.float64)
    y = x @ random(20, 20, seed=1, dtype=torch.float64) + random(1024, 20, seed=2, dtype=torch.float64)
    sums = torch.zeros(2, 2, dtype=torch.float64)
    for start in range(0, 1024, 32):
        sums += hsic_matrix(torch.stack([u_centered(gram_matrix(one[start : start + 32])) for one in (x, y)]))
    batched = cka(sums, sums.diagonal(), sums.diagonal())[0, 1]
    assert float(batched) == pytest.approx(float(debiased_cka(x, y)), abs=0.02)


def test_two_nets_compare_layer_by_layer():
    first = torch.stack([u_centered(gram_matrix(random(9, 5, seed=s))) for s in range(3)])
    second = torch.stack([u_centered(gram_matrix(random(9, 8, seed=s + 5))) for s in range(2)])
    assert torch.allclose(hsic_matrix(first, second), hsic_matrix(torch.cat([first, second]))[:3, 3:], atol=1e-15)


def test_features_that_do_not_vary_are_not_a_number():
    flat = torch.full((8, 12), 0.1)
    assert math.isnan(float(debiased_cka(flat, random(8, 12))))


def test_half_precision_and_channels_last_give_the_same_gram():
    x = random(6, 8, 5, 4)
    plain = gram_matrix(x)
    assert torch.allclose(gram_matrix(x.to(memory_format=torch.channels_last)), plain, rtol=1e-5)
    assert torch.allclose(gram_matrix(x.half()), plain, rtol=1e-2, atol=0.5)
    assert plain.dtype == torch.float64


def test_chunks_do_not_change_the_gram(monkeypatch):
    x = random(6, 300, dtype=torch.float64)
    whole = gram_matrix(x)
    # By name through the loaded module, since chunks are a constant of the file.
    monkeypatch.setitem(
        gram_matrix.__wrapped__.__globals__ if hasattr(gram_matrix, "__wrapped__") else gram_matrix.__globals__, "CHUNK", 7
    )
    assert torch.allclose(gram_matrix(x), whole, rtol=1e-12)


def test_three_images_are_too_few():
    with pytest.raises(Unmeasurable, match="at least 4 images and was given 3"):
        debiased_cka(random(3, 5), random(3, 5))
