"""Sentences on modules that never run and on labels that do not fit, as a reader would write them."""

from microtome.specimen.structure_notes import label_note, structure_notes


def test_modules_that_never_run_are_grouped_by_their_last_name() -> None:
    (note, empty) = structure_notes(["drop", "blocks.0.drop", "blocks.1.drop", "head.0"], ())
    assert note == "4 modules never run in a forward pass and cannot be watched: drop (3, first drop), head.0."
    assert empty.startswith("It has no submodules that run")


def test_what_lies_inside_another_is_not_named_and_long_lists_end() -> None:
    assert structure_notes(["a", "a.b", "ab", "c.d"], ())[0].endswith("watched: a, ab, c.d.")
    assert "3 modules" in structure_notes(["a", "a.b", "ab", "c.d"], ())[0]
    assert structure_notes([f"layer{n}" for n in range(7)], ())[0].endswith("layer5, ….")
    assert "1 module never runs" in structure_notes(["a"], ())[0]


def test_labels_fit_the_outputs_or_the_two_classes_of_one_logit() -> None:
    assert label_note(("cat", "dog"), 1, 2) is None and label_note(("cat", "dog"), 2, 2) is None
    assert label_note(None, 3, 3) is None and label_note(("cat",), None, None) is None
    assert label_note(("cat", "dog", "cow"), 2, 2) == "There are 3 labels for 2 outputs; labels beyond that mean nothing."
