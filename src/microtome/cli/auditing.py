"""The verb `audit`: faults as text, JSON or SARIF, with a baseline, an exit code for CI, and repairs."""

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
from microtome.cli.choices import WordChoice
from microtome.errors import BadOption, Uneditable

if TYPE_CHECKING:
    from microtome.edit import Edit
    from microtome.finding import Finding
    from microtome.specimen import Specimen

FAIL_LEVELS = ("note", "warning", "error")
EXIT_CODES = (
    "\n\nExit codes: 0 no new fault at or above --fail-on; 1 at least one, or the audit failed; 2 wrong usage. To accept the known "
    "faults: microtome audit NET --write-baseline known.json, and from then on --baseline known.json."
)


def with_audit_options(command: click.Command) -> click.Command:
    """The command of the analysis with the options of an audit."""
    command.callback = _audit
    command.help = (command.help or "") + EXIT_CODES
    command.params += [
        click.Option(["--format", "form"], type=WordChoice(["text", "json", "sarif"]), default="text", show_default=True,
                     help="Output format: text, json for scripts, or sarif (2.1.0) for code scanning."),
        click.Option(["--write"], metavar="FILE", help="File to write instead of the terminal."),
        click.Option(["--fail-on"], type=WordChoice(["never", *FAIL_LEVELS]), default="error", show_default=True,
                     help="Lowest severity at which a new fault gives exit code 1."),
        click.Option(["--baseline"], metavar="FILE", help="File of known faults, which do not count as new."),
        click.Option(["--write-baseline"], metavar="FILE", help="File to write the faults to, as a baseline."),
        click.Option(["--fix"], metavar="FILE",
                     help="Apply the edits that repair faults and keep what was learned; write the network to FILE (.safetensors)."),
    ]  # fmt: skip
    return command


def _audit(specimen: str, images: str | None, wanted: bool, form: str, write: str | None, fail_on: str, baseline: str | None,
           write_baseline: str | None, fix: str | None, own_ignore: str | None, **given: Any) -> int:  # fmt: skip
    from microtome.analyses.audit import baseline as lists
    from microtome.analyses.audit import sarif

    known = lists.read_baseline(baseline) if baseline else frozenset[sarif.RuleLocation]()
    for path in filter(None, (write, write_baseline)):
        _make_folder(path)
    if own_ignore:
        from microtome.analyses.audit.run import parse_ignored

        parse_ignored([word.strip() for word in own_ignore.split(",") if word.strip()])
    if fix:
        from microtome.specimen.saving import weights_path

        weights_path(fix)
    opened = arguments.specimen_openers([specimen], given)[0]()
    finding = _measure(opened, {} if own_ignore is None else {"ignore": own_ignore}, wanted, given)
    if finding is None:
        return 1
    form = "json" if given["as_json"] else form
    if form == "text":
        text = _audit_text(finding, known)
    else:
        value = sarif.audit_json(finding, known) if form == "json" else sarif.sarif_log(finding, __version__, known)
        text = json.dumps(value, indent=1, ensure_ascii=False)
    if write:
        with atomic_write(write) as file:
            file.write(f"{text}\n".encode())
    else:
        click.echo(text)
    if write_baseline:
        lists.write_baseline(write_baseline, finding)
    if fix:
        _write_mended(opened, finding, fix, _asked_words(specimen, given))
    return int(fail_on != "never" and any(_reaches_level(entry, fail_on) for entry in sarif.fault_entries(finding, known)))


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


def _reaches_level(entry: dict[str, Any], least: str) -> bool:
    return bool(entry["new"]) and FAIL_LEVELS.index(entry["severity"]) >= FAIL_LEVELS.index(least)


