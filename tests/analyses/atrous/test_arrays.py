"""Fields as fractions, the outline of a star, and pairs as text, by hand."""

import numpy as np
import pytest

from microtome.analyses.atrous.arrays import OUTLINE, overlay_arrays, pair_text, relative_field


def test_a_field_is_given_as_fractions_and_zeros_stay() -> None:
    assert relative_field(np.array([[1.0, 3.0]])).tolist() == [[0.25, 0.75]]
    assert relative_field(np.zeros((2, 2))).tolist() == [[0, 0], [0, 0]]


def test_the_field_is_shown_by_its_square_root_with_the_star_outlined() -> None:
    fields = np.array([[[0.25, 0.75]], [[1.0, 0.0]]])
    found = overlay_arrays("aspp", fields, np.array([[True, False]]), {"specimen": ["trained", "untrained twins"]})
    assert found["field/aspp"].values[0].tolist() == fields.tolist()
    assert found["shown/aspp"].values[0, 0, 0].tolist() == pytest.approx([0.5, 0.75**0.5])
    assert found["base/aspp"].values[0, 0, :, 0].tolist() == [200, 60]
    assert found["star/aspp"].values[0].sum() == OUTLINE**2


def test_pairs_are_one_number_where_both_are_the_same() -> None:
    assert (pair_text((6, 6)), pair_text((6, 12)), pair_text((6, 6), " x ")) == ("6", "6 x 12", "6 x 6")
    assert pair_text((np.nan, np.inf)) == "? x all"
