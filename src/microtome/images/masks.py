"""Mask files: which one belongs to which image, and which of its pixels are the object.

What counts as object: any pixel that is not zero (and not transparent); in a JPEG, whose black is never quite black, any
pixel of at least half brightness; in a palette file any index but 0, unless the palette paints index 0 bright. With class
numbers (`masks="label:8,9"`) the file is a label map and the object is where the stored number, in a palette file the
palette's index, is one of them.

A mask is in the orientation of the image as displayed. Where an EXIF turn swaps rows and columns and the mask has the size
of the image as stored, the mask is turned with the image.
"""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from PIL import Image

from microtome.errors import ImagesError, did_you_mean
from microtome.images.decoding import Header, read_plane, turn_upright
from microtome.images.decoding import read_header as read_header
from microtome.images.listing import (
    MASK_FOLDERS,
    MASK_SUFFIXES,
    PLAIN_MASK_FOLDERS,
    SUFFIXES,
    Listing,
    is_system_path,
    name_key,
)

Mask = npt.NDArray[np.bool_]
VOID = 255  # the number that PASCAL VOC and most label maps give to pixels that belong to no class
VOC_VOID_COLOUR = (224, 224, 192)
MOST_CLASSES = 150  # the largest class number of a grey label map (ADE20K has 150); a soft mask has values above


