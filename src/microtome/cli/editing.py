"""The verb that changes a network and writes the changed copy."""

from collections.abc import Iterator, Sequence
from typing import Any

import click

from microtome import catalog
from microtome.cli import arguments

EDIT_HELP = """Change a network and write the changed copy to a file that opens by its name.

Several edits are made in a row. Options follow the edit's name: EDIT:option=value,option=value; a list goes on without a
name, as in stages=3,4. The original is never touched. Each edit says in one line what it did, what it costs in parameters and
multiply-adds, and whether the network still answers as before.

\b
  microtome edit timm:resnet50 squeeze_excitation:ratio=8,stages=3,4 --out se50.safetensors
  microtome layers se50.safetensors
  microtome analyze se50.safetensors timm:resnet50 photos/

The edits and their options:

"""


def edit_command() -> click.Command:
    """The command, its help made from the catalog of edits."""
    short = "Change a network and write the changed copy to a file that opens by its name."
    command = click.Command(
        "edit", callback=_edit_specimen, params=list(_parameters()), help=EDIT_HELP + _edits_help(), short_help=short
    )
    for one in arguments.OPENING:
        one(command)
    return command


def _parameters() -> Iterator[click.Parameter]:
    yield click.Argument(["specimen"])
    yield click.Argument(["edits"], nargs=-1, required=True, metavar="EDIT…")
    yield click.Option(["--out"], required=True, metavar="FILE", help="The file to write; its name ends in .safetensors.")


def _edits_help() -> str:
    """What every edit takes, as paragraphs that are not wrapped."""
    parts: list[str] = []
    for entry in catalog.edit_entries().values():
        lines = ["\b", f"{entry.name}: {entry.summary}"]
        for one in entry.options:
            shown = ",".join(map(str, one.default)) if isinstance(one.default, tuple | list) else str(one.default)
            takes = f" ({', '.join(one.choices)})" if one.choices else ""
            lines.append(f"  {one.name}={(shown.lower() if one.type == 'bool' else shown) or '…'}  {one.help}{takes}")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _edit_specimen(specimen: str, edits: Sequence[str], out: str, **said: Any) -> None:
    from microtome.edit import apply_edits, parse
    from microtome.specimen.saving import weights_path

    weights_path(out)
    wanted = [parse(word) for word in edits]
    (opened,) = [one() for one in arguments.specimen_openers([specimen], said)]
    for one in wanted:
        opened = apply_edits(opened, [one])
        click.echo(opened.edits[-1].line)
    click.echo(f"Written: {opened.save(out)} ({opened.name}). Open it by its name: microtome analyze {out} IMAGES")