def _measure(specimen: "Specimen", options: dict[str, Any], wanted: bool, given: dict[str, Any]) -> "Finding | None":
    """The finding, saved in the folder of findings; None if the audit failed, which is reported."""
    from microtome.runner import analyze
    from microtome.scan import Pace

    record = {"command": " ".join(["microtome", *sys.argv[1:]]), "title": specimen.name}
    pace = Pace(device=given["device"], batch=given["batch"])
    outcome = analyze([specimen], None, given["out"], only=["audit"], settings={"audit": options}, pace=pace, said=record)
    for failure in outcome.failed:
        click.echo(f"FAILED {failure['specimen']}: {failure['reason']}", err=True)
    if outcome.failed:
        return None
    if wanted:
        from microtome.report.html import write_report

        write_report(outcome.root)
    return outcome.of("audit")[0]


def _audit_text(finding: "Finding", known: Collection[tuple[str, str]]) -> str:
    """The audit as text: each fault with its layers, evidence, reason and repair; the headline last."""
    from microtome.analyses.audit.sarif import fault_entries

    lines: list[str] = []
    for entry in fault_entries(finding, known):
        mark = "" if entry["new"] else " (known)"
        lines += [
            f"{entry['severity']} {entry['rule']} {entry['title']}{mark}",
            f"  where     {_few_layers(entry['layers'])}",
            f"  evidence  {entry['evidence']}.",
            f"  why       {entry['reason']} ({entry['source'].rstrip('.')})",
            f"  repair    {entry['fix']} Cost: {entry['cost']}",
            *([f"  edit      {_shorten(entry['edit'])}"] if entry["edit"] else []),
            "",
        ]
    rules = finding["outcome"].coords["criterion"].values
    lines += [
        f"{id} {text}" for id, text in zip(rules, finding["outcome"].values, strict=True) if str(text).startswith("not checked")
    ]
    return "\n".join([*lines, finding.headline])


def _shorten(edit: str, most: int = 100) -> str:
    return edit if len(edit) <= most else f"{edit[:most]}… (in full with --format json)"


def _few_layers(layers: Sequence[str]) -> str:
    return ", ".join(layers[:6]) + (f" and {len(layers) - 6} more" if len(layers) > 6 else "")


def _asked_words(specimen: str, given: dict[str, Any]) -> str:
    """The network as given on the command line, as words of another command."""
    more = [
        f"--{name} {shlex.quote(value)}" for name in ("weights", "state", "recipe", "output") for value in given.get(name, ())
    ]
    return " ".join([shlex.quote(specimen), *more])


def _write_mended(specimen: "Specimen", finding: "Finding", path: str, asked: str) -> None:
    """Write the network with every edit that repairs a fault and may be applied automatically; report what remains.

    Edits that keep the function are applied. Edits that change it are applied to untrained weights only; for trained weights (or
    unknown ones, as in a module of the user's) they would undo what was learned, so the command is printed instead.
    """
    from microtome.analyses.audit.sarif import fault_entries
    from microtome.edit import apply_edits, parse

    left: list[str] = []
    changed = specimen
    done: set[str] = set()
    for entry in fault_entries(finding):
        if entry["edit"] in done:
            continue
        if not entry["edit"]:
            left.append(f"{entry['rule']}: no edit; {entry['fix']}")
            continue
        edit = parse(entry["edit"])
        try:
            if specimen.trained is not False and not edit.refusal(changed) and edit.preserves(changed).how == "no":
                left.append(f"{entry['rule']}: not applied, because {_why_unasked(edit, asked)}")
                continue
            changed = apply_edits(changed, [edit])
        except Uneditable as error:
            left.append(f"{entry['rule']}: {error} {entry['fix']}")
            continue
        done.add(entry["edit"])
        click.echo(f"{entry['rule']}: {changed.edits[-1].line}", err=True)
    for line in left:
        click.echo(line, err=True)
    if changed is specimen:
        click.echo(f"--fix found nothing to repair; {path} was not written.", err=True)
    else:
        click.echo(f"Written: {changed.save(path)}", err=True)


def _why_unasked(edit: "Edit", asked: str) -> str:
    """Why an edit is not applied automatically, and the command that applies it."""
    return (
        f"{edit.name()} changes the function of trained weights, so the network must be trained afterwards. To apply it: "
        f"microtome edit {asked} {shlex.quote(edit.to_cli())} --out edited.safetensors"
    )
