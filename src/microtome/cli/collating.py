"""The verbs of analyses that read findings: `microtome NAME DIR` makes one again from the findings of a folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from microtome import catalog
from microtome.cli import arguments
from microtome.cli.own_options import own_option
from microtome.errors import UsageError


def collation_command(name: str, entry: catalog.Entry) -> click.Command:
    """The command of one analysis of findings, made from its catalog entry; options of its own come as `own_NAME`."""

    def run(folder: str, pairs: Sequence[str], **given: Any) -> None:
        words = {option.removeprefix("own_"): value for option, value in given.items()}
        own = {option: ",".join(value) if isinstance(value, tuple) else value for option, value in words.items()}
        _collate_again(name, folder, pairs, {option: value for option, value in own.items() if value not in (None, "")})

    command = click.command(
        name=name, short_help=entry.summary, help=f"{entry.summary}\n\n{entry.body}\n\nSource: {entry.source}"
    )(run)
    command.params = [
        click.Argument(["folder"], metavar="DIR"),
        click.Option(["--set", "pairs"], multiple=True, metavar=f"{name}.OPTION=VALUE", help=f"Option of {name}; repeatable."),
        *(
            own_option(option, f"--{option.name.replace('_', '-')}", repeatable=option.type.startswith("tuple"))
            for option in entry.options
        ),
    ]
    return command


def _collate_again(name: str, folder: str, pairs: Sequence[str], own: Mapping[str, Any]) -> None:
    """Make the finding from those of the folder, save it there in place of the one before, and print it."""
    from microtome.analysis import Collation, build_analysis
    from microtome.cli.tables import collation_table
    from microtome.finding import Finding
    from microtome.store import Store

    settings = arguments.parse_settings(pairs, None).get(name, {}) | dict(own)
    analysis = build_analysis(catalog.analysis_entry(name).load(), settings)  # a wrong word is told before anything is read
    assert isinstance(analysis, Collation)
    if not Path(folder).is_dir():
        raise UsageError(
            f"{folder} is not a folder of findings. Measure first: microtome analyze SPECIMEN… IMAGES --out {folder}"
        )
    store = Store.create(folder)
    findings = [Finding.load(path) for path in store.current()]
    finding = analysis.of([finding for finding in findings if finding.specimen])
    place = str(store.save(finding).relative_to(store.root))
    run = store.run()
    kept = [path for path in run.get("findings", []) if f"/{name}/" not in f"/{path}"]
    store.write_run(
        run | {"findings": [*kept, place]} if run else {"findings": [str(f.relative_to(store.root)) for f in store.current()]}
    )
    click.echo(collation_table(finding))
