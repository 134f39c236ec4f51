import io
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).parent))
from microtome.errors import UnknownName
from microtome.figures import RENDERERS
from microtome.figures.paper import GREY, shorten
from microtome.finding import Finding, array
from microtome.panels import PANEL_KINDS, Bars, Curve, Grid, Heat, Hist, Overlay, Table
from sample_findings import AT, FAMILIES, LAYERS, NETS, PICTURES, finding

FOUND = finding()
PLACES = {panel.title: place for place, panel in enumerate(FOUND.panels)}


def one(panel, **arrays):
    return Finding(analysis="one", arrays=arrays, panels=(panel,)).figure()


def texts(drawn):
    return [text.get_text() for axes in drawn.axes for text in axes.texts]


def saved(drawn, kind):
    held = io.BytesIO()
    drawn.savefig(held, format=kind)
    return held.getvalue()


def test_every_kind_has_a_drawing_and_the_fixture_has_every_kind():
    assert set(RENDERERS) == set(PANEL_KINDS) == {panel.kind for panel in FOUND.panels}


@pytest.mark.parametrize("title", list(PLACES))
def test_every_panel_draws_without_a_warning_and_says_its_title_and_note(title, recwarn):
    drawn = FOUND.figure(title)
    assert isinstance(drawn, Figure)
    assert saved(drawn, "png").startswith(b"\x89PNG")
    assert not [str(warning.message) for warning in recwarn]
    panel = FOUND.panels[PLACES[title]]
    assert drawn.get_suptitle() == title
    assert drawn.get_supxlabel().replace("\n", " ") == panel.note


def test_drawing_leaves_the_users_settings_alone():
    settings = [name for name in mpl.rcParams if name != "backend"]  # reading that one chooses a backend
    before = {name: mpl.rcParams[name] for name in settings}
    saved(FOUND.figure(0), "svg")
    assert {name: mpl.rcParams[name] for name in settings} == before


