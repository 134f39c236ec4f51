"""Images keep their order on the way through a network; trained networks give the counts of the data's README, where they are."""

import numpy as np
import torch

from microtome.images import Images
from microtome.replicate.material import (
    BATCH,
    TRAINED,
    inputs_of,
    labels_of,
    layer_values,
    mean_over_positions,
    photograph_labels,
    photographs,
    right_answers,
    scores_of,
    small_network,
    trained_network,
)
from shared_data import CONTEXT, needs_data


def test_images_keep_their_order() -> None:
    net, images = small_network("mini_vgg"), Images.scenes(BATCH + 3, seed=1)
    batches = list(inputs_of(net, images))
    assert [len(batch) for batch in batches] == [BATCH, 3]
    scores = scores_of(net, inputs_of(net, images))
    assert torch.equal(scores[:3], net.run(batches[0])[:3])
    assert torch.allclose(scores_of(net, iter(batches), lambda x: x * 0)[0], net.run(batches[0][:1] * 0)[0], atol=1e-5)
    right = right_answers(net, images)
    assert np.array_equal(right, scores.argmax(1).numpy() == labels_of(images))
    values = layer_values(net, images, ["features.4"], mean_over_positions)["features.4"]
    assert values.shape == (BATCH + 3, 24)


def test_means_over_positions_by_hand() -> None:
    maps = torch.arange(8.0).view(1, 2, 2, 2)
    assert torch.equal(mean_over_positions(maps), torch.tensor([[1.5, 5.5]]))
    assert torch.equal(mean_over_positions(torch.tensor([[[1.0, 2], [3, 4]]])), torch.tensor([[2.0, 3]]))  # tokens


@needs_data
def test_trained_networks_answer_as_their_readme_says() -> None:
    # 1609 of all 2,000 (README of the data); of every fifth image within three standard deviations
    right = right_answers(trained_network(CONTEXT, "cifar10_resnet20"), photographs(CONTEXT, "cifar10_test", 400))
    assert abs(right.mean() - 0.8045) < 3 * (0.8 * 0.2 / 400) ** 0.5
    net, images = trained_network(CONTEXT, "googlenet_bvlc"), photographs(CONTEXT, "imagenet200", 10)
    assert right_answers(net, images, photograph_labels(CONTEXT, net, images)).sum() >= 5  # 157 of 200
    assert all((CONTEXT.data / "safetensors" / f"{name}.safetensors").is_file() for name in TRAINED)
