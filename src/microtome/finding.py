"""A finding: named arrays, key numbers, panels that show them, one headline, and where it came from.

On disk a finding is a folder: `arrays.safetensors` (numbers) and `finding.json` (all the rest, with the checksum of the arrays),
written last and renamed into place: a folder without it does not count. Reading one needs numpy and xarray, never torch.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from safetensors.numpy import load_file, save

from microtome.atomic_write import atomic_folder
from microtome.errors import FindingError, UnknownName, did_you_mean, hint, rerun_hint
from microtome.key_numbers import KeyNumber
from microtome.panels import Panel, panel_from_json, panel_to_json

FORMAT = 2  # 1 had a "line" instead of the headline, and no key numbers
ARRAYS = "arrays.safetensors"
CARD = "finding.json"
DIMENSIONS = frozenset(
    [
        "image",
        "layer",
        "unit",
        "row",
        "col",
        "rgb",
        "bin",
        "rank",
        "class",
        "severity",
        "corruption",
        "warp",
        "amount",
        "checkpoint",
        "claim",
        "concept",
        "block",
        "pair",
        "measure",
        "axis",
        "branch",
        "head",
        "size",
        "clutter",
        "specimen",
        "criterion",
        "method",
        "part",
        "scale",
        "frequency",
        "source",
        "target",
        "repair",
        "stage",
        "groups",
        "finding",
        "fraction",
        "twin",
        "candidate",
        "variant",
        "seed",
        "epoch",
    ]
)  # docs/glossary.md says what each stands for
_registered: set[str] = set()  # by plug-ins


def register_dimension(name: str) -> None:
    """Let arrays have a dimension of that name; for plug-ins whose axes the glossary has no word for.

    Raises:
        FindingError: the name is not lower-case letters, or ends in an underscore.
    """
    if not (name.isascii() and name.replace("_", "").isalpha() and name.islower() and not name.endswith("_")):
        raise FindingError(f"'{name}' cannot name a dimension; use lower-case letters, for example 'keypoint'.")
    _registered.add(name)


def known_dimensions() -> frozenset[str]:
    """The dimension names that arrays may have: those of the glossary and the registered ones."""
    return DIMENSIONS | _registered


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one analysis found on one specimen.

    `arrays` maps names to `xarray.DataArray` whose dimensions are words of `DIMENSIONS` (a second axis of the same kind ends in
    an underscore) and whose `attrs["unit"]` says what is counted. `key_numbers` are what a reader compares between networks, the
    leading one first. `origin` holds plain JSON values: specimen, images, options, facts found while measuring, versions, device.
    `caveats` are printed beside the figures.
    """

    analysis: str
    arrays: Mapping[str, xr.DataArray]
    panels: tuple[Panel, ...] = ()
    key_numbers: tuple[KeyNumber, ...] = ()
    headline: str = ""
    caveats: tuple[str, ...] = ()
    title: str = ""
    summary: str = ""
    source: str = ""
    question: str = "understand"
    origin: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        for name, array in self.arrays.items():
            _check(self.analysis, name, array)
        for panel in self.panels:
            for name in panel.arrays():
                if name not in self.arrays:
                    raise FindingError(
                        f"{self.analysis}: panel '{panel.title}' wants the array '{name}'." + did_you_mean(name, self.arrays)
                    )

    def __getitem__(self, name: str) -> xr.DataArray:
        """The array of that name.

        Raises:
            UnknownName: there is none; the nearest is named.
        """
        if name not in self.arrays:
            raise UnknownName(f"The finding '{self.analysis}' has no array '{name}'." + did_you_mean(name, self.arrays))
        return self.arrays[name]

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def key(self, name: str) -> KeyNumber:
        """The key number of that name.

        Raises:
            UnknownName: there is none; the nearest is named.
        """
        known = {number.name: number for number in self.key_numbers}
        if name not in known:
            raise UnknownName(f"The finding '{self.analysis}' has no key number '{name}'." + did_you_mean(name, known))
        return known[name]

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}{tuple(array.sizes.values())}" for name, array in list(self.arrays.items())[:6])
        return f"<Finding {self.analysis}: {self.headline or 'no headline'} [{shapes}]>"

    @property
    def specimen(self) -> str:
        """The specimen's name, or an empty text for a finding over several."""
        return str(self.origin.get("specimen", {}).get("name", ""))

    @property
    def trained(self) -> bool | None:
        """Whether the weights are trained; None if unknown."""
        return self.origin.get("specimen", {}).get("trained")

    @property
    def facts(self) -> Mapping[str, Any]:
        """Plain values found while measuring: which layer was chosen, which class was asked about, what was left out and why."""
        return self.origin.get("facts", {})

    @property
    def options(self) -> Mapping[str, Any]:
        """The options that the analysis was made with."""
        return self.origin.get("options", {})

    def figure(self, panel: int | str | None = None) -> Any:
        """A matplotlib Figure of one panel (by position or title) or, without an argument, of the first; for papers.

        Raises:
            UnknownName: no panel of that title or position.
        """
        from microtome.figures import draw_panel  # matplotlib only when a figure is asked for

        return draw_panel(self.arrays, self._panel(panel))

    def _panel(self, wanted: int | str | None) -> Panel:
        """The panel of that position or title, the first by default."""
        if not self.panels:
            raise UnknownName(
                f"The finding '{self.analysis}' has no panels to draw; read its arrays: {', '.join(self.arrays)}."
            )
        titles = [panel.title for panel in self.panels]
        if isinstance(wanted, str):
            if wanted not in titles:
                raise UnknownName(f"The finding '{self.analysis}' has no panel '{wanted}'." + did_you_mean(wanted, titles))
            return self.panels[titles.index(wanted)]
        position = wanted or 0
        if not -len(titles) <= position < len(titles):
            raise UnknownName(
                f"The finding '{self.analysis}' has no panel {position}: give a number from 0 to {len(titles) - 1}, or a title."
                + did_you_mean(str(position), titles)
            )
        return self.panels[position]

    def figures(self) -> dict[str, Any]:
        """One matplotlib Figure for each panel, by title."""
        return {panel.title: self.figure(place) for place, panel in enumerate(self.panels)}

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the finding as `folder`, atomically: either the whole of it is there afterwards or the old one still is.

        Raises:
            WriteError: the disk is full or the folder is not writable.
        """
        folder = Path(folder)
        numbers = {name: _numeric(array) for name, array in self.arrays.items() if array.dtype.kind not in "UO"}
        payload = save(numbers)
        card = self._card() | {"files": {ARRAYS: {"sha256": hashlib.sha256(payload).hexdigest(), "bytes": len(payload)}}}
        text = json.dumps(card, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        with atomic_folder(
            folder, f"Earlier findings are safe. Free some space, or name another {hint('--out', 'folder')}."
        ) as scratch:
            (scratch / ARRAYS).write_bytes(payload)
            (scratch / CARD).write_text(text, encoding="utf-8", newline="\n")
        return folder

    def _card(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "analysis": self.analysis,
            "title": self.title or self.analysis,
            "summary": self.summary,
            "source": self.source,
            "question": self.question,
            "headline": self.headline,
            "key_numbers": [number.json() for number in self.key_numbers],
            "caveats": list(self.caveats),
            "panels": [panel_to_json(panel) for panel in self.panels],
            "arrays": {name: _described(array) for name, array in self.arrays.items()},
            "origin": plain(self.origin),
            "dimensions": sorted({str(dim).rstrip("_") for array in self.arrays.values() for dim in array.dims} - DIMENSIONS),
        }

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "Finding":
        """Read a finding back.

        Raises:
            FindingError: the folder holds none, or its arrays do not match their checksum.
        """
        folder = Path(folder)
        content = card(folder)
        path = folder / ARRAYS
        try:
            payload = path.read_bytes()
        except OSError as error:
            raise FindingError(f"{path} cannot be read ({error.strerror}). Measure again: {rerun_hint(folder)}") from None
        if hashlib.sha256(payload).hexdigest() != content["files"][ARRAYS]["sha256"]:
            raise FindingError(f"{path} does not match its checksum: the file was damaged. Measure again: {rerun_hint(folder)}")
        for name in content.get("dimensions", ()):
            register_dimension(str(name))
        numbers = load_file(path)
        arrays = {name: _restored(numbers.get(name), facts) for name, facts in content["arrays"].items()}
        return cls(
            analysis=content["analysis"],
            arrays=arrays,
            panels=tuple(panel_from_json(content) for content in content["panels"]),
            key_numbers=tuple(KeyNumber.from_json(number) for number in content.get("key_numbers", ())),
            headline=content["headline"] if "headline" in content else content["line"],
            caveats=tuple(content["caveats"]),
            title=content["title"],
            summary=content["summary"],
            source=content["source"],
            question=content["question"],
            origin=content["origin"],
        )


def array(
    values: Any, dims: Iterable[str], unit: str, coords: Mapping[str, Any] | None = None, title: str = ""
) -> xr.DataArray:
    """A DataArray with a unit ("1" for pure numbers) and, where given, coordinates by dimension; `title` labels axes and columns."""
    attrs = {"unit": unit} | ({"title": title} if title else {})
    return xr.DataArray(np.asarray(values), dims=tuple(dims), coords=dict(coords or {}), attrs=attrs)


def card(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of `finding.json` in `folder`, without the arrays.

    Raises:
        FindingError: the file is missing, not JSON, or of a newer format.
    """
    path = Path(folder) / CARD
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FindingError(
            f"{folder} holds no finding ({CARD} is missing). List what is there: {hint('microtome view DIR', 'Path(DIR).iterdir()')}"
        ) from None
    except (OSError, ValueError) as error:
        raise FindingError(f"{path} cannot be read: {error}. Measure again: {rerun_hint(folder)}") from None
    if content.get("format", 0) > FORMAT:
        raise FindingError(f"{path} was written by a newer microtome (format {content['format']}, this one reads {FORMAT}).")
    return content


