"""Rows that survive: read back, a torn line left out, nothing measured twice."""

import numpy as np

from microtome.analyses.slimming.journal import Journal


def test_rows_come_back_and_are_not_measured_again(tmp_path) -> None:
    path = tmp_path / "kept" / "rows.jsonl"
    answers = np.array([True, False, True] * 7)
    Journal(path).answers(["block", "a"], lambda: answers)
    again = Journal(path)
    assert again.resumed == 1 and again.knows(["block", "a"])
    np.testing.assert_array_equal(again.answers(["block", "a"], lambda: 1 / 0), answers)  # type: ignore[arg-type, return-value]


def test_a_torn_line_is_measured_again_and_does_not_spoil_the_next(tmp_path) -> None:
    path = tmp_path / "rows.jsonl"
    one, two = np.array([True] * 9), np.array([False] * 9)
    journal = Journal(path)
    journal.answers(["one"], lambda: one)
    journal.answers(["two"], lambda: two)
    text = path.read_text()
    path.write_text(text[:-20])
    torn = Journal(path)
    assert torn.knows(["one"]) and not torn.knows(["two"])
    torn.answers(["two"], lambda: two)
    assert Journal(path).resumed == 2


def test_a_row_whose_answers_do_not_add_up_is_left_out(tmp_path) -> None:
    path = tmp_path / "rows.jsonl"
    Journal(path).answers(["one"], lambda: np.array([True, True, False]))
    path.write_text(path.read_text().replace('"right": 2', '"right": 3'))
    assert Journal(path).resumed == 0


def test_without_a_file_rows_live_in_memory() -> None:
    journal = Journal(None)
    journal.answers(["one"], lambda: np.array([True]))
    assert journal.knows(["one"])
