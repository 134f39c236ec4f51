"""Every odd file becomes the RGB that a viewer shows, or a reason in a few words."""

import contextlib
import os
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from microtome.errors import ImagesError
from microtome.images import decoding
from microtome.images.decoding import ORIENTATION, read_header, read_plane, read_rgb, verify_whole

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quadrants(rows: int = 32, cols: int = 48) -> np.ndarray:
    """Red and green above, blue and white below."""
    pixels = np.zeros((rows, cols, 3), np.uint8)
    pixels[: rows // 2, : cols // 2], pixels[: rows // 2, cols // 2 :] = RED, GREEN
    pixels[rows // 2 :, : cols // 2], pixels[rows // 2 :, cols // 2 :] = BLUE, WHITE
    return pixels


def corners(picture: Image.Image) -> list[str]:
    """The colours a little inside the four corners: top left, top right, bottom left, bottom right."""
    pixels = np.asarray(picture).astype(int)
    inside = [pixels[row, col] for row in (4, -5) for col in (4, -5)]
    names = {"red": RED, "green": GREEN, "blue": BLUE, "white": WHITE}
    return [min(names, key=lambda name: int(np.abs(one - names[name]).sum())) for one in inside]


def turned(path: Path, orientation: int) -> Path:
    picture = Image.fromarray(quadrants())
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    picture.save(path, exif=exif, quality=95)
    return path


# The table of the EXIF standard (CIPA DC-008): where the stored row 0 and column 0 are displayed.
SHOWN = {
    1: ["red", "green", "blue", "white"],
    2: ["green", "red", "white", "blue"],
    3: ["white", "blue", "green", "red"],
    4: ["blue", "white", "red", "green"],
    5: ["red", "blue", "green", "white"],
    6: ["blue", "red", "white", "green"],
    7: ["white", "green", "blue", "red"],
    8: ["green", "white", "red", "blue"],
}


@pytest.mark.parametrize("orientation", SHOWN)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_exif_orientation(tmp_path: Path, orientation: int, suffix: str) -> None:
    path = turned(tmp_path / f"turned{suffix}", orientation)
    picture = read_rgb(path)
    assert corners(picture) == SHOWN[orientation]
    assert read_header(path).size == (picture.height, picture.width) == ((32, 48) if orientation < 5 else (48, 32))
    assert read_header(path).stored == (32, 48)


# The same table for whole arrays: the stored picture as numpy turns it.
TURNED = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x),
}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "1"])
def test_every_pixel_is_where_the_orientation_puts_it(tmp_path: Path, orientation: int, mode: str) -> None:
    drawn = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    picture = Image.fromarray(drawn).convert(mode)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    picture.save(tmp_path / "a.png", exif=exif)
    picture.save(tmp_path / "plain.png")
    plain = np.asarray(read_rgb(tmp_path / "plain.png"))
    assert np.array_equal(read_rgb(tmp_path / "a.png"), TURNED[orientation](plain))
    plane = read_plane(tmp_path / "a.png")
    assert plane.mode == mode and plane.format == "PNG"
    assert np.array_equal(plane, TURNED[orientation](np.asarray(read_plane(tmp_path / "plain.png"))))


@pytest.mark.parametrize("orientation", TURNED)
def test_a_picture_that_is_shrunk_is_turned_afterwards(
    tmp_path: Path, orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "SHRINK_FROM", 100)
    drawn = np.random.default_rng(0).integers(0, 256, (23, 31, 3), np.uint8)  # no whole number of boxes
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(drawn).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_rgb(tmp_path / "a.png", 5), TURNED[orientation](np.asarray(Image.fromarray(drawn).reduce(4))))


