"""A run that has a finding of faithfulness already, with verdicts that a test chooses."""

from collections.abc import Mapping
from typing import Any

from microtome.finding import Finding
from microtome.scan import Pace


def standing(verdict: str, warns: bool, layer: str = "layer4") -> dict[str, Any]:
    """How one kind stands: the verdict, and whether its maps need a warning."""
    return {"verdict": verdict, "warns": warns, "images": 12, "layer": layer}


def pace_with(standings: Mapping[str, Mapping[str, Any]]) -> Pace:
    """The pace of such a run, the best kind first."""
    finding = Finding(analysis="faithfulness", arrays={}, origin={"facts": {"standings": standings}})
    return Pace(earlier=lambda *asked: finding if asked[2] == "faithfulness" else None)