def test_drawing_needs_neither_pyplot_nor_torch():
    program = (
        "import io, sys; sys.path.insert(0, sys.argv[1]); from sample_findings import finding;"
        "[finding().figure(place).savefig(io.BytesIO(), format=kind) for place, kind in ((1, 'svg'), (6, 'png'), (10, 'pdf'))];"
        "print(sorted({'matplotlib.pyplot', 'torch', 'timm'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(Path(__file__).parents[1])], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.parametrize("kind", ["svg", "pdf"])
@pytest.mark.parametrize("title", ["Probe accuracy by depth", "Where it looks"])
def test_vector_files_have_the_same_bytes_every_time(title, kind):
    first = saved(FOUND.figure(title), kind)
    assert first == saved(FOUND.figure(title), kind)
    assert b"<dc:date>" not in first
    assert b"CreationDate" not in first


def test_a_vector_file_can_be_followed_by_a_bitmap_and_shows_itself():
    drawn = FOUND.figure(0)
    saved(drawn, "svg")
    assert drawn._repr_png_().startswith(b"\x89PNG")


def test_panels_are_chosen_by_place_or_title():
    assert FOUND.figure().get_suptitle() == FOUND.panels[0].title
    assert FOUND.figure(-1).get_suptitle() == FOUND.panels[-1].title
    with pytest.raises(UnknownName, match="Did you mean 'Kernels'"):
        FOUND.figure("kernel")
    with pytest.raises(UnknownName, match="a number from 0 to 11"):
        FOUND.figure(12)
    with pytest.raises(UnknownName, match="no panels to draw"):
        Finding(analysis="bare", arrays={}).figure()


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


def test_heat_shows_the_matrix_first_dimension_downwards():
    axes, bar = FOUND.figure("CKA between all layers").axes
    (image,) = axes.images
    assert np.asarray(image.get_array()) == pytest.approx(FOUND["cka"].values)
    assert image.get_clim() == (0, 1)
    assert image.origin == "upper"
    assert bar.get_ylabel() == "CKA"
    assert axes.get_yticklabels()[0].get_text() == shorten(LAYERS[0])


def test_a_small_heat_writes_its_numbers_and_a_diverging_scale_has_zero_in_the_middle():
    drawn = FOUND.figure("Change under corruption")
    assert texts(drawn) == ["0.1", "-0.2", "0.4", "0", "-0.35"]  # the missing value is left blank
    assert drawn.axes[0].images[0].get_clim() == (-0.4, 0.4)
    assert [tick.get_text() for tick in drawn.axes[0].get_xticklabels()] == ["1", "3", "5"]


def test_grid_lays_tiles_down_and_across_and_marks_empty_ones():
    drawn = FOUND.figure("Kernels")
    (axes,) = drawn.axes
    assert len(axes.images) == 6 * 16
    assert texts(drawn) == ["empty"]
    left, _, _, top = axes.images[16 * 2 + 3].get_extent()  # third row, fourth column
    assert (int(left), int(top)) == (3, 2)
    tile = FOUND["kernels"].values[1, 4]
    blue = mpl.colormaps["RdBu_r"](0.5 + 0.5 * tile / np.abs(tile).max())[..., :3]
    assert np.asarray(axes.images[16 + 4].get_array()) == pytest.approx(blue, abs=1 / 128)


def test_grid_wraps_colours_without_a_second_dimension():
    drawn = FOUND.figure("Weights as colours")
    (axes,) = drawn.axes
    assert len(axes.images) == 23
    assert np.asarray(axes.images[22].get_array()) == pytest.approx(FOUND["factors"].values[22])
    assert texts(drawn) == [str(number) for number in range(23)]


def test_grid_with_one_scale_for_all_has_a_colour_bar_and_a_long_one_says_what_is_left_out():
    z = array(np.arange(50 * 4.0).reshape(50, 1, 2, 2), ("unit", "image", "row", "col"), "1", title="map")
    drawn = one(Grid(title="t", z="z", across="image", down="unit", each=False), z=z)
    axes, bar = drawn.axes
    assert bar.get_ylabel() == "map"
    assert len(axes.images) == 24
    assert axes.get_xlabel() == "the first 24 of 50 down, 1 of 1 across"


def test_signed_colours_lie_about_grey():
    z = array(np.array([-2.0, 0, 2]).reshape(1, 1, 1, 3), ("unit", "row", "col", "rgb"), "1")
    (axes,) = one(Grid(title="t", z="z", across="unit"), z=z).axes
    assert np.asarray(axes.images[0].get_array()).ravel() == pytest.approx([0, 0.5, 1])


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


def test_table_prints_rows_and_spreads_a_second_dimension():
    written = texts(FOUND.figure("All specimens"))
    assert "25\N{NARROW NO-BREAK SPACE}557\N{NARROW NO-BREAK SPACE}032" in written
    assert "timm:deit_small_patch16_224.fb_in1k" in written
    assert "top-1 accuracy\n(own head)" in written
    assert written.count("yes") == 3
    # Heading and eight cells in each of seven columns: name, family, parameters, three criteria, front.
    assert len(written) == 7 * 9


def test_table_says_what_is_missing_and_what_is_left_out():
    values = array(np.append(np.arange(69.0), np.nan), ("layer",), "px", title="size")
    written = texts(one(Table(title="t", columns=("v",), rows="layer"), v=values))
    assert "the first 60 of 70 rows" in written
    assert "size [px]" in written
    assert "59" in written
    assert "69" not in written
    few = texts(one(Table(title="t", columns=("v",), rows="layer"), v=values[66:]))
    assert few[-4:] == ["66", "67", "68", "–"]


def test_overlay_shows_picture_maps_and_masks():
    drawn = FOUND.figure("Where it looks")
    (axes,) = drawn.axes
    assert len(axes.images) == 3 * 4
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["picture", *AT]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [shorten(name, 22) for name in PICTURES]
    assert np.asarray(axes.images[4].get_array()) == pytest.approx(np.clip(FOUND["picture"].values[1], 0, 1))
    assert texts(drawn) == ["empty", "empty"]  # one map of zeros, one of missing values
    assert len(axes.collections) == 3 * 4 * 2  # each outline twice: black below white


@pytest.mark.parametrize(("extent", "hottest"), [("", (4, 4)), ("extent", (2, 2))])
def test_overlay_puts_the_heat_where_its_extent_says(extent, hottest):
    heat = np.zeros((1, 3, 3))
    heat[0, 1, 1] = 1  # the middle cell of a map over the whole picture, or over its upper left corner
    arrays = {
        "base": array(np.full((1, 9, 9, 3), 0.5), ("image", "row", "col", "rgb"), "1"),
        "heat": array(heat, ("image", "row", "col"), "1"),
        "extent": array(np.array([[-1 / 18 * 0, 5 / 9, 0, 5 / 9]]), ("image", "axis"), "share"),
    }
    (axes,) = one(Overlay(title="t", base="base", heat="heat", extent=extent), **arrays).axes
    away = np.abs(np.asarray(axes.images[1].get_array()) - 0.5).sum(-1)
    assert np.unravel_index(away.argmax(), away.shape) == hottest


def test_dollars_in_names_are_not_mathematics():
    drawn = one(Curve(title="a $b$ c_d", y=("y",), x="layer"), y=array([1.0, 2.0], ("layer",), "$", {"layer": ["$x", "y$"]}))
    assert saved(drawn, "png")
    assert drawn.get_suptitle() == r"a \$b\$ c_d"


def test_all_missing_values_still_draw():
    nothing = np.full(3, np.nan)
    for panel in (
        Curve(title="t", y=("y",), x="layer"),
        Bars(title="t", y=("y",), x="layer"),
        Table(title="t", columns=("y",), rows="layer"),
    ):
        assert saved(one(panel, y=array(nothing, ("layer",), "1")), "png")
    assert saved(one(Heat(title="t", z="z"), z=array(nothing[None], ("layer", "unit"), "1")), "png")
