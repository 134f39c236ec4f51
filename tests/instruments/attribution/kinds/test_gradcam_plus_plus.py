"""Grad-CAM++: eq. 19 at any scale of the scores, its closed form on a pooled head, and positions without a weight."""

import pytest
import torch

from map_networks import flattened, noise, pooled, slow_gradients
from microtome.instruments.attribution import LayerValues, map_kind


def equation_19(activation, gradient):
    """The map as published, in double precision."""
    second, third = gradient.square(), gradient**3
    below = 2 * second + activation.sum((2, 3), keepdim=True) * third
    alpha = torch.where(below == 0, 0.0, second / below)
    return torch.einsum("iurc,iu->irc", activation, (alpha * gradient.relu()).sum((2, 3)))


@pytest.mark.parametrize("scale", [1e-2, 1e-1, 1.0, 1e1, 1e2])
def test_as_exact_at_every_scale_of_the_scores(scale):
    activation, gradient = slow_gradients(flattened(12, 12), 4, noise(), (1, 3))
    gradient = gradient * scale * 1e-3  # squares of about 1e-10 to 1e-2
    wanted = equation_19(activation, gradient)
    found = map_kind("gradcam++").signed_map(activation.float(), gradient.float())
    assert float((found - wanted).abs().max()) < 1e-5 * float(wanted.abs().max())
    cosine = torch.nn.functional.cosine_similarity(found.double().flatten(1), wanted.flatten(1))
    assert cosine.min() > 1 - 1e-10


def test_closed_form_on_a_pooled_head():
    """relu(w) / (2 + w · mean A): negative weights are dropped, strong units saturate."""
    net, x = pooled(), noise()
    activation, gradient = slow_gradients(net, 4, x, (1, 3))
    weights = net[6].weight.detach().double()[[1, 3]]
    wanted = torch.einsum("iurc,iu->irc", activation, weights.relu() / (2 + weights * activation.mean((2, 3))))
    found = map_kind("gradcam++").signed_map(activation, gradient)
    assert found.dtype == torch.float64
    assert torch.allclose(found, wanted, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(found, torch.einsum("iurc,iu->irc", activation, weights), rtol=0.1)


def test_positions_without_a_weight_count_as_zero_and_are_counted():
    activation = torch.tensor([[[[-8.0, 0.0]], [[1.0, 2.0]]]])  # two units of two positions
    gradient = torch.tensor([[[[1.0, 0.25]], [[0.5, -1.0]]]])
    kind = map_kind("gradcam++")
    wanted = 0.0 * activation[0, 0] + (0.5 / (2 + 3 * 0.5)) * activation[0, 1]
    assert torch.allclose(kind.signed_map(activation, gradient)[0], wanted)
    values = LayerValues(None, activation, 1, [gradient])  # type: ignore[arg-type]
    assert kind.remark(values).startswith("Grad-CAM++ has no weight at 66.7% of the positive gradients")
    assert kind.remark(LayerValues(None, activation.relu(), 1, [gradient])) == ""  # type: ignore[arg-type]
