"""Picture files as RGB, whatever they are inside, or the one-line reason why not; read by Pillow alone.

What is decided here, and holds everywhere:

- EXIF orientation is applied: rows and columns are those of the picture as displayed.
- Transparency (palette, RGBA, LA, a transparent colour) is laid on white.
- 16-bit grey is scaled by its full range, 65535, so that two files stay comparable; 16-bit colour by its high byte.
- 32-bit integers and floats: 0..1 (floats) is stretched to 0..255, 0..255 stays, 0..65535 (integers) is read as 16-bit, anything
  else is stretched from its own smallest to its own largest value; what is not finite becomes black.
- CMYK is converted without a colour profile; the inverted values of Adobe JPEGs are put right.
- Of an animated file the first frame is used.
- Up to `PIXEL_LIMIT` pixels are read; above it the file is refused with that reason.

Only raster formats are tried: PostScript and the like, which start other programs, are never opened.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from microtome.errors import ImagesError

PIXEL_LIMIT = 300_000_000
LEAN = 16_000_000  # from this many pixels on, a picture wanted small is shrunk while it is decoded
HUGE = 64_000_000  # pictures of this size are decoded one at a time
FORMATS = [
    "JPEG",
    "MPO",
    "PNG",
    "GIF",
    "BMP",
    "DIB",
    "TIFF",
    "WEBP",
    "AVIF",
    "PPM",
    "JPEG2000",
    "TGA",
    "PCX",
    "ICO",
    "QOI",
    "SGI",
]
SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".apng",
        ".gif",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
        ".webp",
        ".avif",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".jp2",
        ".j2k",
        ".jpx",
        ".tga",
        ".pcx",
        ".qoi",
        ".sgi",
        ".mpo",
    ]
)
UNREADABLE = {
    ".heic": "HEIC is not read: save it as JPEG or PNG",
    ".heif": "HEIF is not read: save it as JPEG or PNG",
    ".jxl": "JPEG XL is not read: save it as PNG",
    ".svg": "SVG is a drawing, not pixels: export it as PNG",
    ".svgz": "SVG is a drawing, not pixels: export it as PNG",
    ".psd": "Photoshop files are not read: export it as PNG",
    ".exr": "OpenEXR is not read: save it as 32-bit TIFF",
    ".dcm": "DICOM is not read: save it as 16-bit PNG",
    **dict.fromkeys(
        [".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2"], "camera raw files are not read: save it as JPEG or TIFF"
    ),
}
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ORIENTATION = 0x0112

_limit = threading.Lock()
_inside = 0
_given: int | None = None
_one_huge = threading.Lock()


@dataclass(frozen=True)
class Header:
    """What a picture file says of itself: displayed and stored (rows, cols), EXIF orientation 1..8, and things worth a note."""

    size: tuple[int, int]
    stored: tuple[int, int]
    orientation: int
    notes: tuple[str, ...]


def header(path: Path) -> Header:
    """The header of one file, its pixels undecoded.

    Raises:
        ImagesError: with the reason alone, in a few words.
    """
    with _opened(path) as picture:
        orientation = _orientation(picture, decoded=False)
        cols, rows = picture.size
        if picture.format == "TIFF" and orientation > 4:  # Pillow turns these itself, at a moment that differs by version
            _load(path, picture)
            cols, rows = picture.size
            return Header((rows, cols), (cols, rows), orientation, _notes(picture, orientation))
        size = (cols, rows) if orientation > 4 else (rows, cols)
        return Header(size, (rows, cols), orientation, _notes(picture, orientation))


def rgb(path: Path, least: int | None = None) -> Image.Image:
    """The picture as displayed, RGB, 8 bits.

    `least`: pixels that the short side must keep; a picture above `LEAN` pixels is then shrunk while it is decoded, which spares
    most of the memory (exactly by powers of two for JPEG, by a whole-number box average for the others).

    Raises:
        ImagesError: with the reason alone, in a few words.
    """
    with _opened(path) as picture, _alone(picture):
        large = picture.width * picture.height > LEAN
        if large and least and picture.format in ("JPEG", "MPO"):
            picture.draft(picture.mode, (least, least))
        _load(path, picture)
        orientation = _orientation(picture, decoded=True)
        factor = min(picture.size) // least if large and least else 1
        try:
            shown = _eight_bits(picture, max(factor, 1))
        except Exception as error:
            raise ImagesError(f"cannot be turned into RGB ({_short(error)})") from error
    return shown.transpose(TURNS[orientation]) if orientation in TURNS else shown


def whole(path: Path) -> None:
    """Nothing, once every byte of the file has been decoded (JPEG at an eighth of its size, which reads all of it and is fast).

    Raises:
        ImagesError: with the reason alone, in a few words.
    """
    with _opened(path) as picture, _alone(picture):
        picture.draft(picture.mode, (1, 1))
        _load(path, picture)


def plane(path: Path) -> Image.Image:
    """A mask or label-map file as stored: its own mode, loaded, and turned by its own EXIF orientation.

    Raises:
        ImagesError: with the reason alone, in a few words.
    """
    with _opened(path) as picture, _alone(picture):
        _load(path, picture)
        orientation = _orientation(picture, decoded=True)
        stored = picture.copy()
        stored.format = picture.format
    if orientation not in TURNS:
        return stored
    turned = stored.transpose(TURNS[orientation])
    turned.format = stored.format
    return turned


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    with _own_pixel_limit():
        try:
            picture = Image.open(path, formats=_formats())
        except Exception as error:
            raise ImagesError(_why(path, error)) from error
        with picture:
            if picture.width * picture.height > PIXEL_LIMIT:
                raise ImagesError(
                    f"{picture.width * picture.height / 1e6:.0f} megapixels, above the limit of {PIXEL_LIMIT / 1e6:.0f}"
                )
            yield picture


@cache
def _formats() -> list[str]:
    """Those of `FORMATS` that this Pillow was built with."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _load(path: Path, picture: ImageFile.ImageFile) -> None:
    try:
        picture.load()
    except Exception as error:
        raise ImagesError(_why(path, error)) from error


