"""The options of an analysis as options of its verb, made from its catalog entry."""

from typing import Any

import click

from microtome import catalog
from microtome.cli.choices import WordChoice


def own_option(card: catalog.OptionCard, flag: str, *, repeatable: bool = False) -> click.Option:
    """The option as `flag`, whose value comes as `own_NAME`; None, or with `repeatable` no value, where it is not given."""
    return click.Option(
        [flag, f"own_{card.name}"], default=None, multiple=repeatable, help=_option_help(card), type=_option_type(card)
    )


def _option_help(card: catalog.OptionCard) -> str:
    shown = ",".join(map(str, card.default)) if isinstance(card.default, tuple | list) else str(card.default)
    reach = (
        ""
        if card.low is None and card.high is None
        else f", {'' if card.low is None else card.low} to {'' if card.high is None else card.high}"
    )
    return f"{card.help}  [default: {shown or 'none'}{reach}]"


def _option_type(card: catalog.OptionCard) -> click.ParamType[Any] | None:
    if card.choices and not card.type.startswith("tuple"):
        return WordChoice(card.choices)
    return {"int": click.INT, "float": click.FLOAT, "bool": click.BOOL}.get(card.type)
