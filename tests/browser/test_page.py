"""The page in a real browser: from disk and served, its frame, colours, paper, phone and keyboard; no request outside."""

# ruff: noqa: E501  (scripts for the browser stand on one line)

import functools
import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from microtome.app.server import _listening_socket, build_application
from microtome.finding import Finding, array
from microtome.report.html import write_report
from microtome.training.curves import save_curves
from page_steps import Open, draw_all, reload, unfold_all, wait_until

AXE = Path(__file__).resolve().parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"


def test_the_header_says_what_was_measured(open_page: Open, address: str) -> None:
    page = open_page(address)
    top = page.inner_text("header.top")
    for word in (
        "Backbones for shells",
        "resnet50.a1_in1k",
        "torchvision:",
        "vgg16_bn",
        "480",
        "photos/shells",
        "cpu",
        "20 November 2026",
    ):
        assert word in top
    assert page.inner_text("header.top .specimens").count("timm:") == 1  # the prefix of two networks
    assert page.title() == "Backbones for shells"
    assert page.locator("header.top .badge").all_inner_texts() == ["untrained"]


def test_long_contents_fold_all_but_the_question_being_read(open_page: Open, tmp_path: Path) -> None:
    for question in ("choose", "understand", "slim", "repair"):
        for letter in "abcde":
            Finding(
                analysis=question + letter, arrays={"a": array([1], ("layer",), "1")}, headline="It is 1.",
                title=f"Title {question}{letter}", question=question, origin={"specimen": {"name": "net"}},
            ).save(tmp_path / "net" / (question + letter))  # fmt: skip
    page = open_page(write_report(tmp_path).as_uri())
    sections = page.locator("nav a.minor")
    assert sections.all_inner_texts() == [f"Title choose{letter}" for letter in "abcde"]
    page.click("nav button[aria-label='Slim: 5 sections']")
    assert sections.count() == 10
    page.evaluate("document.getElementById('repairc').scrollIntoView({behavior: 'instant'})")
    wait_until(page, "[...document.querySelectorAll('nav a.minor')].some(a => a.textContent === 'Title repaira')")
    assert page.locator("nav a.minor", has_text="Title choosea").count() == 0


def test_the_first_tab_stop_skips_to_the_answer(open_page: Open, address: str) -> None:
    page = open_page(address)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_dark_by_preference_and_by_hand(open_page: Open, address: str) -> None:
    page = open_page(address, color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    assert sum(map(int, re.findall(r"\d+", dark))) < 120
    page.click("button.theme")
    assert page.evaluate(ground) != dark
    reload(page, "#answer")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"


@pytest.mark.parametrize("width", [360, 390, 1119, 1280, 2560])
def test_nothing_sticks_out_sideways(open_page: Open, address: str, width: int) -> None:
    page = open_page(address, width=width)
    draw_all(page)
    unfold_all(page)
    page.evaluate("scrollTo(0, 4000)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".keys").count() == 6
    sticking = "[...document.querySelectorAll('.keys, #answer .table')].filter(t => t.scrollWidth > t.clientWidth).length"
    assert page.evaluate(sticking) == 0


def test_paper_is_light_and_without_buttons(open_page: Open, address: str) -> None:
    page = open_page(address, color_scheme="dark")
    pages = len(re.findall(rb"/Type\s*/Page\b", page.pdf(prefer_css_page_size=True)))
    assert pages > 5
    page.emulate_media(media="print")
    wait_until(page, "document.documentElement.dataset.theme === 'light'")
    limits = "Debiased CKA on 480 images; below 0.05 it is not significantly different from zero."
    assert page.locator("#similarity .caveats").first.locator("li").all_inner_texts() == [limits]
    assert page.locator("#similarity .caveats details").count() == 0  # limits are written out
    assert page.locator("#similarity .limits summary").inner_text() == "1 more for other networks"
    assert page.locator("#features details.more summary").inner_text().startswith("2 more figures: ")  # figures are named
    assert page.locator("#probe .keys tbody tr").count() == 3
    assert page.locator("#probe .panel[data-kind=Curve] .multiple").count() == 1  # those of the chosen network
    assert page.locator("[role=tab]").count() == 0
    assert not page.locator("nav").is_visible()
    assert page.evaluate("[...document.querySelectorAll('.tools')].every(t => getComputedStyle(t).display === 'none')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page: Open, address: str, scheme: str) -> None:
    if not AXE.exists():
        pytest.skip("axe-core is not installed (cd web && npm ci)")
    page = open_page(address, color_scheme=scheme)
    draw_all(page)
    unfold_all(page)
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


def test_the_served_page_follows_the_folder(open_page: Open, live: tuple[str, Path]) -> None:
    address, folder = live
    page = open_page(address)
    assert page.locator(".panel").count() > 10
    with page.expect_download() as caught:
        unfold_all(page)
        page.locator("a:text('All arrays as safetensors')").first.click()
    assert caught.value.suggested_filename.endswith(".safetensors")
    Finding(
        analysis="cost", arrays={"a": array([1], ("layer",), "1")}, headline="It costs 7 ms.", title="Cost", question="slim",
        origin={"specimen": {"name": "timm:resnet50.a1_in1k"}},
    ).save(folder / "new" / "cost")  # fmt: skip
    page.wait_for_selector("#cost", timeout=20_000)
    assert "It costs 7" in page.inner_text("#cost")


def test_a_damaged_finding_is_named_on_the_page(open_page: Open, results: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(results, folder)
    content = json.loads((folder / "run.json").read_text())
    broken = folder / content["findings"][0]
    (broken / "arrays.safetensors").write_bytes(b"")
    page = open_page(write_report(folder).as_uri())
    text = page.inner_text("#left-out")
    assert "Damaged on disk" in text
    assert "does not match its checksum" in text
    assert "cone/broken.jpg" in text
    assert "reuse needs dense blocks" in text


def test_a_run_may_name_the_finding_that_answers_it(open_page: Open, tmp_path: Path) -> None:
    """The page of a training, an experiment or a claim begins with its own headline, not with advice to compare networks."""
    rows = [{"epoch": 1, "loss": 2.0, "validation_loss": 2.25, "learning_rate": 0.1}]
    source = {
        "title": "My training",
        "specimen": {"name": "net"},
        "images": {"name": "photos", "count": 3},
        "key": "0",
        "facts": {"epochs": 1},
    }
    finding = save_curves(tmp_path, rows, source, None)
    page = open_page(write_report(tmp_path).as_uri())
    assert page.locator("#answer .lead").inner_text() == finding.headline
    assert page.locator("#answer a").get_attribute("href") == "#training"
    assert page.locator("text=No comparison was measured").count() == 0
    assert page.locator("section.group:not(#left-out)").count() == 1 and page.locator("text=Nothing was measured").count() == 0
