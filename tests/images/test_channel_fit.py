"""Which images fit which networks by their channels, and what the sentence proposes where they do not."""

from hypothesis import given
from hypothesis import strategies as st

from microtome.images.channel_fit import channel_misfit

COUNTS = st.integers(1, 12)


@given(COUNTS, COUNTS, st.sampled_from(["folder", "tensors"]))
def test_equal_counts_and_grey_with_colour_fit_and_nothing_else_does(have: int, channels: int, kind: str) -> None:
    fits = have == channels or sorted((have, channels)) == [1, 3]
    assert (channel_misfit("set", kind, have, channels) == "") == fits


def test_bands_are_proposed_where_there_are_too_many_in_files() -> None:
    assert "--bands 1,2,3,4" in channel_misfit("set", "folder", 6, 4) or "bands=(1,2,3,4)" in channel_misfit(
        "set", "folder", 6, 4
    )
    assert "bands=(1,)" in channel_misfit("set", "folder", 6, 1) or "--bands 1" in channel_misfit("set", "folder", 6, 1)
    memory = channel_misfit("set", "tensors", 6, 1)
    assert "bands" not in memory and "files of 1 channel, or a network built for 6 (in_chans=6 in timm)" in memory
    assert channel_misfit("set", "folder", 2, 5).startswith("the network takes 5 channels and 'set' holds images of 2; give")
