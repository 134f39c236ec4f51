"""Tables print their rows, spread a second dimension, and say what is missing."""

import numpy as np

from microtome.finding import array
from microtome.panels import Table
from sample_findings import finding, one, texts

FOUND = finding()


def test_table_prints_rows_and_spreads_a_second_dimension():
    written = texts(FOUND.figure("All specimens"))
    assert "25\N{NARROW NO-BREAK SPACE}557\N{NARROW NO-BREAK SPACE}032" in written
    assert "timm:deit_small_patch16_224.fb_in1k" in written
    assert "top-1 accuracy\n(own head)" in written
    assert written.count("yes") == 3
    # Heading and eight cells in each of seven columns: name, family, parameters, three criteria, front.
    assert len(written) == 7 * 9


def test_table_says_what_is_missing_and_what_is_left_out():
    values = array(np.append(np.arange(69.0), np.nan), ("layer",), "px", title="size")
    written = texts(one(Table(title="t", columns=("v",), rows="layer"), v=values))
    assert "the first 60 of 70 rows" in written
    assert "size [px]" in written
    assert "59" in written
    assert "69" not in written
    few = texts(one(Table(title="t", columns=("v",), rows="layer"), v=values[66:]))
    assert few[-4:] == ["66", "67", "68", "–"]


def test_two_arrays_over_one_dimension_are_told_apart():
    shift = array(np.array([[1.0, 2.0], [3.0, 4.0]]), ("layer", "axis"), "px", {"axis": ["row", "col"]}, title="shift")
    spread = array(np.array([[5.0, 6.0], [7.0, 8.0]]), ("layer", "axis"), "px", {"axis": ["row", "col"]}, title="spread")
    both = texts(one(Table(title="t", columns=("a", "b"), rows="layer"), a=shift, b=spread))
    assert [text.replace("\n", " ") for text in both if "row" in text] == ["shift [px], row", "spread [px], row"]
    alone = texts(one(Table(title="t", columns=("a",), rows="layer"), a=shift))
    assert "row" in alone
