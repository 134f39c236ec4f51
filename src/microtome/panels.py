"""The vocabulary of figures: eight kinds of panel, each a few names of arrays in a finding, no pixels.

Two renderers draw every kind: `render/mpl.py` (papers) and the page under `web/` (report and app). A panel never holds data.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal

Question = Literal["choose", "understand", "slim", "repair", ""]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """What every panel has: a title, a sentence under it, and the user's question it helps to answer."""

    kind: ClassVar[str] = ""
    title: str
    note: str = ""
    question: Question = ""  # empty: the analysis' own question

    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays this panel needs, in the order of its fields."""
        names: list[str] = []
        for field in getattr(self, "_array_fields", ()):
            value = getattr(self, field)
            names.extend([value] if isinstance(value, str) else value)
        return tuple(name for name in names if name)


@dataclass(frozen=True, kw_only=True)
class Curve(Panel):
    """Lines over `x`. Each array of `y` is (x) or (by, x); `low`/`high` shade an interval; `null` is drawn dashed and grey."""

    kind: ClassVar[str] = "Curve"
    _array_fields: ClassVar[tuple[str, ...]] = ("y", "low", "high", "null")
    y: tuple[str, ...]
    x: str  # a dimension
    by: str = ""  # a dimension: one line each
    low: str = ""  # array shaped as y[0]
    high: str = ""
    null: tuple[str, ...] = ()  # the untrained twin, or another baseline, shaped as y[0]
    log: Literal["", "x", "y", "xy"] = ""


@dataclass(frozen=True, kw_only=True)
class Bars(Panel):
    """Bars over `x`, grouped by `by`. Arrays are (x) or (by, x); `null` puts a grey tick beside each bar."""

    kind: ClassVar[str] = "Bars"
    _array_fields: ClassVar[tuple[str, ...]] = ("y", "low", "high", "null")
    y: tuple[str, ...]
    x: str
    by: str = ""
    low: str = ""
    high: str = ""
    null: tuple[str, ...] = ()
    log: Literal["", "y"] = ""


@dataclass(frozen=True, kw_only=True)
class Hist(Panel):
    """Densities, one small multiple per `by`: `density(by, bin)` over bin centres `value(by, bin)`; `null` as an outline."""

    kind: ClassVar[str] = "Hist"
    _array_fields: ClassVar[tuple[str, ...]] = ("density", "value", "null", "null_value")
    density: str
    value: str
    by: str = "layer"
    null: str = ""
    null_value: str = ""
    only: tuple[str, ...] = ()  # coordinates of `by` to draw; empty: all
    log: Literal["", "y"] = ""


@dataclass(frozen=True, kw_only=True)
class Heat(Panel):
    """A matrix: `z` has exactly two dimensions, the first drawn downwards; `low`/`high` fix the colour scale."""

    kind: ClassVar[str] = "Heat"
    _array_fields: ClassVar[tuple[str, ...]] = ("z",)
    z: str
    scale: Literal["sequential", "diverging"] = "sequential"
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Grid(Panel):
    """Tiles: `z` is (across…, row, col) or (across…, row, col, rgb); `down` is laid out downwards, `across` from left to right.

    `groups` (for tiles over `across` alone) numbers the group of each tile from 0, as (groups, across): one grouping for each
    coordinate of its first dimension. The page has a slider over them; on paper the first is drawn.
    """

    kind: ClassVar[str] = "Grid"
    _array_fields: ClassVar[tuple[str, ...]] = ("z", "groups")
    z: str
    across: str
    down: str = ""
    groups: str = ""
    scale: Literal["sequential", "diverging"] = "sequential"
    each: bool = True  # colour scale of its own for each tile; False: one for all


@dataclass(frozen=True, kw_only=True)
class Scatter(Panel):
    """Points: `x` and `y` are 1-D over one shared dimension, whose coordinates are the labels; `front` marks the Pareto front."""

    kind: ClassVar[str] = "Scatter"
    _array_fields: ClassVar[tuple[str, ...]] = ("x", "y", "front", "group", "low", "high")
    x: str
    y: str
    front: str = ""  # boolean array
    group: str = ""  # text array: one colour per value
    low: str = ""  # interval of y
    high: str = ""
    log: Literal["", "x", "y", "xy"] = ""


@dataclass(frozen=True, kw_only=True)
class Table(Panel):
    """Rows along one dimension. A 1-D array is one column, a 2-D array (rows, other) one column for each coordinate of `other`."""

    kind: ClassVar[str] = "Table"
    _array_fields: ClassVar[tuple[str, ...]] = ("columns",)
    columns: tuple[str, ...]
    rows: str  # a dimension


@dataclass(frozen=True, kw_only=True)
class Overlay(Panel):
    """Heat maps over images: `base(image,row,col,rgb)`, `heat(image,[across,]row,col)` on its own coarser grid, `mask(image,row,col)`.

    `extent(image_or_across, axis=4)` is optional: where the heat map's outer edges lie in the image, as fractions
    (top, bottom, left, right) of its height and width; without it the map spans the whole image.

    The page has a slider over `slide`, a dimension of the heat maps that begins at its last coordinate, and a list for every other that
    is not laid out; on paper the last of `slide` and the first of the others are drawn.

    `standing(method)` says whether a method beats the baselines of its faithfulness: 1 yes, 0 undecided, -1 no, NaN not measured. It is
    written beside the name of each method, or once where methods are not laid out.
    """

    kind: ClassVar[str] = "Overlay"
    _array_fields: ClassVar[tuple[str, ...]] = ("base", "heat", "mask", "extent", "standing", "about", "caption")
    base: str
    heat: str
    across: str = ""  # the dimension laid out from left to right, usually "layer" or "specimen"
    mask: str = ""
    extent: str = ""
    slide: str = ""
    standing: str = ""
    about: str = ""  # text array (method): a line about each
    caption: str = ""  # text array (image[, …]): what stands behind the name of each image


PANEL_KINDS: dict[str, type[Panel]] = {kind.kind: kind for kind in (Curve, Bars, Hist, Heat, Grid, Scatter, Table, Overlay)}


def panel_to_json(panel: Panel) -> dict[str, Any]:
    """The panel as plain JSON values, with its kind."""
    return {"kind": panel.kind, **asdict(panel)}


def panel_from_json(content: dict[str, Any]) -> Panel:
    """The panel that `panel_to_json` wrote; unknown fields of newer versions are ignored.

    Raises:
        KeyError: the kind is not one of `PANEL_KINDS`.
    """
    kind = PANEL_KINDS[content["kind"]]
    known: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}
    return kind(**{field.name: known[field.name] for field in fields(kind) if field.name in known})
