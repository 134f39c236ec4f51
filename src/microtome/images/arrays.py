"""Images that are in memory already: arrays and tensors, checked before anything is made of them."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from microtome.errors import BadOption, ImagesError
from microtome.images.bands import Values, display_bands, scale_bands, shown_bands
from microtome.images.masks import Mask
from microtome.images.sources import Source


class ArraySource(Source):
    """Pixels uint8 (image, row, col, rgb) in memory, with masks bool (image, row, col) or None."""

    kind = "tensors"

    def __init__(self, pixels: npt.NDArray[Any], masks: Mask | None) -> None:
        self._pixels = pixels
        self._masks = masks

    def __len__(self) -> int:
        return len(self._pixels)

    def name(self, place: int) -> str:
        return f"{place:0{len(str(len(self._pixels) - 1))}d}"

    def picture(self, place: int, least: int | None = None) -> Image.Image:
        return Image.fromarray(self._pixels[place])

    def mark_kind(self, place: int) -> str | None:
        return None if self._masks is None else "mask"

    def mask(self, place: int) -> Mask | None:
        return None if self._masks is None else self._masks[place].copy()

    def identity(self, place: int) -> str:
        content = hashlib.sha256(repr(self._pixels.shape[1:]).encode() + self._pixels[place].tobytes())
        if self._masks is not None:
            content.update(b"mask" + np.packbits(self._masks[place]).tobytes())
        return content.hexdigest()

    def facts(self, place: int) -> dict[str, float]:
        return {"rows": float(self._pixels.shape[1]), "cols": float(self._pixels.shape[2])}


class BandSource(ArraySource):
    """Numbers (image, row, col, channel) in memory, of any number of channels, with masks bool (image, row, col) or None."""

    def __init__(self, numbers: npt.NDArray[Any], masks: Mask | None, shown: Sequence[int] | None) -> None:
        self.channels = numbers.shape[3]
        self.shown = shown_bands(numbers.shape[3], shown)
        super().__init__(numbers, masks)

    def picture(self, place: int, least: int | None = None) -> Image.Image:
        return display_bands(self._pixels[place], self.shown)

    def values(self, place: int) -> Values:
        return scale_bands(self._pixels[place])

    def identity(self, place: int) -> str:
        return f"{self._pixels.dtype} {super().identity(place)} shown {self.shown}"


def array_source(x: Any, masks: Any = None, shown: Sequence[int] | None = None) -> ArraySource:
    """Pixels in memory from an array or tensor: floats 0..1 or uint8 (image, 3 | 1, row, col), or uint8 (image, row, col, 3).

    Of another number of channels, (image, channel, row, col): uint8, uint16, or other numbers, which stay as they are.

    Raises:
        ImagesError: other dimensions, other values, or masks that do not fit.
    """
    values = _numpy(x)
    if values.ndim != 4 or 0 in values.shape:
        raise ImagesError(
            f"The tensor has the shape {values.shape}; give (image, 3, row, col) with at least one image (x[None] for one)."
        )
    if values.shape[1] not in (1, 3) and values.shape[3] not in (1, 3):
        return _band_source(values, masks, shown)
    if shown is not None:
        raise BadOption("shown chooses bands to show; images of one channel or three are shown as they are.")
    if values.dtype == np.uint8:
        pixels = values if values.shape[3] == 3 else _channels_last(values)
    elif values.dtype.kind == "f":
        pixels = _from_floats(_channels_last(values))
    else:
        raise ImagesError(f"The tensor holds {values.dtype}; give floats in 0..1 or uint8 in 0..255.")
    pixels = np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:3], 3)))
    return ArraySource(pixels.copy() if pixels is values or pixels.base is not None else pixels, _masks_for(pixels, masks))


def _band_source(values: npt.NDArray[Any], masks: Any, shown: Sequence[int] | None) -> BandSource:
    """Images of any number of channels from numbers (image, channel, row, col)."""
    if values.dtype.kind not in "uifb":
        raise ImagesError(f"The tensor holds {values.dtype}, not numbers; give uint8, uint16 or floats.")
    if values.dtype.kind == "f" and (broken := int((~np.isfinite(values)).sum())):
        raise ImagesError(f"The tensor holds {broken} values that are not finite (NaN or infinite).")
    numbers = np.array(values.transpose(0, 2, 3, 1), order="C")
    return BandSource(numbers, _masks_for(numbers, masks), shown)


def _numpy(x: Any) -> npt.NDArray[Any]:
    if hasattr(x, "detach"):  # a torch tensor; bfloat16 has no numpy twin
        x = x.detach().cpu()
        x = (x.float() if x.is_floating_point() else x).numpy()
    return np.asarray(x)


def _channels_last(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if values.shape[1] not in (1, 3):
        turned = ", such as x.permute(0, 3, 1, 2)" if values.shape[3] in (1, 3) else ""
        raise ImagesError(
            f"The tensor has the shape {values.shape}; the second dimension should be 3 (rgb) or 1 (grey){turned}."
        )
    return values.transpose(0, 2, 3, 1)


def _from_floats(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if not np.isfinite(values).all():
        raise ImagesError(f"The tensor holds {int((~np.isfinite(values)).sum())} values that are not finite (NaN or infinite).")
    low, high = float(values.min()), float(values.max())
    if low < -1e-4 or high > 1 + 1e-4:
        hint = (
            "it looks like 0..255: divide by 255" if low >= 0 and 1 < high <= 255 else "it looks normalised: undo mean and std"
        )
        raise ImagesError(f"The tensor's values go from {low:.3g} to {high:.3g}; floats should be in 0..1 ({hint}).")
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _masks_for(pixels: npt.NDArray[Any], masks: Any) -> Mask | None:
    if masks is None:
        return None
    given = _numpy(masks)
    if given.ndim == 4 and given.shape[1] == 1:
        given = given[:, 0]
    if given.shape != pixels.shape[:3]:
        raise ImagesError(
            f"The masks have the shape {given.shape}; for these images it should be {pixels.shape[:3]} (image, row, col)."
        )
    return given != 0


def check_labels(
    count: int, labels: Any, classes: Sequence[str] | None
) -> tuple[npt.NDArray[np.int64] | None, tuple[str, ...] | None]:
    """Checked labels (image,) and their classes, named by their numbers where no names are given."""
    if labels is None:
        if classes is not None:
            raise ImagesError("classes were given without labels; give labels=(a whole number for each image) as well.")
        return None, None
    given = np.asarray(labels.detach().cpu().numpy() if hasattr(labels, "detach") else labels)
    if given.shape != (count,) or (given.dtype.kind not in "iu" and not np.array_equal(given, np.round(given))):
        raise ImagesError(
            f"labels have the shape {given.shape} and type {given.dtype}; give {count} whole numbers, one for each image."
        )
    values = given.astype(np.int64)
    names = tuple(str(number) for number in range(int(values.max()) + 1)) if classes is None else tuple(map(str, classes))
    if values.min() < -1 or values.max() >= len(names):
        raise ImagesError(
            f"labels go from {values.min()} to {values.max()}; for {len(names)} classes they are 0 to {len(names) - 1}, or -1."
        )
    return values, names
