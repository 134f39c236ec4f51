"""Bases and constants of classes, read from their text."""

import ast

from microtome.class_files import base_name, class_constants

TEXT = """
class Census(analysis.Census[Rows], Plain):
    title = "Dead units"
    rank: int = 3
    made = build()
    later: str
"""


def test_bases_and_constants_are_read_without_running_anything() -> None:
    (node,) = ast.parse(TEXT).body
    assert isinstance(node, ast.ClassDef)
    assert [base_name(base) for base in node.bases] == ["Census", "Plain"]
    assert class_constants(node) == {"title": "Dead units", "rank": 3}
    assert base_name(ast.parse("f()", mode="eval").body) == ""