def _check(analysis: str, name: str, array: xr.DataArray) -> None:
    for dim in map(str, array.dims):
        if dim.rstrip("_") not in known_dimensions():
            raise FindingError(
                f"{analysis}: array '{name}' has the dimension '{dim}'.{did_you_mean(dim, known_dimensions())} Plug-ins name new "
                f"ones by microtome.finding.register_dimension('{dim.rstrip('_')}')."
            )
    if "unit" not in array.attrs:
        raise FindingError(f"{analysis}: array '{name}' has no unit (attrs['unit']; '1' for a pure number).")


def _numeric(array: xr.DataArray) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(array.values).reshape(array.shape)  # numpy makes a single number 1-D here


def _described(array: xr.DataArray) -> dict[str, Any]:
    coords = {str(dim): plain(array.coords[dim].values) for dim in array.dims if dim in array.coords}
    text = {"text": plain(array.values)} if array.dtype.kind in "UO" else {}
    return {
        "dims": [str(dim) for dim in array.dims],
        "shape": list(array.shape),
        "dtype": "text" if text else str(array.dtype),
        "unit": array.attrs["unit"],
        "title": array.attrs.get("title", ""),
        "coords": coords,
        **text,
    }


def _restored(values: np.ndarray[Any, Any] | None, facts: dict[str, Any]) -> xr.DataArray:
    if values is None:
        values = np.array(facts.get("text", []), dtype=object).reshape(facts["shape"])
    attrs = {"unit": facts["unit"]} | ({"title": facts["title"]} if facts["title"] else {})
    return xr.DataArray(values, dims=facts["dims"], coords=facts["coords"], attrs=attrs)


def plain(value: Any) -> Any:
    """`value` as plain JSON values: numpy scalars and arrays unpacked, not-a-number as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)