@contextmanager
def _own_pixel_limit() -> Iterator[None]:
    """Pillow's own limit is a variable of the whole process: put aside while any thread is in here, then put back."""
    global _inside, _given
    with _limit:
        if _inside == 0:
            _given, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        _inside += 1
    try:
        yield
    finally:
        with _limit:
            _inside -= 1
            if _inside == 0:
                Image.MAX_IMAGE_PIXELS = _given


@contextmanager
def _alone(picture: ImageFile.ImageFile) -> Iterator[None]:
    if picture.width * picture.height < HUGE:
        yield
        return
    with _one_huge:
        yield


def _orientation(picture: ImageFile.ImageFile, *, decoded: bool) -> int:
    """EXIF orientation, 1 where there is none or the block is damaged: a bad note about a picture is no reason to lose it."""
    if picture.format == "PNG" and not decoded and "exif" not in picture.info:
        return 1  # asking would decode the whole file
    if picture.format == "TIFF" and decoded:
        return 1  # Pillow has applied it
    try:
        given = picture.getexif().get(ORIENTATION, 1)
    except Exception:
        return 1
    return given if isinstance(given, int) and given in TURNS else 1


def _notes(picture: ImageFile.ImageFile, orientation: int) -> tuple[str, ...]:
    found: list[str] = []
    if getattr(picture, "is_animated", False):
        found.append("animated: the first frame is used")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        found.append("transparent: laid on white")
    if picture.mode.startswith("I;16"):
        found.append("16-bit grey: scaled by 65535")
    elif picture.mode in ("I", "F"):
        found.append("32-bit: scaled to 8 bits")
    if picture.mode == "CMYK":
        found.append("CMYK: converted without a colour profile")
    if orientation > 1:
        found.append("turned as its EXIF orientation says")
    return tuple(found)


def _eight_bits(picture: Image.Image, factor: int) -> Image.Image:
    """The loaded picture as RGB, `factor` times smaller."""
    mode = picture.mode
    if factor > 1 and mode in ("L", "RGB", "CMYK", "YCbCr"):
        picture, factor = picture.reduce(factor), 1
    if mode.startswith("I;16") or mode in ("I", "F"):
        shown = Image.fromarray(grey(np.asarray(picture))).convert("RGB")
    elif mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        shown = _on_white(picture)
    elif mode == "RGB":
        shown = picture.copy() if isinstance(picture, ImageFile.ImageFile) else picture
    else:
        shown = picture.convert("RGB")
    return shown.reduce(factor) if factor > 1 else shown


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode in ("La", "RGBa"):
        picture = picture.convert(picture.mode.replace("a", "A"))
    clear = picture if picture.mode == "RGBA" else picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")


def grey(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Grey levels 0..255 (row, col) of 16-bit or 32-bit values (row, col), by the rule in this file's docstring."""
    if values.dtype.kind in "iu" and values.dtype.itemsize == 2:
        levels = (np.arange(65536, dtype=np.uint32) * 255 + 32767) // 65535
        return levels.astype(np.uint8)[values.astype(np.uint16, copy=False)]
    finite = np.isfinite(values)
    inside = values[finite]
    if inside.size == 0:
        return np.zeros(values.shape, np.uint8)
    low, high = float(inside.min()), float(inside.max())
    if values.dtype.kind in "iu" and low >= 0 and 255 < high <= 65535:
        low, high = 0.0, 65535.0
    elif values.dtype.kind == "f" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    span = (high - low) or 1.0
    scaled = (np.where(finite, values, low).astype(np.float64) - low) / span
    return np.rint(scaled * 255).astype(np.uint8)


def _why(path: Path, error: Exception) -> str:
    """A few words on why a file would not open or load."""
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, FileNotFoundError):
        return "the file has gone"
    if isinstance(error, IsADirectoryError):
        return "a folder, not a file"
    try:
        with path.open("rb") as stream:
            start = stream.read(512)
    except OSError as refusal:
        return _short(refusal)
    return _by_its_start(start) or _short(error)


def _by_its_start(start: bytes) -> str:
    """What the first bytes betray, or an empty text."""
    if not start:
        return "an empty file (0 bytes)"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the picture itself: run git lfs pull"
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heim"):
        return UNREADABLE[".heic"]
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in text:
        return UNREADABLE[".svg"]
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page, not a picture"
    if text and all(byte in b"\t\n\r" or 32 <= byte for byte in start) and start.isascii():
        return "text, not a picture"
    if not start.strip(b"\0"):
        return "nothing but zero bytes"
    return ""


def _short(error: BaseException) -> str:
    """The first line of an error, short, and without the path that the caller names anyway."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "not a picture of any format that is read here"
    if isinstance(error, MemoryError):
        return "too large for the memory"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    words = str(error).strip().splitlines()
    return (words[0][:120] if words else type(error).__name__) or type(error).__name__
