"""What several tests of the page do with it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Open = Callable[..., Any]


def wait_until(page: Any, expression: str, seconds: float = 20) -> None:
    """Waits until the expression is true; playwright's own way needs eval, which the page's policy forbids."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(50)


def draw_all(page: Any) -> None:
    """Everything drawn, as for the printer."""
    page.emulate_media(media="print")
    wait_until(page, "!document.querySelector('.late')")
    page.emulate_media(media="screen")


def unfold_all(page: Any) -> None:
    """Open all that is folded, and what was folded inside it, which appears only when the page has heard of the opening."""
    quiet = 0
    while quiet < 6:
        closed = page.evaluate("document.querySelectorAll('details:not([open])').length")
        page.evaluate("document.querySelectorAll('details:not([open])').forEach(d => { d.open = true; })")
        quiet = 0 if closed else quiet + 1
        page.wait_for_timeout(50)


def press_tab(tab: Any) -> None:
    """Clicks a tab until it is chosen: a figure that is drawn above it meanwhile moves it from under the pointer."""
    deadline = time.monotonic() + 20
    while tab.get_attribute("aria-selected") != "true":
        assert time.monotonic() < deadline, "the tab does not take a click"
        tab.click()


def choose_all_networks(page: Any) -> None:
    """The figures of all networks in every section."""
    for tab in page.locator("[role=tab]:text-is('all networks')").all():
        press_tab(tab)


def reload(page: Any, selector: str) -> None:
    """Loads the page again, after the browser has had time to write down what the page keeps: it does that later, unseen."""
    page.wait_for_timeout(1000)
    page.reload()
    page.wait_for_selector(selector)


def download(page: Any, selector: str) -> tuple[str, bytes]:
    with page.expect_download() as caught:
        page.locator(selector).first.click()
    return caught.value.suggested_filename, Path(caught.value.path()).read_bytes()
