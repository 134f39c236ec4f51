"""The loaders as text: Python that compiles, whatever the network is called."""

import ast

import pytest

from microtome.export.architecture import Architecture
from microtome.export.loader import architecture_loader, program_loader, quotable


def test_the_call_is_in_the_text() -> None:
    architecture = Architecture("timm.create_model", "'resnet18'", {"pretrained": False, "layers": [2, 1]})
    text = architecture_loader("a net", architecture)
    assert "net = timm.create_model('resnet18', pretrained=False, layers=[2, 1])" in text and "import timm\n" in text
    assert "microtome" not in text and [node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)] == [
        "load"
    ]


@pytest.mark.parametrize(("batch", "words"), [(None, "any number of images"), (1, "one image"), (4, "4 images")])
def test_the_batch_size_is_said(batch: int | None, words: str) -> None:
    assert words in program_loader("a net", batch)


def test_names_cannot_leave_the_docstring() -> None:
    title = quotable('net"""\nimport os\\')
    assert len(ast.parse(program_loader(title, None)).body) == 4  # docstring, two imports, load
