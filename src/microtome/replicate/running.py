"""Runs one claim: the effect from its file, the verdict from its rule, the provenance beside both."""

import os
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from microtome.errors import BadOption, Unmeasurable, hint, option_hint
from microtome.replicate.cards import claim_card
from microtome.replicate.claim import PRESETS, RunContext, ignore_text
from microtome.replicate.provenance import describe_hardware, head_commit, package_versions, was_fixed
from microtome.replicate.results import ClaimResult

DATA_VARIABLE = "MICROTOME_DATA"


def data_folder() -> Path:
    """The folder of trained networks and photographs: `MICROTOME_DATA`, or shared/data beside the repository."""
    return Path(os.environ.get(DATA_VARIABLE) or Path(__file__).parents[4] / "shared" / "data")


def replicate_claim(
    name: str,
    preset: str = "mini",
    out: str | Path | None = None,
    *,
    data: str | Path | None = None,
    workers: int = 1,
    listener: Callable[[str], None] | None = None,
) -> ClaimResult:
    """Run a claim and judge it by its rule; with `out` its result is saved there, and what it trains is kept and resumed there.

    Raises:
        UnknownName: there is no such claim.
        BadOption: there is no such preset.
        Unmeasurable: the preset is described and not built, or what it needs is not here.
    """
    card = claim_card(name)
    if preset not in PRESETS:
        raise BadOption(f"The preset is '{preset}'; it can be mini or full. Try {option_hint('preset', 'mini')}.")
    if preset == "full" and not card.runs_full:
        raise Unmeasurable(
            f"The preset full of {name} is described, not built: {card.full} Run the small one: "
            f"{hint(f'microtome replicate {name}', f'mt.replicate_claim({name!r})')}"
        )
    commit, began = head_commit(), time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        where = Path(out) if out is not None else Path(scratch)
        context = RunContext(Path(data) if data is not None else data_folder(), where, listener or ignore_text, workers)
        effect = card.load().run(preset, context)
    result = ClaimResult(
        claim=name, preset=preset, digest=card.digest(preset), verdict=card.rule.verdict(effect.low, effect.high),
        value=effect.value, low=effect.low, high=effect.high, unit=str(card.rule.json()["unit"]), covers=effect.covers,
        rows=effect.rows, date=datetime.now(UTC).isoformat(timespec="seconds"), seconds=round(time.monotonic() - began, 1),
        hardware=describe_hardware(), versions=package_versions(), commit=commit, fixed_before=was_fixed(card, commit, preset),
    )  # fmt: skip
    if out is not None:
        result.save(Path(out))
    return result
