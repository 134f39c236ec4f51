"""Figures in a real browser: all kinds drawn, pixels and colours, grids, tooltips, tables, downloads."""

# ruff: noqa: E501  (scripts for the browser stand on one line)

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from microtome.finding import Finding, array
from microtome.panels import Overlay, Table
from microtome.report.html import write_report
from page_steps import Open, choose_all_networks, download, draw_all, press_tab, unfold_all, wait_until


def test_every_panel_of_every_network_is_drawn(open_page: Open, address: str) -> None:
    page = open_page(address)
    choose_all_networks(page)
    unfold_all(page)
    page.emulate_media(media="print")
    wait_until(
        page, f"!document.querySelector('.late') && document.querySelectorAll('.panel .multiple').length >= {3 * 17 + 3}"
    )
    kinds = page.evaluate("[...document.querySelectorAll('.panel')].map(p => p.dataset.kind)")
    assert set(kinds) == {"Curve", "Bars", "Hist", "Heat", "Grid", "Scatter", "Table", "Overlay"}
    # 3 specimens x (probe 2, similarity 2, weights 4, redundancy 4, cam 1, features 4) panels + 3 of the comparison
    assert page.locator(".panel .multiple").count() == 3 * 17 + 3
    empty = page.evaluate("""[...document.querySelectorAll('.panel .multiple')].filter(m => {
        const ink = c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; return d.some((v, k) => k % 4 === 3 && v > 0); };
        const kind = m.closest('.panel').dataset.kind;
        if (kind === 'Table') return m.querySelectorAll('tbody td').length === 0;
        if (kind === 'Grid' || kind === 'Overlay') { const all = [...m.querySelectorAll('canvas')]; return all.length === 0 || !all.every(ink); }
        return m.querySelectorAll('svg.drawing path, svg.drawing rect, svg.drawing circle, svg.drawing image').length < 3 || /NaN/.test(m.innerHTML);
    }).length""")
    assert empty == 0
    assert page.locator(".gone").count() == 0


def test_pixels_of_a_matrix_have_the_colours_of_its_values(open_page: Open, tmp_path: Path) -> None:
    """The ends of the colour scale are its first and last control points (web/src/colours.ts)."""
    from microtome.panels import Heat

    values = np.array([[0.0, 1.0], [np.nan, 0.0]])
    Finding(
        analysis="similarity", arrays={"cka": array(values, ("layer", "layer_"), "1")}, headline="It is 1.",
        panels=(Heat(title="h", z="cka"), Table(title="t", rows="layer", columns=("cka",))), origin={"specimen": {"name": "net"}},
    ).save(tmp_path / "net" / "similarity")  # fmt: skip
    page = open_page(write_report(tmp_path).as_uri())
    page.wait_for_selector("svg.drawing image")
    colours = page.evaluate("""async () => {
        const image = new Image(); image.src = document.querySelector('svg.drawing image').getAttribute('href'); await image.decode();
        const c = document.createElement('canvas'); c.width = image.width; c.height = image.height;
        const pen = c.getContext('2d', {willReadFrequently: true}); pen.drawImage(image, 0, 0);
        return [[.25, .25], [.75, .25], [.25, .75]].map(([x, y]) => [...pen.getImageData(x * c.width, y * c.height, 1, 1).data]);
    }""")
    assert colours == [[12, 8, 32, 255], [253, 243, 184, 255], [0, 0, 0, 0]]
    assert page.locator("text=No comparison was measured").count() == 1
    assert page.locator("text=Nothing was measured about what could be removed.").count() == 1
    assert page.locator("text=The folder has no run.json").count() == 1


def test_an_empty_map_is_named_not_painted(open_page: Open, address: str) -> None:
    page = open_page(address)
    draw_all(page)
    assert page.locator("#cam .tile .empty").first.inner_text() == "empty: no evidence"


def test_large_grids_keep_only_what_is_seen(open_page: Open, address: str) -> None:
    page = open_page(address)
    page.locator("#features").scroll_into_view_if_needed()
    grid = page.locator("#features .lines").first
    grid.scroll_into_view_if_needed()
    first = grid.locator(".caption").all_inner_texts()
    assert first[0] == "unit 0"
    assert len(first) < 300
    grid.evaluate("g => { g.scrollTop = g.scrollHeight; }")
    wait_until(page, "document.querySelector('#features .lines').textContent.includes('unit 299')")
    assert "unit 0" not in grid.locator(".caption").all_inner_texts()


