"""An option of the command line that takes one of several words, and names the nearest one for a misspelt word."""

from typing import Any, final

import click

from microtome.errors import did_you_mean, nearest_names


@final
class WordChoice(click.Choice[str]):
    """One of several words."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        words = [str(word) for word in self.choices]
        if isinstance(value, str) and value not in words and nearest_names(value, words):
            self.fail(f"'{value}' is not one of {', '.join(words)}.{did_you_mean(value, words)}", param, ctx)
        return super().convert(value, param, ctx)