def test_an_exif_block_that_cannot_be_written_anew_is_no_reason_to_lose_the_picture(tmp_path: Path) -> None:
    """Orientation 6, and an entry whose value has no bytes behind it: Pillow reads the first and could not copy the second."""
    entries = struct.pack("<HHIHH", ORIENTATION, 3, 1, 6, 0) + struct.pack("<HHII", 0x8769, 4, 1, 0xFFFF)
    block = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + entries + bytes(4)
    Image.fromarray(quadrants()).save(tmp_path / "a.jpg", exif=block, quality=95)
    assert corners(read_rgb(tmp_path / "a.jpg")) == SHOWN[6]
    assert read_header(tmp_path / "a.jpg").size == (48, 32)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_damaged_or_absurd_exif_block_is_no_reason_to_lose_the_picture(tmp_path: Path) -> None:
    Image.fromarray(quadrants()).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    exif = Image.Exif()
    exif[ORIENTATION] = 77
    Image.fromarray(quadrants()).save(tmp_path / "b.jpg", exif=exif)
    assert corners(read_rgb(tmp_path / "a.jpg")) == corners(read_rgb(tmp_path / "b.jpg")) == SHOWN[1]
    assert read_header(tmp_path / "b.jpg").size == (32, 48)


def test_grey_and_one_bit(tmp_path: Path) -> None:
    Image.new("L", (3, 2), 77).save(tmp_path / "grey.png")
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "bit.png")
    assert np.asarray(read_rgb(tmp_path / "grey.png")).tolist() == [[[77] * 3] * 3] * 2
    assert np.asarray(read_rgb(tmp_path / "bit.png")).tolist() == [[[255] * 3, [0] * 3]]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 257, 32768, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"deep{suffix}")
    # 65535 / 255 = 257, and 32768 / 257 = 127.5, rounded to 128
    assert np.asarray(read_rgb(tmp_path / f"deep{suffix}"))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_sixteen_bit_big_endian_tiff(tmp_path: Path) -> None:
    Image.frombytes("I;16B", (2, 1), struct.pack(">2H", 32768, 65535)).save(tmp_path / "big.tif")
    assert np.asarray(read_rgb(tmp_path / "big.tif"))[0, :, 0].tolist() == [128, 255]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 51, 255]], np.float32), [0, 51, 255]),
        (np.array([[-100, 0, 100]], np.float32), [0, 128, 255]),
        (np.array([[np.nan, 0.5, 1]], np.float32), [0, 128, 255]),  # not a number: black
        (np.array([[0, 51, 255]], np.int32), [0, 51, 255]),
        (np.array([[0, 25700, 65535]], np.int32), [0, 100, 255]),
        (np.array([[0, 1_000_000]], np.int32), [0, 255]),
        (np.array([[7_000_000, 7_000_000]], np.int32), [0, 0]),
    ],
)
def test_thirty_two_bits(tmp_path: Path, values: np.ndarray, shown: list[int]) -> None:
    Image.fromarray(values).save(tmp_path / "wide.tif")
    assert np.asarray(read_rgb(tmp_path / "wide.tif"))[0, :, 1].tolist() == shown


def test_palette_with_and_without_transparency(tmp_path: Path) -> None:
    picture = Image.new("P", (3, 1))
    picture.putdata([0, 1, 2])
    picture.putpalette([*RED, *GREEN, *BLUE])
    picture.save(tmp_path / "opaque.png")
    picture.save(tmp_path / "one.png", transparency=1)
    picture.save(tmp_path / "table.png", transparency=bytes([255, 255, 128]))
    assert np.asarray(read_rgb(tmp_path / "opaque.png"))[0].tolist() == [[*RED], [*GREEN], [*BLUE]]
    assert np.asarray(read_rgb(tmp_path / "one.png"))[0].tolist() == [[*RED], [*WHITE], [*BLUE]]
    half = np.asarray(read_rgb(tmp_path / "table.png"))[0, 2].tolist()
    assert half == [127, 127, 255]  # blue at 128 / 255 over white
    assert "transparent: laid on white" in read_header(tmp_path / "one.png").notes


