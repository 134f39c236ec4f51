"""Names of equal networks in one run: always different where anything is, never longer than the parts that differ."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from microtome.specimen.distinct_names import distinguishing_words


def words(*weights, **more):
    return distinguishing_words([("net", {"weights": one, **more}) for one in weights])


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (("epoch1.pth", "epoch2.pth"), ["epoch1", "epoch2"]),
        (("a/epoch1.pth", "b/epoch2.pth"), ["epoch1", "epoch2"]),
        (("runA/best.pth", "runB/best.pth"), ["runA/best", "runB/best"]),
        (("/x/runA/weights/best.pth", "/x/runB/weights/best.pth"), ["runA/best", "runB/best"]),
        (("a/1/best.pth", "a/2/best.pth", "b/1/best.pth"), ["a/1/best", "a/2/best", "b/1/best"]),
        (("best.pth", "best.safetensors"), ["best.pth", "best.safetensors"]),
        (("pretrained", "none"), ["pretrained", "none"]),
        (("best.pth", "pretrained"), ["best", "pretrained"]),
    ],
)
def test_files_are_told_by_their_nearest_differing_parts(weights, expected):
    assert words(*weights) == expected


def test_one_file_twice_is_told_by_its_state_or_not_at_all():
    asked = [("net", {"weights": "w.pth", "state": state}) for state in ("ema", "model")]
    assert distinguishing_words(asked) == ["ema", "model"]
    assert words("w.pth", "w.pth") == ["", ""]


def test_names_that_differ_need_no_words():
    assert distinguishing_words([("a", {"weights": "x"}), ("b", {"weights": "y"})]) == ["", ""]


PARTS = st.text(string.ascii_lowercase, min_size=1, max_size=2)


@example([([], "a", ".pth"), ([], "a", ".pt"), (["a"], "a", ".pth")])
@given(
    st.lists(
        st.tuples(st.lists(PARTS, min_size=0, max_size=3), PARTS, st.sampled_from([".pth", ".pt"])), min_size=2, max_size=6
    )
)
def test_different_paths_have_different_words(drawn):
    paths = ["/".join([*folders, name + ending]) for folders, name, ending in drawn]
    found = words(*paths)
    for one, other in ((a, b) for a in range(len(paths)) for b in range(a)):
        if paths[one] != paths[other]:
            assert found[one] != found[other]
