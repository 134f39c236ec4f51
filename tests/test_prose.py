"""Docstrings in three parts, plurals and short lists."""

from microtome.prose import name_list, plural, read_docstring


def test_a_docstring_in_its_parts() -> None:
    found = read_docstring("Summary.\n\n    Body one.\n\n    Source: A,\n    B.\n\n    Body two.\n    ")
    assert (found.summary, found.source) == ("Summary.", "A, B.")
    assert found.body.split() == ["Body", "one.", "Body", "two."]
    assert read_docstring(None) == read_docstring("")
    assert read_docstring("Only a summary.").body == read_docstring("Only a summary.").source == ""


def test_numbers_and_names() -> None:
    assert [plural(n, "layer") for n in (0, 1, 2)] == ["0 layers", "1 layer", "2 layers"]
    assert plural(2, "axis", "axes") == "2 axes"
    assert name_list(["a", "b", "c"]) == "a, b, c" and name_list(("a", "b", "c", "d"), 2) == "a, b and 2 more"
