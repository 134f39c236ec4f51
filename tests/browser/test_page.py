"""The page in a real browser: from disk and served, all panels drawn, keyboard, dark, phone, paper, downloads, no request outside."""

# ruff: noqa: E501, E402  (scripts for the browser stand on one line; what needs playwright comes after asking for it)

import functools
import io
import json
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install -e '.[dev]')")

from microtome.app.server import _listening_socket, build_application
from microtome.finding import Finding, array
from microtome.panels import Table
from microtome.report.html import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = Path(__file__).resolve().parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed (apt-get install chromium)")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def address(results: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(results, tmp_path_factory.mktemp("report") / "report.html").as_uri()


Open = Callable[..., Any]


@pytest.fixture
def opened(browser: Any) -> Iterator[Open]:
    """Opens an address in a fresh context; at the end no error was logged and nothing outside was asked for."""
    contexts: list[Any] = []
    errors: list[str] = []
    outside: list[str] = []

    def visit(address: str, width: int = 1280, **how: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, **how)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: errors.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        own = re.match(r"(\w+://[^/]*)", address)
        page.on(
            "request",
            lambda asked: None if asked.url.startswith((own.group(1), "data:", "blob:")) else outside.append(asked.url),
        )
        page.goto(address)
        page.wait_for_selector("#answer")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert errors == []
    assert outside == []


