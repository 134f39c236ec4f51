"""Why a file is not an image, from its first bytes and its error."""

from pathlib import Path

import pytest
from PIL import Image

from microtome.images.reasons import content_guess, error_reason, short_error


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (b"", "an empty file (0 bytes)"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC is not read"),
        (b"<?xml version='1.0'?><SVG xmlns=''>", "SVG is a drawing"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html>", "a web page"),
        (b"hello\n", "text, not"),
        (b"\0" * 40, "nothing but zero bytes"),
        (b"\x89PNG\r\n\x1a\n\0\0", ""),
        (b"\0\0\0\x18ftypavif\0\0\0\0", ""),
    ],
)
def test_what_the_first_bytes_betray(start: bytes, reason: str) -> None:
    found = content_guess(start)
    assert found.startswith(reason) and bool(found) == bool(reason)


def test_the_error_speaks_where_the_bytes_do_not(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    assert error_reason(file, ValueError("first\nsecond")) == "first"
    assert error_reason(file, PermissionError()) == "permission denied"
    assert error_reason(tmp_path / "gone.png", ValueError("x")) == "no such file or directory"
    assert error_reason(file, FileNotFoundError()) == "the file has gone"
    file.write_bytes(b"plain words")
    assert error_reason(file, ValueError("first")).startswith("text, not")


def test_short_errors() -> None:
    assert short_error(MemoryError()) == "too large for the memory"
    assert short_error(Image.UnidentifiedImageError("/secret/path")).startswith("not an image")
    assert short_error(ValueError()) == "ValueError" and len(short_error(ValueError("x" * 500))) == 120