def test_every_chart_has_a_table(open_page: Open, address: str) -> None:
    page = open_page(address)
    page.locator("#probe .figures").scroll_into_view_if_needed()
    page.click("#probe .panel[data-kind=Curve] button:text-is('Table')")
    table = page.locator("#probe .panel[data-kind=Curve] table")
    assert table.locator("thead th").count() == 5  # layer, accuracy, low, high, untrained twin
    assert table.locator("tbody tr").count() == 16
    assert "untrained twin" in table.locator("thead").inner_text()


def test_the_tooltip_shows_the_number(open_page: Open, address: str) -> None:
    page = open_page(address)
    page.locator("#probe .figures").scroll_into_view_if_needed()
    drawing = page.locator("#probe svg.drawing").first
    drawing.scroll_into_view_if_needed()
    for step in range(100):  # charts further down still take their places, and a page that scrolls hides its tooltip
        box = drawing.bounding_box()
        page.mouse.move(box["x"] + box["width"] - 20 - step % 2, box["y"] + 80)
        if page.locator(".tip").count():
            break
        page.wait_for_timeout(50)
    assert "layer4.2.conv4" in page.inner_text(".tip")
    assert re.search(r"untrained twin\s+37\.\d%", page.inner_text(".tip"))
    page.keyboard.press("Escape")
    assert page.locator(".tip").count() == 0


def test_figures_can_be_taken_away(open_page: Open, address: str) -> None:
    page = open_page(address)
    for section in ("#similarity", "#cam", "#features"):
        press_tab(page.locator(f"{section} [role=tab]", has_text="vgg16"))
        name, svg = download(page, f"{section} button:text-is('SVG')")
        assert name.endswith(".svg")
        assert name.startswith("torchvision-vgg16-bn_")
        text = svg.decode()
        assert text.startswith("<svg")
        assert "var(--" not in text
        assert "<text" in text
        _, png = download(page, f"{section} button:text-is('PNG')")
        assert png.startswith(b"\x89PNG")
        assert len(png) > 5000


def test_arrays_can_be_taken_away(open_page: Open, address: str, results: Path) -> None:
    page = open_page(address)
    unfold_all(page)
    folder = results / "timm-resnet50.a1_in1k"
    for section, name in (
        ("probe", "accuracy"),
        ("cam", "heat"),
        ("cam", "image"),
        ("cam", "mask"),
        ("redundancy", "parameters"),
    ):
        _, content = download(page, f"#{section} button[aria-label='Download {name} as npy']")
        there = Finding.load(next((folder / section).iterdir()))[name].values
        np.testing.assert_array_equal(np.load(io.BytesIO(content)), there)
    _, content = download(page, "#probe button[aria-label='Download accuracy as csv']")
    lines = content.decode().splitlines()
    assert lines[0] == "layer,accuracy"
    assert lines[6] == "layer2.2.conv2,"  # a gap
    assert len(lines) == 17


@pytest.mark.parametrize(("title", "content"), [("", "Outline of the object"), ("star of taps", "Outline of the star of taps")])
def test_an_outline_is_called_what_it_shows(open_page: Open, tmp_path: Path, title: str, content: str) -> None:
    from microtome.panels import Overlay

    named = {"image": ["one"]}
    arrays = {
        "base": array(np.zeros((1, 8, 8, 3), dtype=np.uint8), ("image", "row", "col", "rgb"), "colour", named),
        "heat": array(np.ones((1, 8, 8), dtype=np.float32), ("image", "row", "col"), "1", named),
        "star": array(np.eye(8, dtype=bool)[None], ("image", "row", "col"), "yes or no", named, title),
    }
    Finding(
        analysis="atrous", arrays=arrays, headline="Rates fit.", title="Atrous rates", origin={"specimen": {"name": "net"}},
        panels=(Overlay(title="The star", base="base", heat="heat", across="", mask="star"),),
    ).save(tmp_path / "net" / "atrous")  # fmt: skip
    page = open_page(write_report(tmp_path).as_uri())
    draw_all(page)
    assert page.locator("#atrous label", has=page.locator("[type=checkbox]")).inner_text().strip() == content


