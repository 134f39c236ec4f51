"""Image files as RGB, whatever they are inside, or the one-line reason why not; read by Pillow alone.

What is decided here, and holds everywhere:

- EXIF orientation is applied: rows and columns are those of the image as displayed.
- Transparency (palette, RGBA, LA, a transparent colour) is laid on white.
- 16-bit grey is scaled by its full range, 65535, so that two files stay comparable; 16-bit colour by its high byte.
- 32-bit integers and floats: 0..1 (floats) is stretched to 0..255, 0..255 stays, 0..65535 (integers) is read as 16-bit;
  anything else is stretched from its own smallest to its own largest value; what is not finite becomes black.
- CMYK is converted without a colour profile; the inverted values of Adobe JPEGs are put right.
- Of an animated file, or one of several pages, the first frame is used.
- Up to `PIXEL_LIMIT` pixels are read; above it the file is refused with that reason.

Only raster formats are tried: PostScript and the like, which start other programs, are never opened.
"""

import struct
import threading
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageFile, ImageOps

from microtome.errors import ImagesError
from microtome.images.colours import has_transparency, to_rgb
from microtome.images.reasons import error_reason, short_error

PIXEL_LIMIT = 300_000_000
SHRINK_FROM = 16_000_000  # from this many pixels on, an image wanted small is shrunk while it is decoded
HUGE_PIXELS = 64_000_000  # images of this size are decoded one at a time
FORMATS = ["JPEG", "MPO", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "PPM", "JPEG2000", "TGA", "PCX", "QOI", "SGI"]
SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".avif"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx", ".tga", ".pcx", ".qoi", ".sgi", ".npy", ".npz"),
    )
)
ORIENTATION = 0x0112
METADATA = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")  # where Pillow looks for an orientation

# What Pillow's readers raise on damaged bytes, beside its own errors (which are OSError and SyntaxError).
DECODING_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    EOFError,
    struct.error,
    zlib.error,
)

_limit = threading.Lock()
_threads_inside = 0
_process_limit: int | None = None
_huge_lock = threading.Lock()


@dataclass(frozen=True)
class Header:
    """The header of an image file: displayed and stored (rows, cols), EXIF orientation 1..8, notes, and the number of bands."""

    size: tuple[int, int]
    stored: tuple[int, int]
    orientation: int
    notes: tuple[str, ...]
    bands: int = 0  # of a file that holds bands instead of colours


def read_header(path: Path) -> Header:
    """The header of one file, its pixels undecoded.

    Raises:
        ImagesError: with the reason alone, in a few words.
    """
    with _open_file(path) as picture:
        orientation = _orientation(picture, decoded=False)
        cols, rows = picture.size
        if picture.format == "TIFF" and orientation > 4:  # Pillow turns these itself, at a moment that differs by version
            _load(path, picture)
            cols, rows = picture.size
            return Header((rows, cols), (cols, rows), orientation, _header_notes(picture, orientation))
        size = (cols, rows) if orientation > 4 else (rows, cols)
        return Header(size, (rows, cols), orientation, _header_notes(picture, orientation))


def read_rgb(path: Path, least: int | None = None) -> Image.Image:
    """The image as displayed, RGB, 8 bits.

    `least`: pixels that the short side must keep; an image above `SHRINK_FROM` pixels is then shrunk while it is decoded, which
    spares most of the memory (exactly by powers of two for JPEG, by a whole-number box average for the others).

    Raises:
        ImagesError: with the reason alone, in a few words.
    """
    with _open_file(path) as picture, _one_at_a_time(picture):
        large = picture.width * picture.height > SHRINK_FROM
        if large and least and picture.format in ("JPEG", "MPO"):
            picture.draft(picture.mode, (least, least))
        _load(path, picture)
        orientation = _orientation(picture, decoded=True)
        factor = min(picture.size) // least if large and least else 1
        try:
            shown = to_rgb(picture, max(factor, 1))
        except Exception as error:
            raise ImagesError(f"cannot be turned into RGB ({short_error(error)})") from error
    return turn_upright(shown, orientation)


