import math

import numpy as np
import pytest
import torch
from PIL import Image

from microtome._torchvision import timm
from microtome.errors import BadOption, UnknownName
from microtome.specimen.recipe import NAMED_RECIPES, Recipe, from_timm, from_torchvision


def picture(rows: int, cols: int, seed: int = 0) -> Image.Image:
    """Coloured noise over a gradient: every resampling and every shift by a pixel changes it."""
    noise = np.random.default_rng(seed).integers(0, 120, (rows, cols, 3))
    ramp = np.linspace(0, 135, cols)[None, :, None] * np.ones((rows, 1, 3))
    return Image.fromarray((noise + ramp).astype(np.uint8))


@pytest.mark.parametrize("shape", [(300, 400), (401, 287), (50, 60), (224, 224), (256, 256), (31, 500)])
@pytest.mark.parametrize(
    ("size", "crop", "interpolation"),
    [
        ((224, 224), 0.875, "bilinear"),
        ((224, 224), 0.95, "bicubic"),
        ((299, 299), 0.9, "bicubic"),
        ((32, 32), 1.0, "lanczos"),
        ((160, 224), 0.9, "bilinear"),
        ((99, 99), 1.15, "bicubic"),
    ],
)
def test_tensor_is_what_timm_makes(shape: tuple[int, int], size: tuple[int, int], crop: float, interpolation: str) -> None:
    # oracle: timm's own evaluation transform on Pillow images
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    oracle = timm().data.create_transform(
        input_size=(3, *size),
        is_training=False,
        interpolation=interpolation,
        mean=mean,
        std=std,
        crop_pct=crop,
        crop_mode="center",
    )
    mine = Recipe(size, mean, std, interpolation, crop).tensor(picture(*shape))  # type: ignore[arg-type]
    assert mine.shape == (3, *size)
    assert mine.dtype == torch.float32
    torch.testing.assert_close(mine, oracle(picture(*shape)), atol=1e-6, rtol=0)


def test_resized_side_is_timms_for_every_configuration_it_ships() -> None:
    configs = {(c.input_size[1:], c.crop_pct) for c in map(timm().models.get_pretrained_cfg, timm().list_pretrained()) if c}
    assert len(configs) > 20
    for config in configs:
        (rows, cols), crop = config
        expected = [math.floor(side / crop) for side in (rows, cols)]  # timm.data.transforms_factory, scale_size
        if rows == cols:
            (found, _), _ = Recipe((rows, cols), crop=crop).geometry(1000, 1000)
            assert found == expected[0], config


@pytest.mark.parametrize("name", ["resnet50", "squeezenet1_1", "vit_b_16", "efficientnet_b0", "inception_v3", "swin_t"])
def test_torchvision_presets(name: str) -> None:
    from microtome._torchvision import torchvision

    preset = torchvision().models.get_model_weights(name).DEFAULT.transforms()
    recipe, notes = from_torchvision(preset)
    assert notes == []
    oracle = preset(picture(333, 500))
    # the preset resizes tensors' Pillow source with the same filter; values differ by float rounding only
    torch.testing.assert_close(recipe.tensor(picture(333, 500)), oracle, atol=1e-5, rtol=0)


def test_pixels_are_what_is_normalised() -> None:
    recipe = NAMED_RECIPES["imagenet"]
    pixels = recipe.pixels(picture(260, 300))
    assert pixels.shape == (224, 224, 3)
    assert pixels.dtype == np.uint8
    batch = recipe.normalise(torch.from_numpy(np.stack([pixels, pixels])))
    assert torch.equal(batch[1], recipe.tensor(picture(260, 300)))
    wide = recipe.normalise(torch.from_numpy(np.stack([pixels, pixels])), torch.channels_last)
    assert batch.is_contiguous() and wide.is_contiguous(memory_format=torch.channels_last) and torch.equal(batch, wide)
    # by hand: (value / 255 - mean) / std of the red channel of the first pixel
    assert batch[0, 0, 0, 0].item() == pytest.approx((pixels[0, 0, 0] / 255 - 0.485) / 0.229, abs=1e-6)


def test_mask_and_box_follow_the_picture() -> None:
    recipe = Recipe(size=(40, 60), crop=0.8)
    rows, cols = 150, 130
    mask = np.zeros((rows, cols), dtype=bool)
    mask[60:90, 50:80] = True
    white = Image.fromarray(np.repeat((mask * 255).astype(np.uint8)[:, :, None], 3, 2))
    seen, kept = recipe.pixels(white)[:, :, 0] > 127, recipe.mask(mask)
    assert kept.shape == (40, 60)
    # bilinear halves and nearest cells may differ at the rim, one pixel wide
    assert (seen != kept).sum() <= 2 * (kept.any(0).sum() + kept.any(1).sum())
    top, left, bottom, right = recipe.box((60, 50, 90, 80), (rows, cols))
    where = np.argwhere(kept)
    assert np.abs(where.min(0) - (top, left)).max() <= 1
    assert np.abs(where.max(0) + 1 - (bottom, right)).max() <= 1


