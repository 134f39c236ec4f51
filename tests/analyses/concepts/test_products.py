"""Inner products against a plain loop: one image at a time, flattened and averaged over positions."""

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome.analyses.concepts.products import is_pooled, layer_products
from microtome.errors import Unmeasurable
from microtome.scan import Pace


@pytest.mark.parametrize("most", [10**6, 100])
def test_products_are_those_of_a_plain_loop(net, pics, monkeypatch, most):
    monkeypatch.setattr("microtome.analyses.concepts.products.MAX_FEATURES", most)
    first, second, shown = pics.take(range(5)), pics.take(range(5, 8)), pics.take(range(8, 12))
    given = layer_products(net, ["stem"], [first, second], {2: shown}, Pace(device="cpu", batch=3))["stem"]
    assert is_pooled(net, "stem") == (most == 100)
    axes = (1,) if most == 10**6 else (2, 3)

    def stem(index):
        return net.net.stem(net.recipe.normalise(torch.from_numpy(pics.inputs(net.recipe, [index]))))

    rows, slopes = [], []
    for index in range(12):
        with torch.enable_grad():
            value = stem(index).detach().requires_grad_()
            score = net.net.head(net.net.blocks(value.relu()).mean((2, 3)))[0, 2]
            (slope,) = torch.autograd.grad(score, value)
        flat = [each.detach().flatten(1) if axes == (1,) else each.detach().mean(axes) for each in (value, slope)]
        rows.append(flat[0][0].double().numpy())
        slopes.append(flat[1][0].double().numpy())
    features, gradients = np.stack(rows[:8]), np.stack(slopes[8:])
    assert given.between == pytest.approx(features @ features.T, rel=1e-4, abs=1e-5)
    assert given.gradients[2] == pytest.approx(gradients @ features.T, rel=1e-3, abs=1e-5)
    assert given.lengths[2] == pytest.approx(np.linalg.norm(gradients, axis=1), rel=1e-4)


def test_activations_that_are_not_finite_are_refused(pics):
    class Overflowing(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.Softplus()
            self.head = nn.Linear(3, 2)

        def forward(self, x):
            huge = self.act(x * 3e38 * 10)
            return self.head(torch.nan_to_num(huge, posinf=1.0).mean((2, 3)))

    net = mt.open(Overflowing(), recipe={"size": 32}, labels=["a", "b"])
    with pytest.raises(Unmeasurable, match="features of act hold NaN or infinity"):
        layer_products(net, ["act"], [pics.take(range(4))], {0: pics.take(range(4))}, Pace(device="cpu"))