def test_alpha_is_laid_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("LA", (2, 2), (0, 51)).save(tmp_path / "grey.png")
    Image.new("RGBA", (2, 2), (255, 0, 0, 255)).save(tmp_path / "solid.webp", lossless=True)
    assert np.asarray(read_rgb(tmp_path / "clear.png")).min() == 255
    assert np.asarray(read_rgb(tmp_path / "grey.png"))[0, 0].tolist() == [204] * 3  # 255 · (1 - 51 / 255)
    assert np.asarray(read_rgb(tmp_path / "solid.webp"))[0, 0].tolist() == [*RED]


def test_a_transparent_colour_of_rgb_and_grey(tmp_path: Path) -> None:
    Image.fromarray(np.array([[RED, GREEN]], np.uint8)).save(tmp_path / "rgb.png", transparency=RED)
    Image.fromarray(np.array([[9, 10]], np.uint8)).save(tmp_path / "grey.png", transparency=9)
    assert np.asarray(read_rgb(tmp_path / "rgb.png"))[0].tolist() == [[*WHITE], [*GREEN]]
    assert np.asarray(read_rgb(tmp_path / "grey.png"))[0].tolist() == [[255] * 3, [10] * 3]


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_red_is_red(tmp_path: Path, suffix: str) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / f"ink{suffix}", quality=95)
    assert np.abs(np.asarray(read_rgb(tmp_path / f"ink{suffix}")).astype(int) - RED).max() <= 4
    assert any("CMYK" in note for note in read_header(tmp_path / f"ink{suffix}").notes)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".tif"])
def test_the_first_of_several_frames(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN, BLUE)]
    frames[0].save(
        tmp_path / f"film{suffix}",
        save_all=True,
        append_images=frames[1:],
        duration=50,
        **({"lossless": True} if suffix == ".webp" else {}),
    )
    assert np.asarray(read_rgb(tmp_path / f"film{suffix}"))[4, 4].tolist() == [*RED]
    assert any("first is used" in note for note in read_header(tmp_path / f"film{suffix}").notes)


def test_one_pixel(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (9, 8, 7)).save(tmp_path / "dot.png")
    assert np.asarray(read_rgb(tmp_path / "dot.png")).tolist() == [[[9, 8, 7]]]
    assert read_header(tmp_path / "dot.png").size == (1, 1)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "I;16", "1", "F"])
def test_large_pictures_are_shrunk_by_whole_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setattr(decoding, "SHRINK_FROM", 1000)
    monkeypatch.setattr("microtome.images.colours.STRIP_PIXELS", 400)
    ramp = np.repeat(np.repeat(np.arange(12, dtype=np.uint8).reshape(3, 4) * 20, 20, 0), 20, 1)
    grey = Image.fromarray(ramp)
    if mode == "I;16":
        grey = Image.fromarray(ramp.astype(np.uint16) * 257)
    elif mode != "L":
        grey = grey.point(lambda value: 255 if value > 99 else 0, "1") if mode == "1" else grey.convert(mode)
    grey.save(tmp_path / "big.tif")
    found = read_rgb(tmp_path / "big.tif", least=6)  # 60 rows: 10 times smaller
    assert found.size == (8, 6)
    expected = np.asarray(read_rgb(tmp_path / "big.tif"))[5::10, 5::10]
    assert np.array_equal(np.asarray(found), expected)
    assert read_rgb(tmp_path / "big.tif").size == (80, 60)


def test_large_jpegs_are_shrunk_while_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "SHRINK_FROM", 1000)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(quadrants(320, 480)).save(tmp_path / "big.jpg", quality=95, exif=exif)
    found = read_rgb(tmp_path / "big.jpg", least=40)
    assert found.size == (40, 60)
    assert corners(found) == SHOWN[6]


