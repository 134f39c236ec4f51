"""The preprocessing of a network's input: size, crop, interpolation, mean and standard deviation, with the same geometry for masks.

Source: the evaluation transform of timm (`create_transform(is_training=False, crop_mode="center")`), done with Pillow.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from microtome.errors import BadOption, UnknownName, did_you_mean, hint

Interpolation = Literal["bilinear", "bicubic", "nearest", "lanczos"]
Triple = tuple[float, float, float]
Statistic = tuple[float, ...]  # one number for each channel
RESAMPLING: dict[str, Image.Resampling] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
    "lanczos": Image.Resampling.LANCZOS,
}
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Recipe:
    """The input recipe of one network.

    `size` is (rows, cols) in pixels; `mean` and `std` are on the scale 0 to 1; `crop` is the fraction of the short side that the
    centre crop keeps (timm's crop_pct); `channels` is 3 (red, green, blue), 1 (luminance, or one band), or any other number of
    bands. `mean` and `std` have one number for each channel: a single one stands for all, and of three one channel takes the first.
    """

    size: tuple[int, int] = (224, 224)
    mean: Statistic = IMAGENET_MEAN
    std: Statistic = IMAGENET_STD
    interpolation: Interpolation = "bilinear"
    crop: float = 0.875
    channels: int = 3

    def __post_init__(self) -> None:
        if len(self.size) != 2 or any(isinstance(side, bool) or int(side) != side or side < 1 for side in self.size):
            raise BadOption(f"The recipe's size {self.size!r} is not (rows, cols) in whole pixels, for example (224, 224).")
        if isinstance(self.channels, bool) or int(self.channels) != self.channels or self.channels < 1:
            raise BadOption(f"The recipe has {self.channels!r} channels; give a whole number from 1 on.")
        for name, statistic in (("mean", self.mean), ("std", self.std)):
            fitted = _for_channels(statistic, self.channels)
            if len(fitted) != self.channels or not all(math.isfinite(value) for value in fitted):
                wanted = "three numbers, one each for red, green and blue" if self.channels == 3 else f"{self.channels} numbers"
                raise BadOption(
                    f"The recipe's {name} {statistic!r} is not {wanted}; write {name}=a/b/…, or one number for all."
                )
            object.__setattr__(self, name, fitted)
        if min(self.std) <= 0:
            raise BadOption(f"The recipe's std {self.std!r} has a value that is not above 0.")
        if self.interpolation not in RESAMPLING:
            raise UnknownName(
                f"The recipe's interpolation '{self.interpolation}' is unknown."
                + did_you_mean(str(self.interpolation), RESAMPLING)
            )
        if not 0 < self.crop <= 2:
            raise BadOption(f"The recipe's crop {self.crop!r} is not a fraction of the short side (above 0, at most 2).")

    def pixels(self, picture: Image.Image) -> NDArray[np.uint8]:
        """The image as the network sees it before normalisation: uint8 (row, col, rgb)."""
        return np.array(self._frame(picture.convert("RGB"), RESAMPLING[self.interpolation]), dtype=np.uint8)

    def tensor(self, picture: Image.Image) -> Tensor:
        """The normalised image: float32 (rgb, row, col), or (1, row, col) where the recipe has one channel."""
        return self.normalise(torch.from_numpy(self.pixels(picture))[None])[0]

    def bands(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Numbers (row, col, channel) in the geometry of `pixels`, each channel on its own; zero outside the image."""
        planes = [
            self._frame(Image.fromarray(plane), RESAMPLING[self.interpolation]) for plane in np.moveaxis(values, 2, 0).copy()
        ]
        return np.stack([np.asarray(plane, dtype=np.float32) for plane in planes], axis=2)

    def normalise(self, pixels: Tensor, layout: torch.memory_format = torch.contiguous_format) -> Tensor:
        """Pixels uint8 (image, row, col, rgb) as float32 (image, rgb, row, col), mean taken off and divided by std.

        Numbers float32 (image, row, col, channel) are taken as they are, uint8 divided by 255; three channels become luminance where the
        recipe has one.

        `layout` is that of the memory: of pixels that lie side by side, channels-last needs no copy.
        """
        values = pixels.clone() if pixels.is_floating_point() else pixels.to(torch.float32).div(255.0)
        if (
            self.channels == 1 and values.shape[3] == 3
        ):  # the luminance weights of ITU-R BT.601, which Pillow's convert("L") uses
            values = (values * torch.tensor((0.299, 0.587, 0.114), device=values.device)).sum(-1, keepdim=True)
        # one row of pixels at a time: three values at a time would be slow
        mean, std = (
            torch.tensor(statistic, device=values.device).repeat(values.shape[2]) for statistic in (self.mean, self.std)
        )
        even = values.flatten(2).sub_(mean).div_(std).view(values.shape)
        return even.permute(0, 3, 1, 2).contiguous(memory_format=layout)

    def mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The mask (row, col) cut to what the network sees: bool (row, col) of `size`, nearest neighbour."""
        picture = Image.fromarray(np.asarray(mask, dtype=bool).astype(np.uint8) * 255)
        return np.array(self._frame(picture, Image.Resampling.NEAREST)) > 127

    def box(self, box: Sequence[float], shape: tuple[int, int]) -> tuple[float, float, float, float]:
        """The box (top, left, bottom, right) of an image of `shape` (rows, cols), in pixels of the network's input, clipped.

        Edges, not pixel centres: the whole image is (0, 0, rows, cols). A box outside the crop comes back with no area.
        """
        (rows, cols), (top, left) = self.geometry(*shape)
        scale = (rows / shape[0], cols / shape[1])
        moved = [float(edge) * scale[axis % 2] - (top, left)[axis % 2] for axis, edge in enumerate(box)]
        return cast(
            tuple[float, float, float, float],
            tuple(min(max(edge, 0.0), float(self.size[axis % 2])) for axis, edge in enumerate(moved)),
        )

    def geometry(self, rows: int, cols: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """((rows, cols) after resizing, (top, left) of the centre crop) for an image of `rows` x `cols` pixels."""
        # timm rounds down; the small addend keeps 224 / (224 / 232) from becoming 231
        wanted = [math.floor(side / self.crop + 1e-9) for side in self.size]
        if wanted[0] == wanted[1]:
            short, long = min(rows, cols), max(rows, cols)
            stretched = int(wanted[0] * long / short)
            resized = (wanted[0], stretched) if rows <= cols else (stretched, wanted[0])
        else:
            ratio = min(rows / wanted[0], cols / wanted[1])
            resized = (round(rows / ratio), round(cols / ratio))
        return resized, (_crop_start(resized[0], self.size[0]), _crop_start(resized[1], self.size[1]))

    def _frame(self, picture: Image.Image, resampling: Image.Resampling) -> Image.Image:
        (rows, cols), (top, left) = self.geometry(picture.height, picture.width)
        if picture.size != (cols, rows):
            picture = picture.resize((cols, rows), resampling)
        return picture.crop((left, top, left + self.size[1], top + self.size[0]))

    def equal_count(self, count: int, least: int) -> int:
        """How many images of this size hold the pixels of `count` images of 224 px, but at most `count` and at least `least`."""
        return min(count, max(least, count * 224 * 224 // (self.size[0] * self.size[1])))

    def json(self) -> dict[str, Any]:
        """The recipe as plain JSON values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def of(cls, value: Any, start: "Recipe | None" = None) -> "Recipe":
        """The recipe that `value` describes: a Recipe, a name of `NAMED_RECIPES`, a size, "224x320", JSON text, or a mapping.

        What a mapping leaves out is taken from `start`. Raises BadOption or UnknownName.
        """
        start = start or cls()
        if isinstance(value, cls):
            return value
        if isinstance(value, int):
            return replace(start, size=(value, value))
        if isinstance(value, str):
            return cls._describe_crop(value.strip(), start)
        if isinstance(value, Mapping):
            return cls._changed_options(cast(Mapping[str, Any], value), start)
        raise BadOption(f"A recipe cannot be read from {value!r}; give a name such as 'imagenet', a size, or a dictionary.")

    @classmethod
    def _describe_crop(cls, text: str, start: "Recipe") -> "Recipe":
        if text.lower() in NAMED_RECIPES:
            return NAMED_RECIPES[text.lower()]
        if text.startswith("{"):
            try:
                return cls._changed_options(json.loads(text), start)
            except json.JSONDecodeError as error:
                raise BadOption(f"The recipe {text!r} is not valid JSON: {error}.") from error
        sides = text.lower().split("x")
        if len(sides) in (1, 2) and all(side.strip().isdigit() for side in sides):
            return replace(start, size=(int(sides[0]), int(sides[-1])))
        raise UnknownName(f"There is no recipe '{text}'." + did_you_mean(text, NAMED_RECIPES))

    @classmethod
    def _changed_options(cls, given: Mapping[str, Any], start: "Recipe") -> "Recipe":
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                raise UnknownName(f"A recipe has no entry '{name}'." + did_you_mean(name, known))
        changes = dict(given)
        try:
            if "size" in changes:
                size = changes["size"]
                changes["size"] = (int(size), int(size)) if isinstance(size, int | float) else tuple(int(side) for side in size)
            for name in ("mean", "std"):
                if name in changes:
                    value = changes[name]
                    changes[name] = (float(value),) if isinstance(value, int | float) else tuple(float(part) for part in value)
            if "channels" in changes and int(changes["channels"]) != start.channels:
                changes = {**_without_statistics(start, int(changes["channels"])), **changes}
            if "crop" in changes:
                changes["crop"] = float(changes["crop"])
        except (TypeError, ValueError) as error:
            raise BadOption(f"The recipe {dict(given)!r} cannot be read: {error}.") from error
        return replace(start, **changes)


def _for_channels(statistic: Sequence[float], channels: int) -> Statistic:
    """The numbers of a mean or std for so many channels: one stands for all, and of three one channel takes the first."""
    given = tuple(float(value) for value in statistic)
    if len(given) == 1:
        return given * channels
    return given[:1] if channels == 1 and len(given) == 3 else given


def _without_statistics(start: Recipe, channels: int) -> dict[str, Any]:
    """Mean and std for another number of channels than `start` has: its first ones between 1 and 3, else 0 and 1."""
    if {channels, start.channels} == {1, 3}:
        return {"mean": start.mean[:1], "std": start.std[:1]}
    return {"mean": (0.0,), "std": (1.0,)}


def with_channels(recipe: Recipe, channels: int) -> Recipe:
    """The recipe for another number of channels, with mean 0 and std 1 where nothing is known of them."""
    return recipe if channels == recipe.channels else Recipe.of({"channels": channels}, recipe)


def _crop_start(side: int, kept: int) -> int:
    """Where the centre crop starts along one axis; negative where the image is smaller and gets black rims (crop above 1)."""
    return round((side - kept) / 2.0) if side >= kept else -((kept - side) // 2)


NAMED_RECIPES: dict[str, Recipe] = {
    "imagenet": Recipe(),
    "inception": Recipe(size=(299, 299), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bicubic"),
    "half": Recipe(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    "plain": Recipe(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), crop=1.0),
    "cifar": Recipe(size=(32, 32), mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616), crop=1.0),
    "cifar100": Recipe(size=(32, 32), mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762), crop=1.0),
    "mini": Recipe(size=(64, 64), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), crop=1.0),
}


