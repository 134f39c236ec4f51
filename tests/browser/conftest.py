"""A result folder, its report, and a browser that notes what the page logs and asks for."""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import example_folder
from microtome.report.html import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return example_folder.build(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="session")
def address(results: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(results, tmp_path_factory.mktemp("report") / "report.html").as_uri()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install -e '.[dev]')")
    if CHROMIUM is None:
        pytest.skip("no chromium is installed (apt-get install chromium)")
    with sync_api.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Any]:
    """Opens an address in a fresh context; at the end nothing was logged and nothing outside was asked for."""
    contexts: list[Any] = []
    messages: list[str] = []
    outside: list[str] = []

    def visit(address: str, width: int = 1280, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        own = re.match(r"(\w+://[^/]*)", address)
        assert own
        page.on(
            "request",
            lambda request: None if request.url.startswith((own.group(1), "data:", "blob:")) else outside.append(request.url),
        )
        page.goto(address)
        page.wait_for_selector("#answer")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert messages == []
    assert outside == []
