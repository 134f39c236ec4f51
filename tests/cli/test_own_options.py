"""Options of an analysis on the command line: their flag, their type, and how many words they take."""

import click
import pytest

from microtome import catalog
from microtome.cli.choices import WordChoice
from microtome.cli.own_options import own_option

CARDS = {option.name: option for option in catalog.analysis_entry("compare").options}


def test_a_choice_takes_its_words_and_a_number_is_one() -> None:
    price, margin = (own_option(CARDS[name], f"--{name}") for name in ("price", "margin"))
    assert price.name == "own_price" and isinstance(price.type, WordChoice) and margin.type is click.FLOAT
    assert price.help is not None and price.help.endswith("[default: time]")
    assert margin.help is not None and margin.help.endswith("[default: 0.01, 0.0 to 0.5]")


@pytest.mark.parametrize(("words", "value"), [([], ()), (["--prefer", "a", "--prefer", "b"], ("a", "b"))])
def test_a_repeatable_option_gathers_its_words(words: list[str], value: tuple[str, ...]) -> None:
    seen: dict[str, object] = {}
    option = own_option(CARDS["prefer"], "--prefer", repeatable=True)
    command = click.Command("x", params=[option], callback=lambda **given: seen.update(given))
    command.main(words, standalone_mode=False)
    assert seen == {"own_prefer": value}