def test_box_by_hand() -> None:
    # 100 x 200 px to a short side of 50 (x 0.5), then the middle 50 of 100 columns: columns move by -25
    recipe = Recipe(size=(50, 50), crop=1.0)
    assert recipe.box((10, 60, 90, 140), (100, 200)) == (5.0, 5.0, 45.0, 45.0)
    assert recipe.box((0, 0, 100, 200), (100, 200)) == (0.0, 0.0, 50.0, 50.0)
    top, left, bottom, right = recipe.box((0, 0, 10, 10), (100, 200))
    assert (bottom - top) * (right - left) == 0


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "CMYK"])
def test_other_picture_modes(mode: str) -> None:
    assert NAMED_RECIPES["cifar"].tensor(picture(40, 50).convert(mode)).shape == (3, 32, 32)


def test_one_channel_is_luminance() -> None:
    recipe = Recipe(size=(20, 20), crop=1.0, channels=1, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    grey = picture(20, 20).convert("L")
    expected = (np.array(grey) / 255 - 0.5) / 0.5
    assert recipe.tensor(grey).shape == (1, 20, 20)
    np.testing.assert_allclose(recipe.tensor(grey)[0].numpy(), expected, atol=1e-6)


def test_spoken_recipes() -> None:
    start = Recipe(crop=0.9)
    assert Recipe.of("imagenet") == NAMED_RECIPES["imagenet"]
    assert Recipe.of(64, start).size == (64, 64)
    assert Recipe.of("224x320", start) == Recipe(size=(224, 320), crop=0.9)
    assert Recipe.of('{"size": 32, "mean": 0.5}', start).mean == (0.5, 0.5, 0.5)
    assert Recipe.of({"size": [10, 20], "std": (1, 2, 3)}, start) == Recipe(size=(10, 20), std=(1.0, 2.0, 3.0), crop=0.9)
    recipe = Recipe(size=(10, 20), interpolation="bicubic")
    assert Recipe.of(recipe.json()) == recipe


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({"size": 0}, BadOption),
        ({"size": (1, 2, 3)}, BadOption),
        ({"std": 0}, BadOption),
        ({"mean": (1, 2)}, BadOption),
        ({"mean": "grey"}, BadOption),
        ({"crop": 2.5}, BadOption),
        ({"crop": None}, BadOption),
        ({"channels": 0}, BadOption),
        ({"channels": 5, "mean": (1, 2, 3)}, BadOption),
        ({"interpolation": "spline"}, UnknownName),
        ({"sizes": 3}, UnknownName),
        ("imagnet", UnknownName),
        ('{"size": ', BadOption),
        (3.5, BadOption),
    ],
)
def test_refused_recipes(value: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        Recipe.of(value)


def test_unusual_configurations_are_said() -> None:
    config = {
        "input_size": (3, 64, 64),
        "mean": (0.5,) * 3,
        "std": (0.5,) * 3,
        "crop_pct": 1.0,
        "crop_mode": "squash",
        "interpolation": "random",
    }
    recipe, notes = from_timm(config)
    assert recipe.interpolation == "bilinear"
    assert len(notes) == 2


@pytest.mark.parametrize("channels", [1, 3])
def test_normalising_by_the_plain_formula(channels: int) -> None:
    pixels = torch.randint(0, 256, (2, 5, 7, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    recipe = Recipe(size=(5, 7), channels=channels)
    values = pixels.double() / 255
    mean, std = (torch.tensor(one[:channels], dtype=torch.float64) for one in (recipe.mean, recipe.std))
    if channels == 1:
        values = values @ torch.tensor([[0.299], [0.587], [0.114]], dtype=torch.float64)
    torch.testing.assert_close(recipe.normalise(pixels), ((values - mean) / std).permute(0, 3, 1, 2).float(), atol=1e-6, rtol=0)
    assert torch.equal(recipe.normalise(pixels.transpose(1, 2)), recipe.normalise(pixels).transpose(2, 3))


@pytest.mark.parametrize(
    ("size", "count", "least", "images"), [(224, 32, 8, 32), (32, 32, 8, 32), (448, 32, 1, 8), (513, 32, 8, 8), (513, 16, 2, 3)]
)
def test_fewer_large_images_hold_as_many_pixels(size: int, count: int, least: int, images: int) -> None:
    assert Recipe(size=(size, size)).equal_count(count, least) == images