def png_header(cols: int, rows: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    line = b"\0" + b"\xff" * ((cols + 7) // 8)
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(line) for _ in range(rows)) + packer.flush()
    head = struct.pack(">IIBBBBB", cols, rows, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def test_two_hundred_megapixels_are_read_and_pillows_own_limit_is_left_as_it_was(tmp_path: Path) -> None:
    before = Image.MAX_IMAGE_PIXELS
    (tmp_path / "wide.png").write_bytes(png_header(20_000, 10_000))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_header(tmp_path / "wide.png").size == (10_000, 20_000)
        small = read_rgb(tmp_path / "wide.png", least=100)
    assert small.size == (200, 100)
    assert np.asarray(small).min() == 255
    assert before == Image.MAX_IMAGE_PIXELS


def test_above_the_limit_there_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "huge.png").write_bytes(
        png_header(20_000, 100).replace(struct.pack(">II", 20_000, 100), struct.pack(">II", 20_000, 20_000))
    )
    # the checksum of the header is now wrong as well, so a right one is needed to get as far as the size
    data = bytearray((tmp_path / "huge.png").read_bytes())
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    (tmp_path / "huge.png").write_bytes(bytes(data))
    with pytest.raises(ImagesError, match="400 megapixels, above the limit of 300"):
        read_header(tmp_path / "huge.png")


def test_pillows_limit_comes_back_when_threads_overlap(tmp_path: Path) -> None:
    before = Image.MAX_IMAGE_PIXELS
    Image.fromarray(quadrants()).save(tmp_path / "a.png")
    workers = [threading.Thread(target=lambda: [read_rgb(tmp_path / "a.png") for _ in range(20)]) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert before == Image.MAX_IMAGE_PIXELS


BROKEN = {
    "empty.jpg": (b"", "an empty file"),
    "text.jpg": (b"hello, I am a text file\n" * 20, "text, not an image"),
    "page.png": (b"<!DOCTYPE html><html></html>", "a web page"),
    "drawing.png": (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
    "phone.jpg": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), "HEIC"),
    "pointer.jpg": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "git lfs pull"),
    "zeros.png": (bytes(4096), "zero bytes"),
    "noise.png": (bytes(range(256)) * 8, "not an image of any format"),
    "script.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "text, not an image"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_picture_has_a_reason(tmp_path: Path, name: str) -> None:
    content, reason = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    for reading in (read_header, read_rgb, verify_whole, read_plane):
        with pytest.raises(ImagesError, match=reason) as caught:
            reading(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".bmp", ".tif", ".webp"])
def test_truncated_files(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / f"whole{suffix}")
    data = (tmp_path / f"whole{suffix}").read_bytes()
    verify_whole(tmp_path / f"whole{suffix}")
    (tmp_path / f"cut{suffix}").write_bytes(data[: len(data) // 2])
    with pytest.raises(ImagesError):
        verify_whole(tmp_path / f"cut{suffix}")
    with pytest.raises(ImagesError):
        read_rgb(tmp_path / f"cut{suffix}")


@pytest.mark.filterwarnings("ignore")
def test_random_damage_never_raises_anything_else(tmp_path: Path) -> None:
    draws = np.random.default_rng(1)
    noise = draws.integers(0, 256, (24, 24, 3), np.uint8)
    for suffix in (".jpg", ".png", ".gif", ".tif", ".webp", ".bmp", ".ppm", ".tga"):
        Image.fromarray(noise).save(tmp_path / f"a{suffix}")
        data = bytearray((tmp_path / f"a{suffix}").read_bytes())
        for trial in range(40):
            damaged = bytearray(data)
            for at in draws.integers(0, len(data) if trial % 2 else min(len(data), 64), 4):
                damaged[at] = draws.integers(0, 256)
            (tmp_path / f"b{suffix}").write_bytes(damaged)
            for reading in (read_header, read_rgb, verify_whole):
                with contextlib.suppress(ImagesError):
                    reading(tmp_path / f"b{suffix}")


def test_gone_and_forbidden(tmp_path: Path) -> None:
    with pytest.raises(ImagesError, match="has gone"):
        read_header(tmp_path / "not there.png")
    Image.new("RGB", (2, 2)).save(tmp_path / "locked.png")
    (tmp_path / "locked.png").chmod(0)
    if os.access(tmp_path / "locked.png", os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(ImagesError, match="permission denied"):
        read_header(tmp_path / "locked.png")
