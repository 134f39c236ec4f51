"""What a network says of itself: recipe and labels of its library, what the caller gives instead, and the note where nobody says."""

import pytest
from torch import nn

from microtome.images import scenes
from microtome.opening.describing import OpenedModel, fill_description
from microtome.opening.opening import open as open_specimen


def test_names_recipes_and_labels_of_libraries() -> None:
    net = open_specimen("timm:resnet18", weights=None)
    assert (net.name, net.weights, net.trained) == ("timm:resnet18", "untrained (seed 0)", False)
    # timm's configuration of resnet18.a1_in1k
    assert (net.recipe.size, net.recipe.crop, net.recipe.interpolation) == ((224, 224), 0.95, "bicubic")
    assert net.labels is not None
    assert net.wordnet is not None
    assert (len(net.labels), net.wordnet[0], net.labels[0][:5]) == (1000, "n01440764", "tench")
    other = open_specimen("torchvision:squeezenet1_1", weights=None)
    assert other.recipe.size == (224, 224)
    assert other.recipe.crop == pytest.approx(224 / 256)
    assert other.labels is not None
    assert other.wordnet is not None
    assert (other.labels[1], other.wordnet[1]) == ("goldfish", "n01443537")


def test_changed_heads_have_no_labels() -> None:
    assert open_specimen("timm:test_resnet", weights=None, num_classes=5).labels is None
    assert open_specimen("torchvision:squeezenet1_1", weights=None, num_classes=5).labels is None
    with_background = open_specimen("timm:test_resnet", weights=None, labels=["a", "b"])
    assert with_background.labels == ("a", "b")
    assert any("2 labels for 1000 outputs" in note for note in with_background.notes)


def plain(channels: int) -> OpenedModel:
    return OpenedModel(nn.Sequential(nn.Conv2d(channels, 2, 3), nn.ReLU()), "mine", "as given", None, None)


def test_the_default_recipe_comes_with_a_note_and_takes_the_channels_of_the_first_layer() -> None:
    for channels, recipe_channels in ((3, 3), (1, 1)):
        opened = plain(channels)
        fill_description(opened, None, None)
        assert opened.recipe is not None
        assert (opened.recipe.size, opened.recipe.channels, opened.names) == ((224, 224), recipe_channels, None)
        assert [note.partition(";")[0] for note in opened.notes] == ["Nothing says how it wants its input"]


def test_a_convolution_along_a_sequence_says_nothing_of_the_channels_of_an_image() -> None:
    """As the gates of ECA are, which may be made before the first convolution over rows and columns."""
    opened = OpenedModel(nn.Sequential(nn.Conv1d(1, 1, 3), nn.Conv2d(3, 2, 3)), "mine", "as given", None, None)
    fill_description(opened, None, None)
    assert opened.recipe is not None and opened.recipe.channels == 3


def test_what_the_caller_gives_wins_over_the_default_without_a_note() -> None:
    opened = plain(1)
    fill_description(opened, {"size": 32}, ["cat", "dog"])
    assert opened.recipe is not None and opened.names is not None
    assert (opened.recipe.size, opened.recipe.channels, opened.names[0], opened.notes) == ((32, 32), 1, ("cat", "dog"), [])


def test_our_own_networks_have_their_family_and_labels_unless_their_classes_were_changed() -> None:
    own, other = (open_specimen("microtome:mini_deit", weights=None, **options) for options in ({}, {"num_classes": 4}))
    assert (own.family, own.labels) == ("attention", scenes.CLASSES)
    assert (other.family, other.labels, other.outputs) == ("attention", None, 4)
    assert own.family_reason == "it is of the mini zoo, which has its families by design"
