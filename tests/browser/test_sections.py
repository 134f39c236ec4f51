"""One headline, one table and one network's figures per analysis: sorting, choosing, folding; findings of format 1."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from microtome.finding import Finding, array
from microtome.key_numbers import format_value
from microtome.panels import Table
from microtome.report.html import write_report
from page_steps import Open, choose_all_networks, draw_all, press_tab, reload, wait_until


def test_the_answer_marks_its_choice_and_sorts(open_page: Open, address: str) -> None:
    page = open_page(address)
    rows = page.locator("#answer .panel[data-kind=Table] tbody tr")
    assert "resnet50.a1_in1k" in page.locator("#answer tr.marked").inner_text()
    assert "recommended" in page.locator("#answer tr.marked").inner_text()
    time = page.locator("#answer th button", has_text="time of a batch")
    time.click()  # numbers begin with the largest
    assert rows.first.locator("th").inner_text().startswith("vgg16_bn")
    assert page.locator("#answer th[aria-sort=descending]").count() == 1
    time.click()
    assert rows.first.locator("th").inner_text().startswith("deit_tiny")
    empty = page.locator("#answer th button", has_text="blocks below")
    empty.click()
    assert rows.last.locator("th").inner_text().startswith("vgg16_bn")  # gaps stay last


def test_a_network_that_is_first_without_enough_evidence_is_not_recommended(
    open_page: Open, results: Path, tmp_path: Path
) -> None:
    shutil.copytree(results, tmp_path / "results")
    (kept,) = [path for path in (tmp_path / "results").rglob("finding.json") if path.parent.parent.name == "compare"]
    found = json.loads(kept.read_text())
    found["origin"].setdefault("facts", {})["settled"] = False
    kept.write_text(json.dumps(found))
    page = open_page(write_report(tmp_path / "results", tmp_path / "report.html").as_uri())
    text = page.locator("#answer tr.marked").inner_text()
    assert "first, not decided" in text and "recommended" not in text


def test_words_move_under_the_names_before_a_column_hides(open_page: Open, address: str) -> None:
    wide, narrow = (open_page(address, width=width) for width in (2560, 680))
    heads = "#answer .panel[data-kind=Table] thead th"
    assert "family" in wide.locator(heads).all_inner_texts()[2]
    assert not any(text.startswith(("family", "on the Pareto")) for text in narrow.locator(heads).all_inner_texts())
    families = wide.locator("#answer tbody tr td:nth-child(3)").all_inner_texts()
    under = narrow.locator("#answer tbody th small").all_inner_texts()
    assert len(families) > 1
    assert [text.split(" · ")[0] for text in under] == families
    assert any(text.endswith("Pareto front") for text in under)
    assert narrow.locator("#answer .more").count() == 0


def network_order(page: Any, section: str) -> list[str]:
    """The networks of a table of key numbers, from top to bottom."""
    return page.locator(f"#{section} .keys tbody th button").all_inner_texts()


def test_a_section_has_one_headline_over_all_networks_and_one_table(open_page: Open, address: str, results: Path) -> None:
    page = open_page(address)
    accuracy = {}
    for folder in results.glob("*/probe/*"):
        finding = Finding.load(folder)
        accuracy[finding.specimen.split(":")[1]] = finding.key("best probe accuracy")
    best, worst = (pick(accuracy, key=lambda name: accuracy[name].value) for pick in (max, min))
    texts = {name: number.text.split(" [")[0] for name, number in accuracy.items()}
    assert page.locator("#probe .headline").all_inner_texts() == [
        f"Best probe accuracy: {texts[best]} ({best}) to {texts[worst]} ({worst})."
    ]
    row = page.locator("#probe .keys tbody tr", has_text=best)
    cell = row.locator("td").first
    assert cell.locator(".value").inner_text() + " " + cell.locator(".interval").inner_text() == accuracy[best].text
    assert cell.locator("small").inner_text() == f"{accuracy[best].at} · untrained twin {accuracy[best].baseline_text}"
    assert [cell.locator(f".bar .{part}").count() for part in ("fill", "reach", "mark")] == [1, 1, 1]
    assert page.locator("#probe .keys thead").inner_text().count("chance 25.0%") == 1  # the same for all: in the head, once
    assert page.locator("#probe .keys td[data-name=latency] .value.best").all_inner_texts() == ["17.9\xa0ms"]  # lower is better
    assert page.locator("#probe .keys td[data-name=features] .bar").count() == 0  # equal for all: a bar would show nothing


def test_key_numbers_sort_by_pointer_and_keyboard(open_page: Open, address: str) -> None:
    page = open_page(address)
    order = ["resnet50.a1_in1k", "vgg16_bn", "deit_tiny_patch16_224"]
    assert network_order(page, "probe") == order
    latency = page.locator("#probe .keys thead button", has_text="latency")
    latency.click()  # lower is better: the best comes first
    assert network_order(page, "probe") == ["deit_tiny_patch16_224", "resnet50.a1_in1k", "vgg16_bn"]
    assert page.locator("#probe .keys th[aria-sort=ascending]").inner_text().startswith("latency")
    latency.focus()
    page.keyboard.press("Enter")
    assert network_order(page, "probe") == ["vgg16_bn", "resnet50.a1_in1k", "deit_tiny_patch16_224"]
    page.keyboard.press("Space")
    assert network_order(page, "probe") == order
    assert page.locator("#probe .keys th[aria-sort$=ending]").count() == 0


@pytest.mark.parametrize("width", [1280, 390])
def test_a_row_or_a_list_chooses_the_network_of_the_figures(open_page: Open, address: str, width: int) -> None:
    page = open_page(address, width=width)
    if width == 390:
        page.select_option("#probe select", label="vgg16_bn")
    else:
        page.click("#probe .keys button.pick:text-is('vgg16_bn')")
    pressed = page.locator("#probe .keys button[aria-pressed=true]")
    assert pressed.all_inner_texts() == ["vgg16_bn"]
    page.locator("#probe .figures").scroll_into_view_if_needed()
    page.wait_for_selector("#probe .panel button[aria-label$='vgg16_bn as SVG']")
    assert page.inner_text("#probe .own").startswith("Best probe accuracy")
    reload(page, "#probe")
    assert pressed.all_inner_texts() == ["vgg16_bn"]


def test_tabs_by_keyboard_and_remembered(open_page: Open, address: str) -> None:
    page = open_page(address)
    tabs = page.locator("#probe [role=tab]")
    assert tabs.count() == 4
    chosen = page.locator("#probe [role=tab][aria-selected=true]")
    assert chosen.inner_text() == "resnet50.a1_in1k"  # the recommended one
    chosen.focus()
    page.keyboard.press("ArrowRight")
    assert chosen.inner_text() == "vgg16_bn"
    page.keyboard.press("End")
    assert chosen.inner_text() == "all networks"
    page.keyboard.press("ArrowLeft")
    assert chosen.inner_text().startswith("deit_tiny")
    assert page.evaluate("document.activeElement.getAttribute('aria-selected')") == "true"
    assert "deit_tiny" in page.inner_text("#probe .keys tr.chosen")
    reload(page, "#probe")
    assert chosen.inner_text().startswith("deit_tiny")


def test_a_caveat_is_one_line_that_opens(open_page: Open, address: str) -> None:
    page = open_page(address, width=390)
    line = page.locator("#similarity .caveat summary").first
    shut = line.bounding_box()["height"]
    assert shut < 32
    assert line.evaluate("s => s.scrollWidth > s.clientWidth")  # longer than the line
    line.focus()
    page.keyboard.press("Enter")
    wait_until(page, "document.querySelector('#similarity .caveat').open")
    assert line.bounding_box()["height"] > 1.7 * shut
    assert page.inner_text("#similarity .caveat p") == "Holds for all 3 networks."


def test_what_holds_for_several_networks_is_written_once(open_page: Open, address: str) -> None:
    page = open_page(address)
    press_tab(page.locator("#similarity [role=tab]", has_text="all networks"))
    assert page.locator("#similarity .caveats summary").all_inner_texts() == [
        "Debiased CKA on 480 images; below 0.05 it is not significantly different from zero.",
        "deit_tiny_patch16_224: Similar untrained layers are what depth alone gives.",
    ]
    row = page.locator("#left-out tr", has_text="reuse needs dense blocks")
    assert row.count() == 1
    assert row.locator("td.names span").all_inner_texts() == ["resnet50.a1_in1k", "vgg16_bn"]


def test_all_but_the_first_figures_of_a_section_wait_behind_one_line(open_page: Open, address: str) -> None:
    page = open_page(address)
    shut = page.locator("#features .panel").count()
    more = page.locator("#features details.more > summary").first
    assert re.match(r"2 more figures: .+ · .+", more.inner_text())
    more.focus()
    page.keyboard.press("Enter")
    wait_until(page, f"document.querySelectorAll('#features .panel').length === {shut + 2}")
    assert page.locator("#probe details.more").count() == 0


def test_findings_of_format_1_show_their_line_as_headline(open_page: Open, results: Path, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    shutil.copytree(results, folder)
    for card in folder.glob("**/finding.json"):
        content = json.loads(card.read_text())
        content |= {"format": 1, "line": content.pop("headline")}
        del content["key_numbers"]
        content["origin"].pop("facts", None)
        card.write_text(json.dumps(content))
    page = open_page(write_report(folder).as_uri())
    draw_all(page)
    assert page.locator(".keys").count() == 0
    assert re.match(r"resnet50.a1_in1k: Best probe accuracy \d\d\.\d% at ", page.inner_text("#probe .headline"))
    press_tab(page.locator("#probe [role=tab]", has_text="vgg16"))
    assert page.inner_text("#probe .headline").startswith("vgg16_bn: Best probe accuracy")
    assert page.inner_text("#answer .lead").startswith("Choose timm:resnet50.a1_in1k")
    assert page.locator("#answer tr.marked").count() == 1


def test_numbers_are_written_as_python_writes_them(open_page: Open, tmp_path: Path) -> None:
    small = [0.0, -0.0, 1.0, 0.5, 0.0625, 0.15, 0.9917, 0.123456, 0.00123, 4.2e-5, -0.0004, 1.005, -17.25]
    values = [*small, 12.34, 1234.5, 99999.0, 1e6, 2.5557e7, 3.1e9, 7e12]
    arrays = {
        "plain": array(values, ("layer",), "1", {"layer": [f"l{k}" for k in range(len(values))]}),
        "part": array(values, ("layer",), "fraction"),
    }
    Finding(
        analysis="probe", arrays=arrays, headline="It is 1.", origin={"specimen": {"name": "net"}},
        panels=(Table(title="t", rows="layer", columns=("plain", "part")),),
    ).save(tmp_path / "net" / "probe")  # fmt: skip
    page = open_page(write_report(tmp_path).as_uri())
    rows = page.locator("#probe .panel tbody tr")
    assert rows.count() == len(values)
    for value, row in zip(values, rows.all(), strict=True):
        assert row.locator("td").all_inner_texts() == [format_value(value), format_value(value, "fraction")]


def test_two_arrays_over_one_dimension_are_told_apart(open_page: Open, tmp_path: Path) -> None:
    over = ("layer", "axis")
    arrays = {
        "shift": array([[1.0, 2.0]], over, "px", {"layer": ["a"], "axis": ["row", "col"]}, "shift"),
        "spread": array([[3.0, 4.0]], over, "px", {"axis": ["row", "col"]}, "spread"),
    }
    Finding(
        analysis="probe", arrays=arrays, headline="It is 1.", origin={"specimen": {"name": "net"}},
        panels=(Table(title="t", rows="layer", columns=("shift", "spread")),),
    ).save(tmp_path / "net" / "probe")  # fmt: skip
    heads = open_page(write_report(tmp_path).as_uri()).locator("#probe .panel thead th").all_inner_texts()
    assert [head.split("\n")[0].split(" [")[0].rstrip("↕") for head in heads][1:] == [
        "shift, row",
        "shift, col",
        "spread, row",
        "spread, col",
    ]


@pytest.mark.parametrize("width", [1280, 1000])
def test_tables_of_text_need_no_scrolling(open_page: Open, tmp_path: Path, width: int) -> None:
    content = {
        "finding": ["MT101 Positions that no kernel reads", "MT202 One weight decay for all norm scales"],
        "fix": "Average before the projection, or pad the kernels to the stride: the edit kernel_padding, then train.",
        "cost": "With kernel_padding the function stays, multiply-adds of these layers rise; some training.",
        "reason": "A kernel whose stride does not divide it reads some pixels more often than others, a grid of weak pixels.",
        "source": "Kim et al. 2023, arXiv:2111.08413; the fraction of power is our measure.",
    }
    coords = {"finding": content.pop("finding")}
    for name in ("first", "second"):
        Finding(
            analysis="audit", arrays={key: array([text, text], ("finding",), "text", coords) for key, text in content.items()},
            headline="2 findings.", title="Design audit", origin={"specimen": {"name": name}},
            panels=(Table(title="What to do", rows="finding", columns=tuple(content)),),
        ).save(tmp_path / name / "audit")  # fmt: skip
    page = open_page(write_report(tmp_path).as_uri(), width=width)
    choose_all_networks(page)
    draw_all(page)
    wide = "[...document.querySelectorAll('#audit .panel .table')].map(t => t.scrollWidth - t.clientWidth)"
    assert page.evaluate(wide) == [0, 0]
