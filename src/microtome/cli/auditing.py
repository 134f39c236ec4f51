"""The verb `audit`: what is found as text, JSON or SARIF; a baseline; an exit code for CI; the repair."""

import json
import os
import shlex
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microtome._version import __version__
from microtome.atomic_write import atomic_write
from microtome.cli import arguments
from microtome.errors import BadOption, Uneditable

if TYPE_CHECKING:
    from microtome.edit import Edit
    from microtome.finding import Finding
    from microtome.specimen import Specimen

FAIL_LEVELS = ("note", "warning", "error")
EXIT_CODES = (
    "\n\nExit codes: 0 nothing new at or above --fail-on; 1 something is, or the audit failed; 2 the call was wrong. Weights, a "
    "baseline and --ignore decide what is new: microtome audit NET --write-baseline known.json, then --baseline known.json."
)


def with_audit_options(command: click.Command) -> click.Command:
    """The command of the analysis with the options of an audit."""
    command.callback = _audit
    command.help = (command.help or "") + EXIT_CODES
    command.params += [
        click.Option(["--format", "form"], type=click.Choice(["text", "json", "sarif"]), default="text", show_default=True,
                     help="What is written: for people, for scripts, for code scanning (SARIF 2.1.0)."),
        click.Option(["--output"], metavar="FILE", help="Write it there instead of to the terminal."),
        click.Option(["--fail-on"], type=click.Choice(["never", *FAIL_LEVELS]), default="error", show_default=True,
                     help="The least severity at which a new finding makes the exit code 1."),
        click.Option(["--baseline"], metavar="FILE", help="What is known already, and not new."),
        click.Option(["--write-baseline"], metavar="FILE", help="Write what is found as a baseline."),
        click.Option(["--fix"], metavar="FILE",
                     help="Make the edits that mend what was found and keep what was learnt; write the network (.safetensors)."),
    ]  # fmt: skip
    return command


def _audit(specimen: str, images: str | None, wanted: bool, form: str, output: str | None, fail_on: str, baseline: str | None,
           write_baseline: str | None, fix: str | None, own_ignore: str | None, **said: Any) -> int:  # fmt: skip
    from microtome.analyses.audit import baseline as lists
    from microtome.analyses.audit import sarif

    known = lists.read_baseline(baseline) if baseline else frozenset[sarif.RuleLocation]()
    for path in filter(None, (output, write_baseline)):
        _make_folder(path)
    if own_ignore:
        from microtome.analyses.audit.run import parse_ignored

        parse_ignored([word.strip() for word in own_ignore.split(",") if word.strip()])
    if fix:
        from microtome.specimen.saving import weights_path

        weights_path(fix)
    opened = arguments.specimen_openers([specimen], said)[0]()
    finding = _measure(opened, {} if own_ignore is None else {"ignore": own_ignore}, wanted, said)
    if finding is None:
        return 1
    form = "json" if said["as_json"] else form
    if form == "text":
        text = _audit_text(finding, known)
    else:
        value = sarif.audit_json(finding, known) if form == "json" else sarif.sarif_log(finding, __version__, known)
        text = json.dumps(value, indent=1, ensure_ascii=False)
    if output:
        with atomic_write(output) as file:
            file.write(f"{text}\n".encode())
    else:
        click.echo(text)
    if write_baseline:
        lists.write_baseline(write_baseline, finding)
    if fix:
        _write_mended(opened, finding, fix, _asked_words(specimen, said))
    return int(fail_on != "never" and any(_reaches_level(one, fail_on) for one in sarif.fault_entries(finding, known)))