def grouped_report(folder: Path, units: int = 512) -> str:
    """The address of a report with one wall of tiles in groups of two to five; unit u is in group u mod k."""
    from microtome.panels import Grid

    random = np.random.default_rng(0)
    counts = [2, 3, 4, 5]
    group = np.stack([np.sort(np.arange(units) % k)[np.argsort(np.arange(units) % k, kind="stable").argsort()] for k in counts])
    named = {"unit": list(range(units))}
    arrays = {
        "factors/last": array(random.integers(1, 255, (units, 3, 3, 3), dtype=np.uint8), ("unit", "row", "col", "rgb"), "colour", named),
        "group/last": array(group, ("groups", "unit"), "number of the group", named | {"groups": counts}),
    }  # fmt: skip
    Finding(
        analysis="banding", arrays=arrays, headline="A = +0.9.", title="Weight banding", origin={"specimen": {"name": "net"}},
        panels=(Grid(title="Kernels", z="factors/last", across="unit", groups="group/last"),),
    ).save(folder / "net" / "banding")  # fmt: skip
    return write_report(folder).as_uri()


@pytest.mark.parametrize("width", [1280, 380])
def test_a_slider_regroups_tiles_by_keyboard(open_page: Open, tmp_path: Path, width: int) -> None:
    page = open_page(grouped_report(tmp_path), width=width)
    slider = page.locator("#banding input[type=range]")
    heads = page.locator("#banding .lines .side, #banding .lines .above")
    page.wait_for_selector("#banding .lines canvas")
    assert slider.get_attribute("aria-valuetext") == "2 groups"
    assert re.sub(r"\s+", " ", heads.first.inner_text()).replace(":", "") == "group 1 50.0% · 256"
    assert page.locator("#banding .chunk").first.locator("canvas").get_attribute("aria-label").startswith("Tiles 0 to ")
    assert page.locator("#banding .caption").count() == 0  # a wall of tiles: no room for names
    slider.focus()
    page.keyboard.press("End")
    wait_until(page, "document.querySelector('#banding input[type=range]').getAttribute('aria-valuetext') === '5 groups'")
    assert page.locator("#banding output").inner_text() == "5"
    assert "5 groups" in page.inner_text("#banding .ramp")
    assert re.sub(r"\s+", " ", heads.first.inner_text()).replace(":", "") == "group 1 20.1% · 103"
    page.keyboard.press("ArrowLeft")
    wait_until(page, "document.querySelector('#banding output').textContent === '4'")
    grid = page.locator("#banding .lines")
    grid.evaluate("g => { g.scrollTop = g.scrollHeight; }")
    wait_until(page, "[...document.querySelectorAll('#banding canvas')].some(c => c.ariaLabel.endsWith(' of group 4'))")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.click("#banding button:text-is('Table')")
    row = page.locator("#banding table tbody tr").nth(6).locator("td").first
    assert row.inner_text() == "3"  # unit 6 of four groups: 6 mod 4 = 2, the third
    name, svg = download(page, "#banding button:text-is('SVG')")
    assert name == "net_banding_kernels.svg"
    assert svg.decode().count("group ") == 4
    assert "25.0% · 128" in svg.decode()


def test_tiles_stand_in_their_groups_in_their_own_colours(open_page: Open, tmp_path: Path) -> None:
    page = open_page(grouped_report(tmp_path, units=10))
    page.wait_for_selector("#banding .lines canvas")
    captions = page.locator("#banding .caption").all_inner_texts()
    assert captions == ["0", "2", "4", "6", "8", "1", "3", "5", "7", "9"]
    seen = page.evaluate("""() => {
        const c = [...document.querySelectorAll('#banding .chunk canvas')][1], fine = c.width / c.clientWidth;
        const pen = c.getContext('2d'), w = document.querySelector('#banding .caption').offsetWidth;
        return [...pen.getImageData(Math.round((w / 6) * fine), Math.round((w / 6) * fine), 1, 1).data].slice(0, 3);
    }""")
    held = Finding.load(tmp_path / "net" / "banding")["factors/last"].values
    assert seen == held[1, 0, 0].tolist()  # the first tile of the second group is unit 1


def test_findings_of_before_groups_are_drawn_as_before(open_page: Open, tmp_path: Path) -> None:
    grouped_report(tmp_path, units=10)
    card = tmp_path / "net" / "banding" / "finding.json"
    content = json.loads(card.read_text())
    del content["panels"][0]["groups"]
    card.write_text(json.dumps(content))
    page = open_page(write_report(tmp_path).as_uri())
    page.wait_for_selector("#banding .lines canvas")
    assert page.locator("#banding .caption").all_inner_texts() == [str(unit) for unit in range(10)]
    assert page.locator("#banding input[type=range]").count() == 0


