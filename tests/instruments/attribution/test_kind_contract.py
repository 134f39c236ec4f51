"""The kinds that rest on gradients: each against its formula in loops, and the identities between them."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from map_networks import flattened, noise, opened, plain_networks, pooled, slow_gradients
from microtome.instruments.attribution import attribution_maps, map_kind
from microtome.map_kinds import map_kind_names


def maps_of(net, x, kind, cut=4, classes=(1, 3)):
    """The signed maps (image, row, col) of a kind after the first `cut` modules of a Sequential."""
    specimen = opened(net, int(x.shape[2]), int(x.shape[3]))
    wanted = torch.tensor(classes)[: len(x)]
    _, (maps,) = attribution_maps(specimen, [str(cut - 1)], x, lambda _: [wanted], map_kind(kind))
    return maps[str(cut - 1)]


def by_hand(kind: str, activation: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """The map of one image as published, in loops over units and positions (unit, row, col)."""
    units, rows, cols = activation.shape
    heat = np.zeros((rows, cols))
    for k in range(units):
        a, g = activation[k], gradient[k]
        weight = 0.0
        if kind == "gradcam":
            weight = sum(g[r, c] for r in range(rows) for c in range(cols)) / (rows * cols)
        elif kind == "gradcam++":  # eq. 19, with derivatives of exp(S): second g², third g³
            for r in range(rows):
                for c in range(cols):
                    below = 2 * g[r, c] ** 2 + a.sum() * g[r, c] ** 3
                    alpha = g[r, c] ** 2 / below if below else 0.0
                    weight += alpha * max(g[r, c], 0.0)
        elif kind == "xgradcam":
            weight = sum(g[r, c] * a[r, c] / a.sum() for r in range(rows) for c in range(cols)) if a.sum() else 0.0
        for r in range(rows):
            for c in range(cols):
                own = {"hirescam": g[r, c], "gaussian": g[r, c], "layercam": max(g[r, c], 0.0)}.get(kind, weight)
                heat[r, c] += own * a[r, c]
    return heat


@pytest.mark.parametrize("kind", ["gradcam", "gradcam++", "hirescam", "xgradcam", "layercam", "gaussian"])
@pytest.mark.parametrize("shape", [(12, 12), (9, 15)])
def test_each_kind_equals_its_formula_in_loops(kind, shape):
    net, x = flattened(*shape), noise(2, *shape)
    activation, gradient = slow_gradients(net, 4, x, (1, 3))
    wanted = np.stack([by_hand(kind, a, g) for a, g in zip(activation.numpy(), gradient.numpy(), strict=True)])
    found = maps_of(net, x, kind).numpy()
    assert np.abs(wanted).max() > 1e-3
    assert found == pytest.approx(wanted, rel=1e-4, abs=1e-5 * np.abs(wanted).max())


@given(plain_networks(), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_complete_maps_sum_to_the_score_where_there_are_no_biases(given_net, count):
    net, (rows, cols), cut = given_net
    x = noise(count, rows, cols)
    classes = torch.arange(count)
    specimen = opened(net, rows, cols)
    scores = net(x).detach()
    assume(float(scores.abs().max()) > 1e-6)
    for kind in map_kind_names():
        made = map_kind(kind)
        if not made.complete or made.needs != "gradient":
            continue
        if kind == "xgradcam" and not isinstance(net[cut - 1], torch.nn.ReLU | torch.nn.MaxPool2d):
            continue  # its weights are unstable where activations cancel
        _, (maps,) = attribution_maps(specimen, [str(cut - 1)], x, lambda _: [classes], made)
        sums = maps[str(cut - 1)].double().sum((1, 2))
        assert torch.allclose(
            sums, scores[torch.arange(count), classes].double(), rtol=1e-4, atol=1e-5 * float(scores.abs().max())
        )


def test_with_biases_a_complete_map_sums_to_activation_times_gradient_only():
    net, x = pooled(), noise()
    activation, gradient = slow_gradients(net, 2, x, (1, 3))
    sums = maps_of(net, x, "hirescam", cut=2).sum((1, 2))
    assert sums.numpy() == pytest.approx((activation * gradient).sum((1, 2, 3)).numpy(), rel=1e-4)
    assert abs(float(sums[0] - net(x).detach()[0, 1])) > 1e-2


def test_on_a_pooled_head_four_kinds_are_one_up_to_the_number_of_positions():
    net, x = pooled(), noise()
    cam, gradcam, hirescam, xgradcam = (maps_of(net, x, kind) for kind in ("cam", "gradcam", "hirescam", "xgradcam"))
    scale = float(cam.abs().max())
    assert torch.allclose(cam / (6 * 6), gradcam, atol=1e-6 * scale)
    assert torch.allclose(gradcam, hirescam, atol=1e-6 * scale)
    assert torch.allclose(gradcam, xgradcam, atol=1e-6 * scale)
    weights, bias = net[6].weight.detach(), net[6].bias.detach()
    by_weights = torch.einsum("iurc,iu->irc", net[:4](x).detach(), weights[[1, 3]])
    assert torch.allclose(cam, by_weights, atol=1e-6 * scale)
    assert torch.allclose(cam.mean((1, 2)) + bias[[1, 3]], net(x)[[0, 1], [1, 3]].detach(), atol=1e-5 * scale)


def test_averaging_gradients_is_not_complete_on_other_heads():
    net, x = flattened(12, 12, bias=False), noise()
    scores = net(x)[[0, 1], [1, 3]].detach()
    assert torch.allclose(maps_of(net, x, "hirescam").sum((1, 2)), scores, rtol=1e-3)
    assert not torch.allclose(maps_of(net, x, "gradcam").sum((1, 2)), scores, rtol=0.1)


def test_equals_captum_where_definitions_agree():
    captum = pytest.importorskip("captum.attr")
    net, x = flattened(12, 12), noise()
    wanted = captum.LayerGradCam(net, net[3]).attribute(x, target=torch.tensor([1, 3]))[:, 0].detach()
    assert torch.allclose(maps_of(net, x, "gradcam"), wanted, atol=1e-5 * float(wanted.abs().max()))
