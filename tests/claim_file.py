"""The text of a claim's file, and a result, for tests that read one."""

import math

from microtome.replicate.results import ClaimResult

FILE = '''"""Water is wet.

Source: nobody, nowhere.
"""
class Wet(Claim):
    """Wetness."""

    study = "000"
    kind = "no training"
    hypothesis = "It is wet."
    measure = "Wetness "  "of water."
    rule = Within(-1, most=1, unit="px")
    null = "It is dry."
    confounders = "Rain."
    prior = "Not known."
    mini = "a glass"
    full = "a lake"
'''

RESULT = ClaimResult(
    claim="resnet_fields", preset="mini", digest="0" * 16, verdict="inconclusive here", value=0.25, low=math.nan, high=math.nan,
    unit="fraction", covers="nothing", rows=(("a", "1"),), date="2026-11-30T00:00:00+00:00", seconds=1.5, hardware="a machine",
    versions={"torch": "2"}, commit="", fixed_before=False,
)  # fmt: skip
