"""Docstrings in three parts, plurals and short lists."""

from microtome.prose import agree, capitalise, count_of, name_list, plural, read_docstring


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


def test_counts_of_a_total_read_as_english() -> None:
    assert [count_of(n, 3, "layer") for n in range(4)] == [
        "none of the 3 layers",
        "1 of 3 layers",
        "2 of 3 layers",
        "all 3 layers",
    ]
    assert [count_of(n, 1, "axis", "axes") for n in (0, 1)] == ["no axis", "the only axis"] and count_of(
        2, 5, "axis", "axes"
    ) == "2 of 5 axes"
    assert count_of(0, 0, "layer") == "no layer"
    assert capitalise("none of X") == "None of X" and capitalise("") == ""
    assert [f"{count_of(n, 3, 'layer')} {agree(n, 'covers', 'cover')}" for n in (0, 1, 3)] == [
        "none of the 3 layers covers",
        "1 of 3 layers covers",
        "all 3 layers cover",
    ]
