"""Names beside points without one lying on another."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

# Where a name may stand, in points from its point, with its alignment; the first free one is taken.
LABEL_OFFSETS = (
    (6, 0, "left", "center"),
    (-6, 0, "right", "center"),
    (0, 7, "center", "bottom"),
    (0, -7, "center", "top"),
    (5, 6, "left", "bottom"),
    (-5, 6, "right", "bottom"),
    (5, -6, "left", "top"),
    (-5, -6, "right", "top"),
    (10, 16, "left", "bottom"),
    (10, -16, "left", "top"),
    (-10, 16, "right", "bottom"),
    (-10, -16, "right", "top"),
)


def place_labels(paper: Figure, axes: Axes, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], names: list[str]) -> None:
    """Write each name beside its point, clear of points and of other names; a name with no free place is left out."""
    paper.draw_without_rendering()  # positions on the sheet are known only after the layout ran
    shown = np.isfinite(x) & np.isfinite(y)
    dots = axes.transData.transform(np.stack([x, y], axis=1)[shown])
    taken = [Bbox.from_extents(*(dot - 6), *(dot + 6)) for dot in dots]
    frame = axes.get_window_extent()
    for place, here in zip(np.flatnonzero(shown), dots, strict=True):
        for right, up, ha, va in LABEL_OFFSETS:
            text = axes.annotate(
                names[place],
                (x[place], y[place]),
                (right, up),
                textcoords="offset points",
                ha=ha,
                va=va,
                fontsize=6.5,
                zorder=5,
            )
            box = text.get_window_extent()
            own = Bbox.from_extents(*(here - 6), *(here + 6)).get_points()
            others = [box for box in taken if not np.array_equal(box.get_points(), own)]
            if not any(box.overlaps(other) for other in others) and _is_within(box, frame):
                taken.append(box)
                break
            text.remove()


def _is_within(box: Bbox, frame: Bbox) -> bool:
    return box.x0 >= frame.x0 and box.x1 <= frame.x1 and box.y0 >= frame.y0 and box.y1 <= frame.y1