def _make_folder(path: str) -> None:
    """Make the folder of the file and check that it can be written, before anything is measured.

    Raises:
        BadOption: it cannot be made, or the file cannot be written.
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadOption(f"'{path}' cannot be written ({error.strerror}).") from None
    if Path(path).is_dir() or not os.access(Path(path).parent, os.W_OK):
        raise BadOption(
            f"'{path}' cannot be written: {'it is a folder' if Path(path).is_dir() else 'its folder is read-only'}."
        )


def _reaches_level(one: dict[str, Any], least: str) -> bool:
    return bool(one["new"]) and FAIL_LEVELS.index(one["severity"]) >= FAIL_LEVELS.index(least)


def _measure(specimen: "Specimen", options: dict[str, Any], wanted: bool, said: dict[str, Any]) -> "Finding | None":
    """The finding, kept in the folder of findings like every other; None where it failed, which is said."""
    from microtome.runner import analyze
    from microtome.scan import Pace

    told = {"command": " ".join(["microtome", *sys.argv[1:]]), "title": specimen.name}
    pace = Pace(device=said["device"], batch=said["batch"])
    outcome = analyze([specimen], None, said["out"], only=["audit"], settings={"audit": options}, pace=pace, said=told)
    for one in outcome.failed:
        click.echo(f"FAILED {one['specimen']}: {one['reason']}", err=True)
    if outcome.failed:
        return None
    if wanted:
        from microtome.report.html import write_report

        write_report(outcome.root)
    return outcome.of("audit")[0]


def _audit_text(finding: "Finding", known: Collection[tuple[str, str]]) -> str:
    """The audit for people: each finding with its layers, evidence, reason and repair; the line last."""
    from microtome.analyses.audit.sarif import fault_entries

    lines: list[str] = []
    for one in fault_entries(finding, known):
        mark = "" if one["new"] else " (known)"
        lines += [
            f"{one['severity']} {one['rule']} {one['title']}{mark}",
            f"  where     {_few_layers(one['layers'])}",
            f"  evidence  {one['evidence']}.",
            f"  why       {one['reason']} ({one['source'].rstrip('.')})",
            f"  repair    {one['fix']} Cost: {one['cost']}",
            *([f"  edit      {_shorten(one['edit'])}"] if one["edit"] else []),
            "",
        ]
    rules = finding["outcome"].coords["criterion"].values
    lines += [
        f"{id} {text}" for id, text in zip(rules, finding["outcome"].values, strict=True) if str(text).startswith("not checked")
    ]
    return "\n".join([*lines, finding.headline])


def _shorten(edit: str, most: int = 100) -> str:
    return edit if len(edit) <= most else f"{edit[:most]}… (whole in --format json)"


def _few_layers(layers: Sequence[str]) -> str:
    return ", ".join(layers[:6]) + (f" and {len(layers) - 6} more" if len(layers) > 6 else "")


def _asked_words(specimen: str, said: dict[str, Any]) -> str:
    """The network as it was asked for, as words of another command."""
    more = [f"--{name} {shlex.quote(one)}" for name in ("weights", "recipe") for one in said[name]]
    return " ".join([shlex.quote(specimen), *more])


def _write_mended(specimen: "Specimen", finding: "Finding", path: str, asked: str) -> None:
    """Write the network with every edit that mends a finding and may be made unasked; say what is left to commands and hands.

    Edits that keep the function are made. Those that change it are made where the weights are untrained, for nothing is lost; of
    trained ones (or unknown: a module of one's own) they would undo what was learnt, so the command is printed instead.
    """
    from microtome.analyses.audit.sarif import fault_entries
    from microtome.edit import apply_edits, parse

    left: list[str] = []
    changed = specimen
    done: set[str] = set()
    for one in fault_entries(finding):
        if one["edit"] in done:
            continue
        if not one["edit"]:
            left.append(f"{one['rule']}: no edit; {one['fix']}")
            continue
        edit = parse(one["edit"])
        try:
            if specimen.trained is not False and not edit.refusal(changed) and edit.preserves(changed).how == "no":
                left.append(f"{one['rule']}: not made, for {_why_unasked(edit, asked)}")
                continue
            changed = apply_edits(changed, [edit])
        except Uneditable as error:
            left.append(f"{one['rule']}: {error} {one['fix']}")
            continue
        done.add(one["edit"])
        click.echo(f"{one['rule']}: {changed.edits[-1].line}", err=True)
    for line in left:
        click.echo(line, err=True)
    if changed is specimen:
        click.echo(f"Nothing was found that --fix may mend; {path} was not written.", err=True)
    else:
        click.echo(f"Written: {changed.save(path)}", err=True)


def _why_unasked(edit: "Edit", asked: str) -> str:
    """Why an edit is not made unasked, and how to ask for it."""
    return (
        f"{edit.name()} changes the function of trained weights: it has to be trained after. Ask for it: "
        f"microtome edit {asked} {shlex.quote(edit.to_cli())} --out edited.safetensors"
    )
