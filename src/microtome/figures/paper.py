"""What all figures share: the sheet, colours, labels with units, and ticks that bear long layer names."""

import io
import textwrap
from collections.abc import Mapping
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from microtome.panels import Panel

# Okabe & Ito 2008, told apart with every common colour blindness; black and yellow left out (text, and too pale for lines).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5C00", "#5B3A9E")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
STROKES = ("-", "-.", ":")  # dashes mean a baseline
ORDERED_DIMENSIONS = {
    "layer",
    "block",
    "stage",
    "checkpoint",
    "severity",
    "rank",
    "size",
    "scale",
    "amount",
    "frequency",
    "bin",
}
GREY = "#8A8A8A"
MISSING_COLOUR = "#E4E4E4"  # a value that is missing
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"
MAX_NAME_LENGTH = 34  # characters of a name on an axis

Arrays = Mapping[str, xr.DataArray]
STYLE: Any = {
    "font.size": 8.0,
    "axes.labelsize": 8.0,
    "axes.titlesize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.5,
    "image.interpolation": "nearest",
}


class Paper(Figure):
    """A Figure that notebooks show by itself, whatever the backend."""

    def _repr_png_(self) -> bytes:
        held = io.BytesIO()
        self.savefig(held, format="png")
        return held.getvalue()


class PaperCanvas(FigureCanvasAgg):
    """A canvas without a screen whose vector files have the same bytes every time."""

    def print_svg(
        self, filename: Any, *, metadata: dict[str, Any] | None = None, bbox_inches_restore: Any = None, **_: Any
    ) -> None:
        """Write an SVG whose ids do not depend on chance and whose date is left out."""
        fields = {"Date": None} | (metadata or {})
        with mpl.rc_context({"svg.hashsalt": "microtome"}):
            try:
                FigureCanvasSVG(self.figure).print_svg(filename, metadata=fields, bbox_inches_restore=bbox_inches_restore)
            finally:
                self.figure.set_canvas(self)  # the other canvas had put itself in this one's place

    def print_pdf(
        self, filename: Any, *, metadata: dict[str, Any] | None = None, bbox_inches_restore: Any = None, **_: Any
    ) -> None:
        """Write a PDF with letters as letters (Type 42) and without a date."""
        fields = {"CreationDate": None} | (metadata or {})
        with mpl.rc_context({"pdf.fonttype": 42}):
            try:
                FigureCanvasPdf(self.figure).print_pdf(filename, metadata=fields, bbox_inches_restore=bbox_inches_restore)
            finally:
                self.figure.set_canvas(self)


def new_sheet(panel: Panel, width: float, height: float) -> Paper:
    """An empty figure of that size in inches (room for title and note is added), with the panel's title and note on it."""
    title = textwrap.wrap(escape_math(panel.title), max(20, int(width * 13)))
    note = textwrap.wrap(escape_math(panel.note), max(20, int(width * 18)))
    paper = Paper(
        figsize=(width, height + 0.2 * len(title) + 0.14 * len(note)), dpi=150, layout="constrained", facecolor="white"
    )
    PaperCanvas(paper)
    paper.suptitle("\n".join(title), x=0.01, ha="left", fontsize=9.5, fontweight="bold")
    if note:
        paper.supxlabel("\n".join(note), x=0.01, ha="left", fontsize=7, color="#555555")
    return paper


def escape_math(text: object) -> str:
    """The text with nothing in it that matplotlib would read as mathematics."""
    return str(text).replace("$", r"\$")


def shorten(name: object, longest: int = MAX_NAME_LENGTH) -> str:
    """The name, or its two ends where it is too long for an axis."""
    text = str(name)
    if len(text) > longest:
        head = longest // 3
        text = text[:head] + "…" + text[-(longest - head - 1) :]
    return escape_math(text)


def array_label(array: xr.DataArray, name: str = "") -> str:
    """What the array holds, with its unit in brackets: its title, else its name in the finding."""
    label = array.attrs.get("title") or name.rsplit("/", 1)[-1].replace("_", " ")
    return escape_math(label + unit_suffix(array))


def unit_suffix(array: xr.DataArray) -> str:
    """The unit in brackets with a space before; empty for pure numbers and text."""
    unit = array.attrs.get("unit", "1")
    return "" if unit in ("", "1", "text") else f" [{unit}]"


def coordinates(array: xr.DataArray, dim: str) -> np.ndarray[Any, Any]:
    """The coordinates along a dimension, or 0, 1, 2, … where it has none."""
    return np.asarray(array.coords[dim].values) if dim in array.coords else np.arange(array.sizes[dim])


def is_text(values: np.ndarray[Any, Any]) -> bool:
    """True for names, False for numbers."""
    return values.dtype.kind not in "iufb"


class TickFit(NamedTuple):
    """How names go along an axis: every k-th, turned by so many degrees, and the inches they then take below it."""

    texts: list[str]
    step: int
    turn: int
    room: float


def fit_ticks(names: np.ndarray[Any, Any], inches: float) -> TickFit:
    """Names along an axis of `inches`: turned where they would touch, and only every k-th where there are too many."""
    texts = [shorten(f"{name:g}" if isinstance(name, float | np.floating) else name) for name in names]
    each = inches / max(len(texts), 1)
    step = max(1, int(np.ceil(0.115 / each)))
    widest = max((len(text) for text in texts[::step]), default=0) * 0.06
    if widest < 0.92 * each * step:
        return TickFit(texts, step, 0, 0.12)
    return TickFit(texts, step, 40, 0.7 * widest) if each * step > 0.32 else TickFit(texts, step, 90, widest)


def named_ticks(axes: Axes, axis: str, names: np.ndarray[Any, Any], inches: float) -> None:
    """Put names at 0, 1, 2, … along "x" or "y", as they fit into `inches`."""
    texts, step, turn, _ = fit_ticks(names, inches)
    places = list(range(0, len(texts), step))
    if axis == "y":
        axes.set_yticks(places, texts[::step])
    elif turn == 40:
        axes.set_xticks(places, texts[::step], rotation=turn, ha="right", rotation_mode="anchor")
    else:
        axes.set_xticks(places, texts[::step], rotation=turn)


def line_styles(count: int, dim: str = "") -> list[dict[str, Any]]:
    """A colour and a stroke for each line: distinct colours, then other strokes; many in order get an ordered scale."""
    if count > len(COLOURS) and dim.rstrip("_") in ORDERED_DIMENSIONS:
        return [{"color": mpl.colormaps[SEQUENTIAL](share), "linestyle": "-"} for share in np.linspace(0, 0.9, count)]
    rounds = [divmod(number, len(COLOURS)) for number in range(count)]
    return [{"color": COLOURS[place], "linestyle": STROKES[lap % len(STROKES)]} for lap, place in rounds]


def add_legend(paper: Figure, axes: Axes) -> None:
    """Name the lines: above the axes where there are few, beside them where there are many; every k-th beyond thirty."""
    handles, labels = axes.get_legend_handles_labels()
    if not handles or (len(handles) == 1 and not labels[0]):
        return
    if len(handles) <= 3:
        # above the axes: inside, even the best place hides what is drawn where bars fill the height
        beside = len(labels) if sum(map(len, labels)) <= 48 else 1
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=beside, borderaxespad=0.2)
        return
    step = int(np.ceil(len(handles) / 30))
    paper.legend(handles[::step], [shorten(label) for label in labels[::step]], loc="outside right upper")
