"""A plain input recipe, and small images written where a test wants them."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@dataclass(frozen=True)
class Plain:
    """The whole image, resized by nearest neighbour: what is white stays exactly white."""

    size: tuple[int, int] = (8, 8)
    flip: bool = False
    channels: int = 3

    def bands(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.stack(
            [np.asarray(Image.fromarray(plane).resize(self.size[::-1], 0)) for plane in values.transpose(2, 0, 1)], 2
        )

    def pixels(self, picture: Image.Image) -> np.ndarray[Any, Any]:
        assert picture.mode == "RGB"
        found = np.asarray(picture.resize(self.size[::-1], Image.Resampling.NEAREST))
        return found[:, ::-1] if self.flip else found

    def mask(self, mask: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        assert mask.dtype == bool
        picture = Image.fromarray(mask.astype(np.uint8)).resize(self.size[::-1], Image.Resampling.NEAREST)
        found = np.asarray(picture).astype(bool)
        return found[:, ::-1] if self.flip else found

    def json(self) -> dict[str, Any]:
        return asdict(self)


@pytest.fixture
def recipe() -> Plain:
    return Plain()


@pytest.fixture
def plain() -> type[Plain]:
    return Plain


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes an image of one colour (or an array) below the test's folder and gives its path back."""

    def write(name: str, content: Any = (255, 0, 0), size: tuple[int, int] = (4, 6), **options: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, np.ndarray):
            Image.fromarray(content).save(path, **options)
        else:
            Image.new("RGB", size[::-1], content).save(path, **options)
        return path

    return write
