"""Every command line shown in the documentation is understood: verb, options, analyses and their options."""

import click
import pytest
from docs_reading import commands, files, shown

from microtome import catalog, edit
from microtome.cli import arguments
from microtome.cli.verbs import build_group

SHOWN = [(shown(path), words) for path in files() for words in commands(path)]


def parsed(words: list[str]) -> click.Context:
    """The context of the verb that the words call, which is not run.

    Raises: click.UsageError or UnknownName where the command line would refuse them.
    """
    root = build_group()
    outer = root.make_context("microtome", list(words))
    name, command, rest = root.resolve_command(outer, [*outer._protected_args, *outer.args])
    assert command is not None
    return command.make_context(name, rest, parent=outer)


@pytest.mark.parametrize(("where", "words"), SHOWN, ids=[f"{where}: {' '.join(words)}" for where, words in SHOWN])
def test_it_is_understood(where: str, words: list[str]) -> None:
    try:
        said = parsed(words).params
    except click.exceptions.Exit:  # --help and --version end here
        return
    for name in f"{said.get('only') or ''},{said.get('skip') or ''}".split(","):
        if name:
            catalog.analysis_entry(name)
    for analysis, options in arguments.parse_settings(said.get("pairs") or (), None).items():
        assert set(options) <= {one.name for one in catalog.analysis_entry(analysis).options}
    for word in said.get("edits") or ():
        edit.parse(word)
    for word in said.get("recipe") or ():
        arguments.parse_recipe(word)
    if said.get("specimens"):
        names, _ = arguments.split_words(said["specimens"], said.get("images"))
        arguments.specimen_openers(names, said)


def test_there_are_many_and_wrong_ones_are_refused() -> None:
    assert len(SHOWN) > 20
    with pytest.raises(click.UsageError, match="--wieghts"):
        parsed(["analyze", "timm:resnet18", "photos/", "--wieghts", "none"])