@dataclass(frozen=True)
class MaskFile:
    """A mask file, and the class numbers that are the object in it (None: all but black)."""

    path: Path
    ids: frozenset[int] | None = None

    def mask(self, header: Header) -> Mask:
        """The mask (row, col) of the image with that header, as displayed.

        Raises:
            ImagesError: with the reason alone: the file cannot be read, or has another size than the image.
        """
        try:
            picture = read_plane(self.path)
        except ImagesError as error:
            raise ImagesError(f"its mask {self.path.name} cannot be used: {error}") from error
        return orient_mask(self._object(picture), header, f"its mask {self.path.name}")

    def fits(self, header: Header) -> None:
        """Check that the file's own header gives the size of the image with that header.

        Raises:
            ImagesError: with the reason alone.
        """
        try:
            own = read_header(self.path)
        except ImagesError as error:
            raise ImagesError(f"its mask {self.path.name} cannot be used: {error}") from error
        if own.size not in (header.size, header.stored):
            raise _misfit_error(own.size, header, f"its mask {self.path.name}")

    def _object(self, picture: Image.Image) -> Mask:
        if self.ids is not None:
            values = np.asarray(picture.convert("L") if picture.mode == "1" else picture)
            if values.ndim != 2:
                raise ImagesError(f"its mask {self.path.name} is a colour image, not a label map of class numbers")
            return np.isin(values // 255 if picture.mode == "1" else values, sorted(self.ids))
        if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
            return np.asarray(picture) != 0
        if picture.mode == "L" and picture.format not in ("JPEG", "MPO"):
            return _grey_mask(np.asarray(picture))
        if picture.mode == "RGB" or picture.mode in ("L", "1") or picture.mode == "CMYK":
            values: npt.NDArray[np.uint8] = np.asarray(picture.convert("RGB") if picture.mode == "CMYK" else picture)
            bright = values >= 128 if picture.format in ("JPEG", "MPO") else values != 0
            return np.asarray(bright.any(axis=2) if bright.ndim == 3 else bright, bool)
        if picture.mode == "P" and "transparency" not in picture.info:
            return _palette_mask(picture)
        values = np.asarray(picture.convert("RGBA"))
        opaque = values[..., 3] > 0
        coloured = values[..., :3].any(axis=2)
        return opaque & coloured if coloured.any() else opaque & ~opaque.all()


def _palette_mask(picture: Image.Image) -> Mask:
    """All but index 0 and VOC's void; where the palette paints index 0 bright, all that is not nearly black."""
    indices = np.asarray(picture)
    palette = np.array(picture.getpalette() or [], np.uint8).reshape(-1, 3)
    void = indices == VOID
    if not (len(palette) > VOID and tuple(palette[VOID]) == VOC_VOID_COLOUR) and not ((indices > 0) & ~void).any():
        void = np.zeros_like(void)  # 0 and 255 alone: a mask of two values
    if len(palette) == 0 or palette[0].max() < 128:
        return (indices != 0) & ~void
    return np.asarray((palette.max(axis=1) >= 16)[indices] & ~void)


def _grey_mask(values: npt.NDArray[np.uint8]) -> Mask:
    """All but 0; in a map of class numbers (small numbers, and 255 on fewer pixels than they) also all but 255, which is void."""
    counts = np.bincount(values.ravel(), minlength=256)
    classes = int(counts[1 : MOST_CLASSES + 1].sum())
    is_map = classes > counts[VOID] > 0 and not counts[MOST_CLASSES + 1 : VOID].any()
    return (values != 0) & (values != VOID) if is_map else values != 0


def orient_mask(mask: Mask, header: Header, what: str) -> Mask:
    """The mask in the displayed orientation of its image.

    Raises:
        ImagesError: with the reason alone: it has neither the displayed nor the stored size.
    """
    if mask.shape == header.size:
        return mask
    if mask.shape == header.stored:
        return np.asarray(turn_upright(Image.fromarray(mask.astype(np.uint8)), header.orientation)).astype(bool)
    raise _misfit_error((mask.shape[0], mask.shape[1]), header, what)


def _misfit_error(size: tuple[int, int], header: Header, what: str) -> ImagesError:
    return ImagesError(f"{what} has {size[0]}×{size[1]} pixels (rows × columns), the image {header.size[0]}×{header.size[1]}")


def find_mask_files(place: Listing, wanted: str) -> list[MaskFile | None]:
    """For each listed image its mask file, or None.

    `wanted`: "auto", "none", or the path of a folder (or of one file, for one image), with class numbers after a colon if the
    files are label maps: "label:8,9"; "auto:8,9" takes the folder found and these classes.

    Raises:
        ImagesError: the path is not there, or none of its files belongs to an image.
    """
    if wanted == "none":
        return [None] * len(place.names)
    where, ids = _split_masks(wanted)
    if where == "auto":
        mask_files = _masks_beside(place) if place.kind == "file" else _automatic_masks(place)
    else:
        mask_files = _masks_at(place, where)
    if wanted != "auto" and not any(mask_files):
        raise ImagesError(
            f"No mask at '{where}' belongs to an image of '{place.root}': a mask has the name of its image, "
            f"such as '{PurePosixPath(place.names[0]).stem}.png' or '{PurePosixPath(place.names[0]).stem}_mask.png'."
        )
    return [MaskFile(path, ids) if path else None for path in mask_files]


def _split_masks(wanted: str) -> tuple[str, frozenset[int] | None]:
    match = re.fullmatch(r"(.*):(\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*)", wanted)
    if not match or Path(wanted).exists():
        return wanted, None
    ids: set[int] = set()
    for part in match.group(2).split(","):
        low, _, high = part.partition("-")
        ids.update(range(int(low), int(high or low) + 1))
    return match.group(1) or "auto", frozenset(ids)


def _masks_beside(place: Listing) -> list[Path | None]:
    folders: dict[Path, dict[str, Path]] = {}
    files: list[Path | None] = []
    for name in place.names:
        picture = place.root / name
        if picture.parent not in folders:
            folders[picture.parent] = _images_by_stem(picture.parent)
        inside = folders[picture.parent]
        files.append(next((inside[picture.stem + end] for end in MASK_SUFFIXES if picture.stem + end in inside), None))
    return files


def _images_by_stem(folder: Path) -> dict[str, Path]:
    files = sorted((path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES), key=lambda path: name_key(path.name))
    return {file.stem: file for file in reversed(files) if not is_system_path(file.name)}


def _automatic_masks(place: Listing) -> list[Path | None]:
    masks = _masks_beside(place)
    parents = dict.fromkeys((*place.folders, *place.around))
    holding = {above.resolve() for folder in place.folders for above in (folder, *folder.parents)}
    for parent in parents:
        for folder in sorted(parent.iterdir(), key=lambda path: name_key(path.name)):
            if folder.name.lower() in MASK_FOLDERS and folder.is_dir() and folder.resolve() not in holding:
                more = _masks_from_folder(place, folder, parent, loose=False)
                masks = [mask or other for mask, other in zip(masks, more, strict=True)]
    return masks


def _masks_at(place: Listing, where: str) -> list[Path | None]:
    for candidate in (Path(where).expanduser(), *(folder / where for folder in place.around)):
        if candidate.is_dir():
            return _masks_from_folder(place, candidate, candidate.parent, loose=True)
        if candidate.is_file():
            if len(place.names) == 1:
                return [candidate]
            raise ImagesError(f"'{where}' is one mask for {len(place.names)} images; give the folder that holds their masks.")
    near = [entry.name for folder in place.around for entry in folder.iterdir() if entry.is_dir()]
    raise ImagesError(
        f"There are no masks at '{where}'; give masks='auto', 'none' or a folder of masks."
        + did_you_mean(Path(where).name, near)
    )


def _masks_from_folder(place: Listing, folder: Path, parent: Path, *, loose: bool) -> list[Path | None]:
    """For each image the file of a mask folder: same path below it, then same name; `loose`: then same first word (01_…)."""
    files = sorted(
        (
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in SUFFIXES and not is_system_path(path.relative_to(folder).as_posix())
        ),
        key=lambda path: name_key(path.as_posix()),
    )
    by_path: dict[str, Path] = {}
    by_stem: dict[str, Path] = {}
    for file in reversed(files):
        inner = file.relative_to(folder).with_suffix("").as_posix()
        for end in ("", *PLAIN_MASK_FOLDERS):
            if inner.endswith(end):
                by_path[inner.removesuffix(end)] = file
                by_stem[PurePosixPath(inner).name.removesuffix(end)] = file
    stems = Counter(PurePosixPath(name).stem for name in place.names)
    words = Counter(_first_word(name) for name in place.names)
    by_word = Counter(_first_word(file.name) for file in files)
    first = {_first_word(file.name): file for file in files}
    mask_files: list[Path | None] = []
    for name in place.names:
        stem = PurePosixPath(name).stem
        inner = [name[len(place.base) :], name]
        full = place.root / name
        if full.is_relative_to(parent):
            inner.append(full.relative_to(parent).as_posix())
        path = next((by_path[key] for name in inner if (key := str(PurePosixPath(name).with_suffix(""))) in by_path), None)
        if path is None and stems[stem] == 1:
            path = by_stem.get(stem)
        if path is None and loose and words[_first_word(name)] == 1 and by_word[_first_word(name)] == 1:
            path = first[_first_word(name)]
        mask_files.append(path)
    return mask_files


def _first_word(name: str) -> str:
    return re.split(r"[_.\s-]", PurePosixPath(name).name, maxsplit=1)[0]