def from_timm(config: Mapping[str, Any]) -> tuple[Recipe, list[str]]:
    """The recipe of a timm data configuration (`resolve_model_data_config`), and notes about what it does not contain."""
    channels, rows, cols = (int(value) for value in config["input_size"])
    notes: list[str] = []
    interpolation = str(config.get("interpolation", "bilinear"))
    if interpolation not in RESAMPLING:
        notes.append(f"Its configuration asks for '{interpolation}' interpolation; bilinear is used.")
        interpolation = "bilinear"
    mode = str(config.get("crop_mode") or "center")
    if mode != "center":
        notes.append(f"Its configuration asks for crop mode '{mode}'; a centre crop is used, which keeps the aspect ratio.")
    mean, std = (tuple(float(value) for value in config[name]) for name in ("mean", "std"))
    if len(mean) == len(std) == 3 and channels not in (1, 3):  # as timm adapts the first convolution: colours in turn
        mean, std = ((part * channels)[:channels] for part in (mean, std))
        notes.append(
            f"It takes {channels} channels, and its configuration knows mean and std of three; they are repeated in turn "
            "(" + hint("--recipe mean=…,std=…", "recipe=…") + " changes them)."
        )
    recipe = Recipe(
        size=(rows, cols),
        mean=mean,
        std=std,
        interpolation=cast(Interpolation, interpolation),
        crop=float(config.get("crop_pct") or 0.875),
        channels=channels,
    )
    return recipe, notes


def from_torchvision(preset: Any) -> tuple[Recipe, list[str]]:
    """The recipe of a torchvision preset (`weights.transforms()`), and notes about what it does not contain."""
    notes: list[str] = []
    resize = list(getattr(preset, "resize_size", None) or [224])
    crop = list(getattr(preset, "crop_size", None) or resize)
    if not hasattr(preset, "crop_size"):
        notes.append(f"Its preset resizes to {resize[0]} px without a crop; a square centre crop of that size is used.")
    interpolation = str(getattr(getattr(preset, "interpolation", None), "value", "bilinear"))
    recipe = Recipe(
        size=(crop[0], crop[-1]),
        mean=cast(Triple, tuple(float(value) for value in getattr(preset, "mean", IMAGENET_MEAN))),
        std=cast(Triple, tuple(float(value) for value in getattr(preset, "std", IMAGENET_STD))),
        interpolation=cast(Interpolation, interpolation if interpolation in RESAMPLING else "bilinear"),
        crop=min(1.0, crop[0] / resize[0]),
    )
    return recipe, notes
