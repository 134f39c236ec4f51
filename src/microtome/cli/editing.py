"""The verb that changes a network and writes the changed copy."""

from collections.abc import Iterator, Sequence
from typing import Any

import click

from microtome import catalog
from microtome.cli import arguments

EDIT_HELP = """Change a network and write the changed copy to a file that opens by its name.

Several edits are applied in order. Options follow the name of the edit: EDIT:option=value,option=value. A list continues without
a name, as in stages=3,4. The original is never changed. Each edit reports in one line what it changed, its cost in parameters and
multiply-adds, and whether the function of the network is preserved.

\b
  microtome edit timm:resnet50 squeeze_excitation:ratio=8,stages=3,4 --out se50.safetensors
  microtome layers se50.safetensors
  microtome analyze se50.safetensors timm:resnet50 photos/

The edits and their options:

"""


def edit_command() -> click.Command:
    """The command, with help from the catalog of edits."""
    short = "Change a network and write the changed copy to a file that opens by its name."
    return click.Command(
        "edit", callback=_edit_specimen, params=list(_parameters()), help=EDIT_HELP + _edits_help(), short_help=short
    )


def _parameters() -> Iterator[click.Parameter]:
    yield click.Argument(["specimen"])
    yield click.Argument(["edits"], nargs=-1, required=True, metavar="EDIT…")
    yield click.Option(["--out"], required=True, metavar="FILE", help="File to write; its name must end in .safetensors.")
    yield click.Option(["--weights"], default="pretrained", show_default=True, help="pretrained, none, or a file.")
    yield click.Option(["--recipe"], default="", help="Input recipe, as for analyze.")
    yield click.Option(["--output"], default="", help="Output to measure where the network gives several, as for analyze.")
    yield click.Option(["--outputs"], default="", help="Meaning of the outputs: imagenet, or a file with one name per line.")
    yield click.Option(["--seed"], type=int, default=0, show_default=True, help="Seed of untrained weights.")


def _edits_help() -> str:
    """The options of every edit, as paragraphs that are not wrapped."""
    parts: list[str] = []
    for entry in catalog.edit_entries().values():
        lines = ["\b", f"{entry.name}: {entry.summary}"]
        for option in entry.options:
            shown = ",".join(map(str, option.default)) if isinstance(option.default, tuple | list) else str(option.default)
            takes = f" ({', '.join(option.choices)})" if option.choices else ""
            lines.append(f"  {option.name}={(shown.lower() if option.type == 'bool' else shown) or '…'}  {option.help}{takes}")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _edit_specimen(specimen: str, edits: Sequence[str], out: str, **given: Any) -> None:
    from microtome.edit import apply_edits, parse
    from microtome.specimen.saving import weights_path

    weights_path(out)
    wanted = [parse(word) for word in edits]
    settings = {**given, "weights": [given["weights"]], "recipe": [given["recipe"]], "output": [given["output"]]}
    (opened,) = [opener() for opener in arguments.specimen_openers([specimen], settings)]
    for edit in wanted:
        opened = apply_edits(opened, [edit])
        click.echo(opened.edits[-1].line)
    click.echo(f"Written: {opened.save(out)} ({opened.name}). Open it by its name: microtome analyze {out} IMAGES")
