"""An analysis of findings instead of networks, with the origin and the key of what it read."""

import hashlib
import json
import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from microtome.analysis.contract import Analysis, Arrays, Measurement, Needs, time_and_versions
from microtome.errors import Unmeasurable, measure_hint
from microtome.finding import Finding
from microtome.images import Images
from microtome.instruments.untrained_twins import twin_count
from microtome.scan import Pace
from microtome.specimen import Specimen


class Collation(Analysis):
    """An analysis of findings instead of networks: many specimens side by side. Called by `of`."""

    needs: ClassVar[Needs] = "findings"

    @abstractmethod
    def collate(self, findings: Sequence[Finding]) -> "Arrays | Measurement":
        """The arrays that the findings amount to."""

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        """Why no network can be measured: what would do instead."""
        return f"it reads findings, not a network: {type(self).__name__}().of([finding, …])"

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> "Arrays | Measurement":
        raise Unmeasurable(f"{self.name()} of {specimen.name}: {self.refusal(specimen, images)}.")

    def of(self, findings: Sequence[Finding]) -> Finding:
        """The finding over these findings.

        Raises:
            Unmeasurable: the findings do not hold what is needed.
        """
        began = time.monotonic()
        arrays = self.collate(findings)
        return self.conclude(arrays, collation_origin(self, findings, began))


def collation_origin(analysis: Collation, findings: Sequence[Finding], began: float) -> dict[str, Any]:
    """Where a finding over findings came from: the specimens, the images and the keys of what it read."""
    images = {str(f.origin.get("images", {}).get("digest", "")): f.origin.get("images", {}) for f in findings}
    return {
        "specimen": {},
        "specimens": list(dict.fromkeys(finding.specimen for finding in findings)),
        "images": next((facts for digest, facts in images.items() if digest), {}),
        "twins": {"count": max((twin_count(finding.origin) for finding in findings), default=0)},
        "options": analysis.options(),
        "revision": analysis.revision,
        "key": collation_key(analysis, findings),
        "findings": sorted(str(finding.origin.get("key", "")) for finding in findings),
        **time_and_versions(began),
    }


def collation_key(analysis: Collation, findings: Sequence[Finding]) -> str:
    """What decides whether a saved collation still answers: 16 hex digits over its options and the keys of what it read."""
    keys = sorted(f"{finding.origin.get('key', '')}{finding.facts.get('session', '')}" for finding in findings)
    parts: list[Any] = [analysis.name(), analysis.revision, analysis.options(), keys]
    parts += [further] if (further := analysis.extra_key()) else []  # so that keys without it stay what they were
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def group_by_specimen(findings: Sequence[Finding], analysis: str) -> dict[str, dict[str, Finding]]:
    """The findings of each specimen by analysis, for the collation called `analysis`.

    Raises:
        Unmeasurable: none is of one specimen.
    """
    byname: dict[str, dict[str, Finding]] = {}
    for finding in findings:
        if finding.specimen:
            byname.setdefault(finding.specimen, {})[finding.analysis] = finding
    if not byname:
        raise Unmeasurable(f"{analysis} needs findings of at least one specimen. Measure first: " + measure_hint())
    return byname
