"""The verb that lists claims of the literature with what became of them, and runs one."""

import json
from pathlib import Path

import click

from microtome.cli import arguments
from microtome.cli.choices import WordChoice
from microtome.errors import BadOption

REPLICATE_HELP = """List claims of the literature with the committed verdicts, or run one of them.

A claim has a protocol that was fixed before it was run: hypothesis, effect, decision rule. The verdict comes from the rule and the
effect's interval. With --out the result and a report are written to DIR, and what the claim trains is kept there, so that an
interrupted run goes on. The exit code is 0 whatever the verdict.

\b
  microtome replicate --list
  microtome replicate resnet_fields
  microtome replicate gates_raise_accuracy --out runs/gates
"""


@click.command(
    "replicate", help=REPLICATE_HELP, short_help="List claims of the literature with their verdicts, or run one of them."
)
@click.argument("claim", required=False)
@click.option("--list", "listing", is_flag=True, help="List all claims with the committed verdicts.")
@click.option(
    "--preset",
    type=WordChoice(["mini", "full"]),
    default="mini",
    show_default=True,
    help="Size of the run: mini (CPU), or full.",
)
@click.option("--out", help="Folder for the result, the report, and what the claim trains.")
@click.option("--data", help="Folder of trained networks and photographs; MICROTOME_DATA by default.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes for a claim that trains.")
@arguments.JSON
@arguments.QUIET
def replicate_command(
    claim: str | None, listing: bool, preset: str, out: str | None, data: str | None, workers: int, as_json: bool, quiet: bool
) -> int:
    """List or run; the exit code."""
    if listing:
        _print_ledger(as_json)
        return 0
    if claim is None:
        raise BadOption("Name a claim, or list them: microtome replicate --list")
    _run(claim, preset, out, data, workers, as_json, quiet)
    return 0


def _print_ledger(as_json: bool) -> None:
    from microtome.replicate.cards import STUDIES, broken_claims
    from microtome.replicate.ledger import ledger_rows, verdict_counts_text

    rows = ledger_rows()
    if as_json:
        for row in rows:
            line = {"claim": row.card.name, "study": row.card.study, "sentence": row.card.sentence, "verdict": row.verdict}
            click.echo(json.dumps(line | {"result": row.result.json() if row.result else None}, ensure_ascii=False))
        return
    width = max(len(row.card.name) for row in rows)
    for study, title in STUDIES.items():
        click.echo(click.style(f"{study}: {title}", bold=True))
        for row in rows:
            if row.card.study == study:
                click.echo(f"  {row.card.name:<{width}}  {row.verdict:<17}  {row.effect}")
    click.echo(verdict_counts_text(rows))
    for plugin in broken_claims():
        click.echo(plugin.text)


def _run(claim: str, preset: str, out: str | None, data: str | None, workers: int, as_json: bool, quiet: bool) -> None:
    from microtome.replicate.cards import claim_card
    from microtome.replicate.claim_finding import write_claim_page
    from microtome.replicate.results import committed_result
    from microtome.replicate.running import replicate_claim

    card = claim_card(claim)
    if not quiet and not as_json:
        click.echo(card.sentence)
        click.echo(f"  Hypothesis: {card.hypothesis}\n  Effect: {card.measure}\n  Rule: {card.rule.describe()}.")

    def say(text: str) -> None:
        if not quiet and not as_json:
            click.echo(text)

    result = replicate_claim(claim, preset, out, data=data, workers=workers, listener=say)
    committed = committed_result(card)
    page = write_claim_page(card, result, committed, Path(out)) if out else None
    if as_json:
        click.echo(json.dumps(result.json() | {"report": str(page) if page else None}, ensure_ascii=False))
        return
    for name, text in result.rows:
        click.echo(f"  {name}: {text}")
    click.echo(f"Effect: {result.text} ({result.covers})")
    click.echo(f"The claim {result.verdict}." if result.verdict != "inconclusive here" else "The claim is inconclusive here.")
    if committed is not None:
        click.echo(f"Committed result: {committed.text}, {committed.verdict} ({committed.preset}, {committed.date[:10]}).")
    else:
        click.echo("Committed result: none; the claim was not run here.")
    if page is not None:
        click.echo(f"Written: {out}/{claim}.json\nReport: {page}")
