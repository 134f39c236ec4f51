"""Names beside points: none lies on another name, on another point, or outside the frame."""

from itertools import combinations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from microtome.figures.placing import place_labels


def test_names_are_clear_of_points_and_of_each_other() -> None:
    paper = Figure(figsize=(4, 3))
    FigureCanvasAgg(paper)
    axes = paper.add_subplot()
    draws = np.random.default_rng(0)
    x, y = draws.random(25), draws.random(25)
    x[3] = np.nan
    axes.scatter(x, y)
    place_labels(paper, axes, x, y, [f"network {n}" for n in range(25)])
    paper.draw_without_rendering()
    boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert 8 < len(boxes) < 25 and "network 3" not in boxes
    assert not any(one.overlaps(other) for one, other in combinations(boxes.values(), 2))
    frame = axes.get_window_extent()
    for name, box in boxes.items():
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
        others = [n for n in range(25) if n not in (3, int(name.split()[1]))]
        points = axes.transData.transform(np.stack([x, y], 1)[others])
        assert not any(box.contains(*point) for point in points)