def until(page: Any, expression: str, seconds: float = 20) -> None:
    """Waits until the expression is true; playwright's own way needs eval, which the page's policy forbids."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(50)


def whole(page: Any) -> None:
    """Everything drawn, as for the printer."""
    page.emulate_media(media="print")
    until(page, "!document.querySelector('.late')")
    page.emulate_media(media="screen")


def test_the_header_says_what_was_measured(opened: Open, address: str) -> None:
    page = opened(address)
    top = page.inner_text("header.top")
    for word in ("Backbones for shells", "timm:resnet50.a1_in1k", "480", "photos/shells", "cpu", "20 November 2026"):
        assert word in top
    assert page.title() == "Backbones for shells"
    assert page.locator("header.top .badge").all_inner_texts() == ["untrained"]


def unfold(page: Any) -> None:
    """Open all that is folded, and what was folded inside it."""
    while page.evaluate("document.querySelectorAll('details:not([open])').length"):
        page.evaluate("document.querySelectorAll('details:not([open])').forEach(d => { d.open = true; })")
        page.wait_for_timeout(50)


def test_all_but_the_first_pictures_of_a_section_wait_behind_one_line(opened: Open, address: str) -> None:
    page = opened(address)
    shut = page.locator("#features .panel").count()
    more = page.locator("#features details.more > summary").first
    assert re.match(r"2 more: .+ · .+", more.inner_text())
    more.focus()
    page.keyboard.press("Enter")
    until(page, f"document.querySelectorAll('#features .panel').length === {shut + 2}")
    assert page.locator("#probe details.more > summary").all_inner_texts() == ["Provenance and arrays of 3 findings"]


def test_every_panel_of_every_specimen_is_drawn(opened: Open, address: str) -> None:
    page = opened(address)
    page.emulate_media(media="print")
    until(page, "!document.querySelector('.late')")
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


def test_pixels_of_a_matrix_have_the_colours_of_its_values(opened: Open, tmp_path: Path) -> None:
    """The ends of the colour scale are its first and last control points (web/src/colours.ts)."""
    from microtome.panels import Heat, Table

    values = np.array([[0.0, 1.0], [np.nan, 0.0]])
    Finding(
        analysis="similarity", arrays={"cka": array(values, ("layer", "layer_"), "1")}, headline="It is 1.",
        panels=(Heat(title="h", z="cka"), Table(title="t", rows="layer", columns=("cka",))), origin={"specimen": {"name": "net"}},
    ).save(tmp_path / "net" / "similarity")  # fmt: skip
    page = opened(write_report(tmp_path).as_uri())
    page.wait_for_selector("svg.drawing image")
    colours = page.evaluate("""async () => {
        const image = new Image(); image.src = document.querySelector('svg.drawing image').getAttribute('href'); await image.decode();
        const c = document.createElement('canvas'); c.width = image.width; c.height = image.height;
        const pen = c.getContext('2d', {willReadFrequently: true}); pen.drawImage(image, 0, 0);
        return [[.25, .25], [.75, .25], [.25, .75]].map(([x, y]) => [...pen.getImageData(x * c.width, y * c.height, 1, 1).data]);
    }""")
    assert colours == [[12, 8, 32, 255], [253, 243, 184, 255], [0, 0, 0, 0]]
    assert page.locator("text=No comparison was measured").count() == 1
    assert page.locator("text=Nothing was measured about what could be left out.").count() == 1
    assert page.locator("text=The folder has no run.json").count() == 1


def test_an_empty_map_is_said_not_painted(opened: Open, address: str) -> None:
    page = opened(address)
    whole(page)
    assert page.locator("#cam .tile .empty").first.inner_text() == "empty: no evidence"


def test_the_answer_marks_its_choice_and_sorts(opened: Open, address: str) -> None:
    page = opened(address)
    rows = page.locator("#answer .panel[data-kind=Table] tbody tr")
    assert "timm:resnet50.a1_in1k" in page.locator("#answer tr.marked").inner_text()
    assert "recommended" in page.locator("#answer tr.marked").inner_text()
    time = page.locator("#answer th button", has_text="time of a batch")
    time.click()  # numbers begin with the largest
    assert rows.first.locator("th").inner_text().startswith("torchvision:vgg16_bn")
    assert page.locator("#answer th[aria-sort=descending]").count() == 1
    time.click()
    assert rows.first.locator("th").inner_text().startswith("timm:deit_tiny")
    empty = page.locator("#answer th button", has_text="blocks below")
    empty.click()
    assert rows.last.locator("th").inner_text().startswith("torchvision:vgg16_bn")  # gaps stay last


def test_tabs_by_keyboard_and_remembered(opened: Open, address: str) -> None:
    page = opened(address)
    tabs = page.locator("#probe [role=tab]")
    assert tabs.count() == 4
    chosen = page.locator("#probe [role=tab][aria-selected=true]")
    assert chosen.inner_text() == "all specimens"
    chosen.focus()
    page.keyboard.press("ArrowRight")
    assert chosen.inner_text() == "timm:resnet50.a1_in1k"
    page.keyboard.press("End")
    assert chosen.inner_text().startswith("timm:deit_tiny")
    page.keyboard.press("ArrowRight")
    assert chosen.inner_text() == "all specimens"
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.getAttribute('aria-selected')") == "true"
    page.reload()
    page.wait_for_selector("#probe")
    assert chosen.inner_text() == "timm:resnet50.a1_in1k"


def test_the_first_tab_stop_skips_to_the_answer(opened: Open, address: str) -> None:
    page = opened(address)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_dark_by_preference_and_by_hand(opened: Open, address: str) -> None:
    page = opened(address, color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    assert sum(map(int, re.findall(r"\d+", dark))) < 120
    page.click("button.theme")
    assert page.evaluate(ground) != dark
    page.reload()
    page.wait_for_selector("#answer")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"


@pytest.mark.parametrize("width", [360, 1119])
def test_nothing_sticks_out_sideways(opened: Open, address: str, width: int) -> None:
    page = opened(address, width=width)
    whole(page)
    unfold(page)
    page.evaluate("scrollTo(0, 4000)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_paper_is_light_whole_and_without_buttons(opened: Open, address: str) -> None:
    page = opened(address, color_scheme="dark")
    pages = len(re.findall(rb"/Type\s*/Page\b", page.pdf(prefer_css_page_size=True)))
    assert pages > 10
    page.emulate_media(media="print")
    until(page, "document.documentElement.dataset.theme === 'light'")
    assert page.evaluate("[...document.querySelectorAll('details')].every(d => d.open)")
    assert page.locator("[role=tab]").count() == 0
    assert not page.locator("nav").is_visible()
    assert page.evaluate("[...document.querySelectorAll('.tools')].every(t => getComputedStyle(t).display === 'none')")


def test_large_grids_keep_only_what_is_seen(opened: Open, address: str) -> None:
    page = opened(address)
    page.locator("#features").scroll_into_view_if_needed()
    grid = page.locator("#features .lines").first
    grid.scroll_into_view_if_needed()
    first = grid.locator(".caption").all_inner_texts()
    assert first[0] == "unit 0"
    assert len(first) < 300
    grid.evaluate("g => { g.scrollTop = g.scrollHeight; }")
    until(page, "document.querySelector('#features .lines').textContent.includes('unit 299')")
    assert "unit 0" not in grid.locator(".caption").all_inner_texts()


def test_every_chart_has_a_table(opened: Open, address: str) -> None:
    page = opened(address)
    page.locator("#probe [role=tab]", has_text="resnet50").click()
    page.click("#probe .panel[data-kind=Curve] button:text-is('Table')")
    table = page.locator("#probe .panel[data-kind=Curve] table")
    assert table.locator("thead th").count() == 5  # layer, accuracy, low, high, untrained twin
    assert table.locator("tbody tr").count() == 16
    assert "untrained twin" in table.locator("thead").inner_text()


def test_the_tooltip_says_the_number(opened: Open, address: str) -> None:
    page = opened(address)
    page.locator("#probe [role=tab]", has_text="resnet50").click()
    drawing = page.locator("#probe svg.drawing").first
    drawing.scroll_into_view_if_needed()
    for step in range(100):  # charts further down still take their places, and a page that scrolls hides its tooltip
        box = drawing.bounding_box()
        page.mouse.move(box["x"] + box["width"] - 20 - step % 2, box["y"] + 80)
        if page.locator(".tip").count():
            break
        page.wait_for_timeout(50)
    assert "layer4.2.conv4" in page.inner_text(".tip")
    assert re.search(r"untrained twin\s+0\.37", page.inner_text(".tip"))
    page.keyboard.press("Escape")
    assert page.locator(".tip").count() == 0


def taken(page: Any, selector: str) -> tuple[str, bytes]:
    with page.expect_download() as caught:
        page.locator(selector).first.click()
    return caught.value.suggested_filename, Path(caught.value.path()).read_bytes()


def test_figures_can_be_taken_away(opened: Open, address: str) -> None:
    page = opened(address)
    for section in ("#similarity", "#cam", "#features"):
        page.locator(f"{section} [role=tab]", has_text="vgg16").click()
        name, svg = taken(page, f"{section} button:text-is('SVG')")
        assert name.endswith(".svg")
        assert name.startswith("torchvision-vgg16-bn_")
        text = svg.decode()
        assert text.startswith("<svg")
        assert "var(--" not in text
        assert "<text" in text
        _, png = taken(page, f"{section} button:text-is('PNG')")
        assert png.startswith(b"\x89PNG")
        assert len(png) > 5000


def test_arrays_can_be_taken_away(opened: Open, address: str, results: Path) -> None:
    page = opened(address)
    unfold(page)
    folder = results / "timm-resnet50.a1_in1k"
    for section, name in (
        ("probe", "accuracy"),
        ("cam", "heat"),
        ("cam", "image"),
        ("cam", "mask"),
        ("redundancy", "parameters"),
    ):
        _, content = taken(page, f"#{section} button[aria-label='Download {name} as npy']")
        there = Finding.load(next((folder / section).iterdir()))[name].values
        np.testing.assert_array_equal(np.load(io.BytesIO(content)), there)
    _, content = taken(page, "#probe button[aria-label='Download accuracy as csv']")
    lines = content.decode().splitlines()
    assert lines[0] == "layer,accuracy"
    assert lines[6] == "layer2.2.conv2,"  # a gap
    assert len(lines) == 17


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(opened: Open, address: str, scheme: str) -> None:
    if not AXE.exists():
        pytest.skip("axe-core is not installed (cd web && npm ci)")
    page = opened(address, color_scheme=scheme)
    whole(page)
    unfold(page)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate(
        "axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map(v => [v.id, v.nodes.length, v.nodes[0].html.slice(0, 200), v.nodes[0].failureSummary]))"
    )
    assert found == []


@pytest.fixture(scope="module")
def live(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("live") / "results"
    shutil.copytree(results, folder)
    listener = _listening_socket(folder, 0)
    server = uvicorn.Server(uvicorn.Config(build_application(folder), log_level="error", lifespan="off"))
    thread = threading.Thread(target=functools.partial(server.run, sockets=[listener]), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/", folder
    server.should_exit = True
    thread.join(timeout=20)
    listener.close()


def test_the_served_page_follows_the_folder(opened: Open, live: tuple[str, Path]) -> None:
    address, folder = live
    page = opened(address)
    assert page.locator(".panel").count() > 10
    with page.expect_download() as caught:
        unfold(page)
        page.locator("a:text('All arrays as safetensors')").first.click()
    assert caught.value.suggested_filename.endswith(".safetensors")
    Finding(
        analysis="cost", arrays={"a": array([1], ("layer",), "1")}, headline="It costs 7 ms.", title="Cost", question="slim",
        origin={"specimen": {"name": "timm:resnet50.a1_in1k"}},
    ).save(folder / "new" / "cost")  # fmt: skip
    page.wait_for_selector("#cost", timeout=20_000)
    assert "It costs 7" in page.inner_text("#cost")


def test_a_damaged_finding_is_named_on_the_page(opened: Open, results: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(results, folder)
    said = json.loads((folder / "run.json").read_text())
    broken = folder / said["findings"][0]
    (broken / "arrays.safetensors").write_bytes(b"")
    page = opened(write_report(folder).as_uri())
    text = page.inner_text("#left-out")
    assert "Damaged on disk" in text
    assert "does not match its checksum" in text
    assert "cone/broken.jpg" in text
    assert "reuse needs dense blocks" in text


def test_what_holds_for_several_specimens_is_told_once(opened: Open, address: str) -> None:
    page = opened(address)
    assert page.locator("#similarity .caveats li").all_inner_texts() == [
        "Debiased CKA on 480 images; below 0.05 it is not told apart from zero.",
        "timm:deit_tiny_patch16_224: Similar untrained layers are what depth alone gives.",
    ]
    row = page.locator("#left-out tr", has_text="reuse needs dense blocks")
    assert row.count() == 1
    assert row.locator("td.names span").all_inner_texts() == ["timm:resnet50.a1_in1k", "torchvision:vgg16_bn"]


@pytest.mark.parametrize(("title", "said"), [("", "Outline of the object"), ("star of taps", "Outline of the star of taps")])
def test_an_outline_is_called_what_it_shows(opened: Open, tmp_path: Path, title: str, said: str) -> None:
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
    page = opened(write_report(tmp_path).as_uri())
    whole(page)
    assert page.locator("#atrous label", has=page.locator("[type=checkbox]")).inner_text().strip() == said


@pytest.mark.parametrize("width", [1280, 1000])
def test_tables_of_text_need_no_scrolling(opened: Open, tmp_path: Path, width: int) -> None:
    said = {
        "finding": ["MT101 Positions that no kernel reads", "MT202 One weight decay for all norm scales"],
        "fix": "Average before the projection, or pad the kernels to the stride: the edit kernel_padding, then train.",
        "cost": "With kernel_padding the function stays, multiply-adds of these layers rise; some training.",
        "reason": "A kernel whose stride does not divide it reads some pixels more often than others, a grid of weak pixels.",
        "source": "Kim et al. 2023, arXiv:2111.08413; the share of power is our measure.",
    }
    told = {"finding": said.pop("finding")}
    for name in ("first", "second"):
        Finding(
            analysis="audit", arrays={key: array([text, text], ("finding",), "text", told) for key, text in said.items()},
            headline="2 findings.", title="Design audit", origin={"specimen": {"name": name}},
            panels=(Table(title="What to do", rows="finding", columns=tuple(said)),),
        ).save(tmp_path / name / "audit")  # fmt: skip
    page = opened(write_report(tmp_path).as_uri(), width=width)
    whole(page)
    wide = "[...document.querySelectorAll('#audit .table')].map(t => t.scrollWidth - t.clientWidth)"
    assert page.evaluate(wide)[:2] == [0, 0]


def grouped(folder: Path, units: int = 512) -> str:
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
def test_a_slider_regroups_tiles_by_keyboard(opened: Open, tmp_path: Path, width: int) -> None:
    page = opened(grouped(tmp_path), width=width)
    slider = page.locator("#banding input[type=range]")
    heads = page.locator("#banding .lines .side, #banding .lines .above")
    page.wait_for_selector("#banding .lines canvas")
    assert slider.get_attribute("aria-valuetext") == "2 groups"
    assert re.sub(r"\s+", " ", heads.first.inner_text()).replace(":", "") == "group 1 50 % · 256"
    assert page.locator("#banding .chunk").first.locator("canvas").get_attribute("aria-label").startswith("Tiles 0 to ")
    assert page.locator("#banding .caption").count() == 0  # a wall of tiles: no room for names
    slider.focus()
    page.keyboard.press("End")
    until(page, "document.querySelector('#banding input[type=range]').getAttribute('aria-valuetext') === '5 groups'")
    assert page.locator("#banding output").inner_text() == "5"
    assert "5 groups" in page.inner_text("#banding .ramp")
    assert re.sub(r"\s+", " ", heads.first.inner_text()).replace(":", "") == "group 1 20 % · 103"
    page.keyboard.press("ArrowLeft")
    until(page, "document.querySelector('#banding output').textContent === '4'")
    grid = page.locator("#banding .lines")
    grid.evaluate("g => { g.scrollTop = g.scrollHeight; }")
    until(page, "[...document.querySelectorAll('#banding canvas')].some(c => c.ariaLabel.endsWith(' of group 4'))")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.click("#banding button:text-is('Table')")
    row = page.locator("#banding table tbody tr").nth(6).locator("td").first
    assert row.inner_text() == "3"  # unit 6 of four groups: 6 mod 4 = 2, the third
    name, svg = taken(page, "#banding button:text-is('SVG')")
    assert name == "net_banding_kernels.svg"
    assert svg.decode().count("group ") == 4
    assert "25 % · 128" in svg.decode()


def test_tiles_stand_in_their_groups_in_their_own_colours(opened: Open, tmp_path: Path) -> None:
    page = opened(grouped(tmp_path, units=10))
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


def test_findings_of_before_groups_are_drawn_as_before(opened: Open, tmp_path: Path) -> None:
    grouped(tmp_path, units=10)
    card = tmp_path / "net" / "banding" / "finding.json"
    said = json.loads(card.read_text())
    del said["panels"][0]["groups"]
    card.write_text(json.dumps(said))
    page = opened(write_report(tmp_path).as_uri())
    page.wait_for_selector("#banding .lines canvas")
    assert page.locator("#banding .caption").all_inner_texts() == [str(unit) for unit in range(10)]
    assert page.locator("#banding input[type=range]").count() == 0