def side_by_side(folder: Path) -> str:
    """A report with three methods at two layers for two targets of one image; the largest value of each map names its place."""
    methods, layers, targets = ["Grad-CAM", "LayerCAM", "CAM"], ["layer1", "layer4"], ["target class", "runner-up class"]
    maps = np.zeros((1, 2, 2, 3, 4, 4))
    for target, layer, method in np.ndindex(2, 2, 3):
        maps[0, target, layer, method, target * 2 + layer, method] = 1 + 4 * target + 2 * layer
    maps[:, :, 0, 2] = np.nan  # CAM has no map of layer1
    names = {"image": ["cat"], "target": targets, "layer": layers, "method": methods}
    of_image = {"image": ["cat"], "target": targets}
    arrays = {
        "image": array(np.full((1, 8, 8, 3), 128, np.uint8), ("image", "row", "col", "rgb"), "level", {"image": ["cat"]}),
        "methods": array(maps, ("image", "target", "layer", "method", "row", "col"), "score", names),
        "caption": array(np.array([["tabby", "lynx"]], dtype=object), ("image", "target"), "text", of_image),
        "standing": array([1.0, -1.0, np.nan], ("method",), "1", {"method": methods}),
        "about": array(np.array(["first", "second", "third"], dtype=object), ("method",), "text", {"method": methods}),
    }
    panel = Overlay(
        title="Methods", base="image", heat="methods", across="method", slide="layer", standing="standing", about="about",
        caption="caption",
    )  # fmt: skip
    finding = Finding(analysis="cam", arrays=arrays, panels=(panel,), headline="It is 1.", origin={"specimen": {"name": "net"}})
    finding.save(folder / "net" / "cam")
    return write_report(folder).as_uri()


def test_methods_side_by_side_have_a_class_chooser_a_depth_slider_and_verdicts(open_page: Open, tmp_path: Path) -> None:
    page = open_page(side_by_side(tmp_path))
    panel = page.locator("#cam .panel")
    panel.locator(".verdict").first.wait_for()
    heads = [" ".join(text.split()) for text in panel.locator(".method").all_inner_texts()]
    assert heads[0] == "image"
    for head, name, words in zip(
        heads[1:],
        ("Grad-CAM", "LayerCAM", "CAM"),
        ("beats its baselines", "no better than its baselines", "faithfulness not measured"),
        strict=True,
    ):
        assert head.startswith(name) and head.endswith(words)
    captions = panel.locator(".tile .caption")
    # the deepest layer and the first target at first
    assert captions.all_inner_texts() == ["max 3"] * 3 and "for tabby" in panel.locator(".above").inner_text()
    panel.locator("select").select_option("1")
    wait_until(page, "document.querySelector('#cam .above').textContent.includes('for lynx')")
    assert captions.all_inner_texts() == ["max 7"] * 3
    panel.locator("label.slide input").fill("0")
    wait_until(page, "document.querySelector('#cam .slide output').textContent === 'layer1'")
    assert captions.all_inner_texts()[:2] == ["max 5"] * 2 and panel.locator(".empty").inner_text() == "no map of this layer"
    panel.locator("button.name").nth(1).click()
    assert panel.locator(".aboutline").inner_text() == "LayerCAM second"
    assert panel.locator("button.name").nth(1).get_attribute("aria-expanded") == "true"
    name, drawn = download(page, "#cam [aria-label^='Download'][aria-label$='SVG']")
    assert name.endswith(".svg") and b"no better than its baselines" in drawn and b"no map of this layer" in drawn


def test_methods_side_by_side_fold_on_a_narrow_screen(open_page: Open, tmp_path: Path) -> None:
    page = open_page(side_by_side(tmp_path), width=400)
    page.locator("#cam .verdict").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    tops = page.evaluate("[...document.querySelectorAll('#cam .tile')].map(t => Math.round(t.getBoundingClientRect().top))")
    assert tops[0] == tops[1] < tops[2] == tops[3]
    assert page.evaluate("""[...document.querySelectorAll('#cam .tile')].every(t =>
        t.getBoundingClientRect().bottom <= document.querySelector('#cam .lines .line').getBoundingClientRect().bottom)""")
