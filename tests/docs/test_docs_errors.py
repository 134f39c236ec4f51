"""docs/errors.md and errors.py hold the same classes, and every example on the page fails as it says."""

import os
import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from docs_reading import DOCS, Block, blocks

import microtome as mt
from microtome import errors
from microtome.cli import main

PAGE = DOCS / "errors.md"
CLASSES = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.MicrotomeError)]


def examples() -> list[tuple[Block, str]]:
    """Python blocks with the message that follows them; the first shows how to catch and has none."""
    listed = list(blocks(PAGE, "python", "text"))
    return [(one, two.text) for one, two in pairwise(listed) if (one.language, two.language) == ("python", "text")]


def section(text: str) -> str:
    """The heading under which a piece of the page stands."""
    return re.findall(r"^## (\w+)$", PAGE.read_text(encoding="utf-8").split(text)[0], re.MULTILINE)[-1]


def matches(said: str, wanted: str) -> bool:
    """Whether a message is what the page shows, where "…" stands for anything."""
    return re.fullmatch(".*".join(map(re.escape, wanted.strip().split("…"))), said.strip(), re.DOTALL) is not None


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and a machine without network or cached weights."""
    from huggingface_hub import constants

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def test_every_class_has_its_section_and_no_other() -> None:
    heads = re.findall(r"^## (\w+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert heads == [one.__name__ for one in CLASSES]


def test_most_classes_have_an_example() -> None:
    covered = {section(block.text) for block, _ in examples()} | {section(block.text) for block in blocks(PAGE, "console")}
    assert {one.__name__ for one in CLASSES} - covered == {"MicrotomeError", "MissingExtra"}


@pytest.mark.parametrize(("block", "wanted"), examples(), ids=[block.text.splitlines()[-1][:50] for block, _ in examples()])
@pytest.mark.usefixtures("elsewhere")
def test_python_examples_fail_as_shown(block: Block, wanted: str) -> None:
    with pytest.raises(errors.MicrotomeError) as caught:
        exec(block.text, {"mt": mt, "torch": torch})
    assert type(caught.value).__name__ == section(block.text)
    assert matches(str(caught.value), wanted), str(caught.value)


@pytest.mark.parametrize("block", list(blocks(PAGE, "console")), ids=lambda block: block.text.splitlines()[0])
@pytest.mark.usefixtures("elsewhere")
def test_console_examples_fail_as_shown(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    command, message = block.text.strip().split("\n", 1)
    before = os.getcwd()
    with pytest.raises(SystemExit) as ended:
        main(command.removeprefix("$ microtome ").split())
    kind = getattr(errors, section(block.text))
    assert ended.value.code == (2 if issubclass(kind, errors.UsageError) else 1)
    assert matches(capsys.readouterr().err, message)
    assert os.getcwd() == before


def test_the_dots_match_anything_and_nothing_else_does() -> None:
    assert matches("a at /tmp/x is b.", "a at … is b.")
    assert not matches("a at /tmp/x is c.", "a at … is b.")
