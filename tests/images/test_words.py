"""Words for generated images: what they stand for, against the functions themselves, and what is not understood."""

import pytest

import microtome as mt
from microtome.errors import BadOption
from microtome.images.micro_objects import micro_objects
from microtome.images.turning import turn_images
from microtome.images.words import GENERATORS, generate_images, generator_named, is_generated


def test_words_are_calls() -> None:
    for word, images in (
        ("scenes:12,size=32,seed=3", mt.Images.scenes(12, 3, 32)),
        ("micro_objects:6,sides=2-4,size=32", micro_objects(6, size=32, sides=(2, 4))),
        ("micro_objects:6,sides=2", micro_objects(6, sides=(2, 2))),
        ("scenes:5,turn=90", turn_images(mt.Images.scenes(5), 90)),
        ("scenes:5,turn=random,turn_seed=4", turn_images(mt.Images.scenes(5), "random", 4)),
    ):
        assert generate_images(word).digest() == images.digest()
    assert len(generate_images("scenes")) == 200


def test_every_generator_gives_labelled_images_and_says_what_it_is() -> None:
    for name in GENERATORS:
        images = generate_images(f"{name}:3,seed=1,size=32")
        assert len(images) == 3 and images.labels is not None and images.classes and generator_named(name).__doc__
        assert images[0].picture.size == (32, 32)


def test_what_is_a_word() -> None:
    assert is_generated("scenes") and is_generated("micro_objects:3")
    assert not is_generated("photos/") and not is_generated("timm:resnet18")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("scenes:x", r"'x' in 'scenes:x' is not understood; write for example scenes:200,size=64,seed=1"),
        ("scenes:5,sizes=3", r"Did you mean 'size'"),
        ("micro_objects:5,sides=1-2-3", r"'sides=1-2-3'"),
        ("scenes:5,turn=45", r"turn is '45'"),
        ("scene:5", r"No generator of images is called 'scene'. Did you mean 'scenes'"),
    ],
)
def test_what_is_not_understood(word: str, message: str) -> None:
    with pytest.raises(BadOption, match=message):
        generate_images(word)
