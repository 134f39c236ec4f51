"""Losses are those of the network with the block removed by hand, image by image."""

import copy

import numpy as np
from torch import nn

from microtome.images import Images
from microtome.replicate.material import right_answers, small_network
from microtome.replicate.removal_losses import removable, removal_losses


def test_as_removed_by_hand() -> None:
    net, images = small_network("mini_resnet"), Images.scenes(40, seed=5)
    names = removable(net)
    assert names[-1] == "layer4.2" and "layer4.0" not in names
    losses = removal_losses(net, images, names[-2:])
    other = copy.deepcopy(net.net)
    other.layer4[2] = nn.Identity()
    by_hand = right_answers(net, images) - right_answers(net.with_net(other, name="without"), images)
    assert np.array_equal(losses["layer4.2"], by_hand) and list(losses) == names[-2:]