def verify_whole(path: Path) -> None:
    """Decode every byte of the file (JPEG at an eighth of its size, which reads all of it and is fast).

    Raises:
        ImagesError: with the reason alone, in a few words.
    """
    with _open_file(path) as picture, _one_at_a_time(picture):
        picture.draft(picture.mode, (1, 1))
        _load(path, picture)


def read_plane(path: Path) -> Image.Image:
    """A mask or label-map file as stored: its own mode, loaded, and turned by its own EXIF orientation.

    Raises:
        ImagesError: with the reason alone, in a few words.
    """
    with _open_file(path) as picture, _one_at_a_time(picture):
        _load(path, picture)
        orientation = _orientation(picture, decoded=True)
        stored = picture.copy()
        kind = picture.format
    turned = turn_upright(stored, orientation)
    turned.format = kind
    return turned


def turn_upright(picture: Image.Image, orientation: int) -> Image.Image:
    """The image as displayed, by Pillow's `exif_transpose`; it loses its EXIF and XMP blocks, which may be damaged, if it is turned."""
    if orientation == 1:
        return picture
    for name in METADATA:
        picture.info.pop(name, None)
    picture.getexif()[ORIENTATION] = orientation
    return ImageOps.exif_transpose(picture)


@contextmanager
def _open_file(path: Path) -> Generator[ImageFile.ImageFile]:
    with _own_pixel_limit():
        try:
            picture = Image.open(path, formats=_supported_formats())
        except Exception as error:
            raise ImagesError(error_reason(path, error)) from error
        with picture:
            if (pixels := picture.width * picture.height) > PIXEL_LIMIT:
                raise ImagesError(f"{pixels / 1e6:.0f} megapixels, above the limit of {PIXEL_LIMIT / 1e6:.0f}")
            yield picture


@cache
def _supported_formats() -> list[str]:
    """Those of `FORMATS` that this Pillow was built with."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _load(path: Path, picture: ImageFile.ImageFile) -> None:
    try:
        picture.load()
    except Exception as error:
        raise ImagesError(error_reason(path, error)) from error


@contextmanager
def _own_pixel_limit() -> Generator[None]:
    """Pillow's own limit is a variable of the whole process: put aside while any thread is in here, then put back."""
    global _threads_inside, _process_limit
    with _limit:
        if _threads_inside == 0:
            _process_limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        _threads_inside += 1
    try:
        yield
    finally:
        with _limit:
            _threads_inside -= 1
            if _threads_inside == 0:
                Image.MAX_IMAGE_PIXELS = _process_limit


@contextmanager
def _one_at_a_time(picture: ImageFile.ImageFile) -> Generator[None]:
    if picture.width * picture.height < HUGE_PIXELS:
        yield
        return
    with _huge_lock:
        yield


def _orientation(picture: ImageFile.ImageFile, *, decoded: bool) -> int:
    """EXIF orientation, 1 where there is none or the block is damaged: a bad note about an image is no reason to lose it."""
    if picture.format == "PNG" and not decoded and "exif" not in picture.info:
        return 1  # asking would decode the whole file
    if picture.format == "TIFF" and decoded:
        return 1  # Pillow has applied it
    try:
        given = picture.getexif().get(ORIENTATION, 1)
    except DECODING_ERRORS:
        return 1
    return given if isinstance(given, int) and 1 <= given <= 8 else 1


def _header_notes(picture: ImageFile.ImageFile, orientation: int) -> tuple[str, ...]:
    notes: list[str] = []
    if _has_more_frames(picture):
        notes.append("of several frames: the first is used")
    if has_transparency(picture):
        notes.append("transparent: laid on white")
    if picture.mode.startswith("I;16"):
        notes.append("16-bit grey: scaled by 65535")
    elif picture.mode in ("I", "F"):
        notes.append("32-bit: scaled to 8 bits")
    if picture.mode == "CMYK":
        notes.append("CMYK: converted without a colour profile")
    if orientation > 1:
        notes.append("turned as its EXIF orientation says")
    return tuple(notes)


def _has_more_frames(picture: ImageFile.ImageFile) -> bool:
    """Whether there are further frames; a damaged second one is none, for only the first is wanted."""
    try:
        return bool(getattr(picture, "is_animated", False))
    except DECODING_ERRORS:
        return False
