"""Words that an option takes: the nearest one is named, and a word far from all lists them."""

import click
import pytest

from microtome.cli.choices import WordChoice


def test_the_nearest_word_is_named() -> None:
    kinds = WordChoice(["layercam", "gradcam", "lime"])
    assert kinds.convert("lime", None, None) == "lime"
    with pytest.raises(click.BadParameter, match=r"'layrcam' is not one of .* Did you mean 'layercam' or"):
        kinds.convert("layrcam", None, None)
    with pytest.raises(click.BadParameter, match="gradcam") as far:
        kinds.convert("zzzzzz", None, None)
    assert "Did you mean" not in str(far.value)
