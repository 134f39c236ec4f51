"""Short reasons why a file is not an image, with a remedy."""

from pathlib import Path

from PIL import Image

UNREADABLE = {
    ".heic": "HEIC is not read: save it as JPEG or PNG",
    ".heif": "HEIF is not read: save it as JPEG or PNG",
    ".jxl": "JPEG XL is not read: save it as PNG",
    ".svg": "SVG is a drawing, not pixels: export it as PNG",
    ".svgz": "SVG is a drawing, not pixels: export it as PNG",
    ".psd": "Photoshop files are not read: export it as PNG",
    ".exr": "OpenEXR is not read: save it as 32-bit TIFF",
    ".eps": "PostScript is a drawing, not pixels: export it as PNG",
    ".dcm": "DICOM is not read: save it as 16-bit PNG",
    **dict.fromkeys(
        [".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2"], "camera raw files are not read: save it as JPEG or TIFF"
    ),
}


def error_reason(path: Path, error: Exception) -> str:
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
        return short_error(refusal)
    return content_guess(start) or short_error(error)


def content_guess(start: bytes) -> str:
    """What the first bytes betray, or an empty text."""
    if not start:
        return "an empty file (0 bytes)"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the image itself: run git lfs pull"
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heim"):
        return UNREADABLE[".heic"]
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in text:
        return UNREADABLE[".svg"]
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page, not an image"
    if text and all(byte in b"\t\n\r" or byte >= 32 for byte in start) and start.isascii():
        return "text, not an image"
    if not start.strip(b"\0"):
        return "nothing but zero bytes"
    return ""


def short_error(error: BaseException) -> str:
    """The first line of an error, short, and without the path that the caller names anyway."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image of any format that is read here"
    if isinstance(error, MemoryError):
        return "too large for the memory"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    words = str(error).strip().splitlines()
    return (words[0][:120] if words else type(error).__name__) or type(error).__name__
