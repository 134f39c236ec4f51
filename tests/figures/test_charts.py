"""Curves, bars, histograms and scatter plots show the numbers of their arrays."""

from itertools import pairwise

import numpy as np
import pytest

from microtome.figures.paper import GREY, shorten
from microtome.finding import array
from microtome.panels import Bars, Curve, Hist
from sample_findings import FAMILIES, LAYERS, NETS, finding, one

FOUND = finding()


def test_curve_shows_values_interval_and_baseline():
    (axes,) = FOUND.figure("Probe accuracy by depth").axes
    line, null = axes.lines
    assert line.get_ydata() == pytest.approx(FOUND["accuracy"].values)
    assert null.get_ydata() == pytest.approx(FOUND["twin_accuracy"].values)
    assert (null.get_color(), null.get_linestyle(), null.get_label()) == (GREY, "--", "untrained twin")
    (band,) = axes.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx(
        (FOUND["accuracy_low"].values.min(), FOUND["accuracy_high"].values.max())
    )
    assert axes.get_ylabel() == "probe accuracy [share]"
    assert axes.get_xlabel() == "layer"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == [shorten(name) for name in LAYERS]


def test_curve_draws_one_line_for_each_of_by_at_its_numbers():
    drawn = FOUND.figure("Accuracy by object size")
    (axes,) = drawn.axes
    assert [line.get_label() for line in axes.lines] == NETS
    for line, values in zip(axes.lines, FOUND["by_size"].values, strict=True):
        assert line.get_ydata() == pytest.approx(values)
        assert line.get_xdata() == pytest.approx([1, 4, 16, 36, 100])
    assert axes.get_xscale() == "log"
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == len(NETS)
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == [shorten(name) for name in NETS]


def test_curve_takes_arrays_with_their_dimensions_in_any_order():
    values = np.arange(6.0).reshape(3, 2)
    (axes,) = one(
        Curve(title="t", y=("y",), x="severity", by="corruption"), y=array(values, ("severity", "corruption"), "1")
    ).axes
    assert [line.get_ydata().tolist() for line in axes.lines] == [[0, 2, 4], [1, 3, 5]]


def test_many_unordered_lines_stay_distinct():
    y = array(np.zeros((20, 3)), ("specimen", "severity"), "1")
    (axes,) = one(Curve(title="t", y=("y",), x="severity", by="specimen"), y=y).axes
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == 20


def test_bars_have_the_heights_whiskers_and_ticks_of_the_arrays():
    (axes,) = FOUND.figure("Accuracy by corruption").axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([0.31, 0.2, 0.77, np.nan], nan_ok=True)
    whiskers, nulls = axes.collections
    assert [segment[:, 1].tolist() for segment in whiskers.get_segments()[:3]] == [
        pytest.approx(pair) for pair in ([0.25, 0.35], [0.1, 0.3], [0.7, 0.8])
    ]
    assert [segment[0, 1] for segment in nulls.get_segments()] == pytest.approx([0.1, 0.1, 0.12, 0.1])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["noise", "blur", "weather", "digital"]


@pytest.mark.parametrize("title", ["Accuracy by corruption", "How much each block changes"])
def test_a_legend_of_a_few_hides_nothing_and_stays_on_the_paper(title):
    drawn = FOUND.figure(title)
    drawn.draw_without_rendering()
    (axes,) = drawn.axes
    box = axes.get_legend().get_window_extent()
    assert box.y0 >= axes.get_window_extent().y1
    assert box.x0 >= 0 and box.x1 <= drawn.bbox.x1 and box.y1 <= drawn.bbox.y1


def test_bars_are_grouped():
    (axes,) = FOUND.figure("How much each block changes").axes
    assert [len(group) for group in axes.containers] == [60, 60]
    for group, values in zip(axes.containers, FOUND["influence"].values, strict=True):
        assert [bar.get_height() for bar in group] == pytest.approx(values)
    pair = [axes.containers[number][5].get_x() + axes.containers[number][5].get_width() / 2 for number in (0, 1)]
    assert np.mean(pair) == pytest.approx(5)


def test_a_tall_name_does_not_eat_the_bars():
    drawn = FOUND.figure("How much each block changes")
    drawn.draw_without_rendering()
    (axes,) = drawn.axes
    assert axes.get_window_extent().height / drawn.dpi > 1.8
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert not any(left.overlaps(right) for left, right in pairwise(boxes))


def test_hist_has_one_axes_for_each_layer_with_its_twin():
    drawn = FOUND.figure("Weights of the last layers")
    assert [axes.get_title() for axes in drawn.axes] == [shorten(name, 30) for name in LAYERS[:7]]
    for axes, twin in zip(drawn.axes, FOUND["twin_density"].values, strict=True):
        (null,) = axes.lines
        assert null.get_ydata() == pytest.approx(twin)
        (filled,) = axes.collections
    assert filled.get_paths()[0].vertices[:, 1].max() == pytest.approx(FOUND["density"].values[6].max())


def test_hist_draws_only_what_is_asked():
    arrays = {name: FOUND[name] for name in ("density", "value")}
    drawn = one(Hist(title="t", density="density", value="value", only=(LAYERS[2],), log="y"), **arrays)
    (axes,) = drawn.axes
    assert axes.get_title() == shorten(LAYERS[2], 30)
    assert axes.get_yscale() == "log"


def test_scatter_places_points_names_and_rings():
    (axes,) = FOUND.figure("Accuracy against price").axes
    by = {group.get_label(): group.get_offsets() for group in axes.collections}
    price, score, front = (FOUND[name].values for name in ("price", "score", "front"))
    for family in set(FAMILIES):
        some = np.array(FAMILIES) == family
        assert np.asarray(by[family]) == pytest.approx(np.stack([price[some], score[some]], 1))
    assert np.asarray(by["on the front"]) == pytest.approx(np.stack([price[front], score[front]], 1))
    assert {text.get_text() for text in axes.texts} == {shorten(name) for name in NETS}
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert axes.get_xlabel() == "parameters [M]"


@pytest.mark.parametrize("kind", [Bars, Curve])
def test_two_baselines_of_one_series_have_looks_and_names_of_their_own(kind):
    values = {name: array([place + 0.5, place + 1.5], ("layer",), "1", title=name) for place, name in enumerate("abc")}
    paper = one(kind(title="t", y=("a",), x="layer", null=("b", "c")), **values)
    (axes,) = paper.axes
    legend = axes.get_legend() or paper.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["b", "c"]
    if kind is Curve:
        assert [line.get_linestyle() for line in axes.lines] == ["-", "--", ":"]
    else:
        ticks = [collection.get_segments() for collection in axes.collections]
        assert [[segment[0][1] for segment in segments] for segments in ticks] == [[1.5, 2.5], [2.5, 3.5]]
        assert len({str(collection.get_linestyle()) for collection in axes.collections}) == 2
