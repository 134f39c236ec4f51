"""Files of bands and of colours are read by their kind, and those that are neither are skipped with the reason."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from microtome.images import Images
from microtome.images.reading import read_any_header, verify_any


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.zeros(5), "an array of 5"),
        (np.zeros((2, 3, 4, 5)), "2×3×4×5"),
        (np.zeros((0, 3)), "0×3"),
        (np.array(["a"]), "not numbers"),
        (np.zeros((4, 4, 2), complex), "not numbers"),
        (np.full((4, 4, 2), np.nan), "32 of its 32 values are NaN or infinite"),
        (np.array([[{}]], dtype=object), "Python objects"),
    ],
)
def test_arrays_that_are_no_images_are_skipped_with_the_reason(tmp_path: Path, values: np.ndarray, said: str) -> None:
    np.save(tmp_path / "a.npy", values, allow_pickle=True)
    np.save(tmp_path / "b.npy", np.zeros((4, 4, 2)))
    images = Images.folder(tmp_path)
    assert images.names == ("b.npy",)
    assert said in images.skipped[0].reason


def test_damaged_and_crowded_archives_are_skipped(tmp_path: Path) -> None:
    np.savez(tmp_path / "good.npz", np.zeros((4, 4, 2), np.float32))
    np.savez(tmp_path / "two.npz", a=np.zeros((4, 4, 2)), b=np.zeros((4, 4, 2)))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "good.npz").read_bytes()[:90])
    np.save(tmp_path / "cut.npy", np.zeros((4, 4, 2)))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:200])
    images = Images.folder(tmp_path)
    assert images.names == ("good.npz",)
    reasons = {file.path: file.reason for file in images.skipped}
    assert "damaged or cut short" in reasons["cut.npz"]
    assert "damaged or cut short" in reasons["cut.npy"]
    assert "it holds 2 arrays" in reasons["two.npz"]


def test_headers_say_how_many_bands_there_are(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((8, 6, 5)))
    Image.new("RGB", (6, 8)).save(tmp_path / "a.png")
    for name, bands in (("a.npy", 5), ("a.png", 0)):
        header = read_any_header(tmp_path / name)
        assert (header.size, header.bands) == ((8, 6), bands)
        verify_any(tmp_path / name, header)
