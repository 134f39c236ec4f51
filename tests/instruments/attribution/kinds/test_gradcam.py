"""Grad-CAM against arithmetic by hand, and against CAM on a linear head."""

import torch

from microtome.instruments.attribution.kinds.gradcam import GradCam


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def positive(activation, gradient):
    """What the paper draws: the positive part of the map."""
    return GradCam().signed_map(activation, gradient).relu()


def test_grad_cam_by_hand():
    activation = torch.tensor([[[[1.0, 2]], [[3, 1]]]])
    gradient = torch.tensor([[[[1.0, 3]], [[-1, -1]]]])  # unit weights 2 and -1
    assert positive(activation, gradient).tolist() == [[[0.0, 3.0]]]  # 2·1 - 3 < 0; 2·2 - 1 = 3


def test_grad_cam_of_a_linear_head_is_the_class_activation_map():
    # y = sum_k w_k mean(A_k): the gradient is w_k / cells everywhere, so Grad-CAM is CAM over the number of cells.
    activation, weights = random(2, 5, 3, 4) - 0.5, random(5, seed=1) - 0.5
    activation.requires_grad_(True)
    (gradient,) = torch.autograd.grad((activation.mean((2, 3)) @ weights).sum(), activation)
    cam = torch.einsum("iurc,u->irc", activation, weights).relu() / 12
    assert torch.allclose(positive(activation, gradient), cam, atol=1e-6)
