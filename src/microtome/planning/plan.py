"""The plan of a run: what will be measured on which network, how long each part takes, and what a time budget leaves out.

Analyses of the first stage tell most and come first; the report is written after them. Under a budget the last ones are measured
with the sizes of the quick effort, and left out if that is not enough; an analysis is treated alike on all networks, so that they
stay comparable. The standard effort takes quick sizes too where the networks are large, by their arithmetic and never by the clock.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

from microtome.analysis import Analysis, Census, Collation
from microtome.images import Images
from microtome.planning.effort import LEAST_TWIN_IMAGES, TWIN_LIMIT, format_duration
from microtome.planning.pilot import Pilot
from microtome.scan import Pace
from microtome.specimen import Specimen
from microtome.specimen.twins import TWIN_IMAGES
from microtome.workload import Workload

FIRST_RANK = 20  # analyses of a lower rank, and those that only watch, come before the first report
OPENING = 6.0  # seconds until the first pass: libraries, images, the first trace
WRITING = 3.0  # seconds for the report
SCAN = "one scan"  # the name of the pass that all analyses which only watch share


@dataclass(frozen=True)
class PlanRow:
    """One part of the work on one network: seconds and bytes that it is estimated to take."""

    specimen: str
    analysis: str
    seconds: float
    bytes: float


@dataclass(frozen=True)
class RunPlan:
    """What a run will measure. `left_out` says of each analysis that does not fit into the budget why; `quick` were made smaller."""

    rows: tuple[PlanRow, ...]
    left_out: Mapping[str, str]
    quick: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """How long the whole run takes, opening and report included."""
        return OPENING + WRITING + sum(row.seconds for row in self.rows)

    @property
    def bytes(self) -> float:
        """The most memory that a part takes beside the weights of the networks."""
        return max((row.bytes for row in self.rows), default=0.0)

    def of(self, analysis: str) -> float:
        """Seconds of one analysis over all networks."""
        return sum(row.seconds for row in self.rows if row.analysis == analysis)


@dataclass(frozen=True)
class Candidate:
    """A network with its pilot, and the analyses that are due on it."""

    specimen: Specimen
    pilot: Pilot
    due: tuple[Analysis, ...]


def is_first(analysis: Analysis) -> bool:
    """Whether an analysis is measured before the first report is written."""
    return analysis.rank < FIRST_RANK or isinstance(analysis, Census)


def network_rows(candidate: Candidate, images: Images | None, pace: Pace) -> list[PlanRow]:
    """The parts of the work on one network, those that only watch together in one scan."""
    name, pilot = candidate.specimen.name, candidate.pilot
    works = {analysis.name(): analysis.workload(candidate.specimen, images) for analysis in candidate.due}
    watching = [analysis for analysis in candidate.due if isinstance(analysis, Census)]
    rows: list[PlanRow] = []
    if watching:
        scan = _scan_work(candidate.specimen, images, any(analysis.with_twin for analysis in watching))
        rows.append(PlanRow(name, SCAN, pilot.seconds(scan), pilot.bytes(scan, pace)))
    made = bool(watching)  # the twins of the scan are kept for those after it
    for analysis in candidate.due:
        work = works[analysis.name()]
        if made and work.twins:
            work = Workload(forward=work.forward, backward=work.backward, seconds=work.seconds)
        made = made or work.twins > 0
        rows.append(PlanRow(name, analysis.name(), pilot.seconds(work), pilot.bytes(work, pace)))
    return rows


def _scan_work(specimen: Specimen, images: Images | None, with_twins: bool) -> Workload:
    count = len(images) if images is not None else 0
    twins = specimen.twin_count if with_twins else 0
    return Workload(forward=count + twins * min(count, specimen.twin_images), twins=twins)


def make_plan(
    candidates: Sequence[Candidate],
    images: Images | None,
    pace: Pace,
    budget: float | None = None,
    smaller: Callable[[Analysis], Analysis | None] = lambda analysis: None,
) -> RunPlan:
    """The plan for these networks within `budget` seconds (None: whatever it takes).

    `smaller` gives the analysis as the quick effort measures it, or None where it is that already.
    """
    draft = _Draft(list(candidates), images, pace)
    if budget is None:
        return draft.plan()
    draft.shrink(budget, smaller)
    draft.leave_out(budget)
    return draft.plan()


class Sizes(NamedTuple):
    """How a run of large networks keeps within its limits."""

    quick: tuple[str, ...] = ()  # analyses that take their quick sizes
    left_out: Mapping[str, str] = MappingProxyType({})  # analysis -> why
    twins: int | None = None  # of each network; None: as many as without a limit
    twin_images: int = TWIN_IMAGES  # that each of them sees in a scan, at most


def images_for_twins(pilots: Sequence[Pilot], twins: int) -> int:
    """How many images each twin sees in a scan, so that those of the largest network take `TWIN_LIMIT` seconds, within bounds."""
    most = TWIN_LIMIT / max(1e-9, max(1, twins) * max((pilot.forward for pilot in pilots), default=0.0))
    return int(min(TWIN_IMAGES, max(LEAST_TWIN_IMAGES, most)))


def large_sizes(
    candidates: Sequence[Candidate],
    images: Images | None,
    limits: tuple[float, float],
    smaller: Callable[[Analysis], Analysis | None],
    fewer_twins: int | None,
) -> Sizes:
    """The sizes with which the run takes `limits[0]` seconds or comes near it; beyond `limits[1]` analyses are left out.

    First those that tell least take their quick sizes, from the last one up; then networks have `fewer_twins` (None: as many as they
    have); then those that tell least are left out.
    """
    draft = _Draft(list(candidates), images, Pace())
    draft.shrink(limits[0], smaller)
    twins = draft.lower_twins(fewer_twins) if fewer_twins is not None and draft.plan().seconds > limits[1] else None
    draft.leave_out(limits[1], "for a network of this size on the reference machine")
    count = candidates[0].specimen.twin_count if twins is None and candidates else twins
    few = images_for_twins([each.pilot for each in candidates], count or 0)
    return Sizes(tuple(name for name in draft.quick if name not in draft.left_out), draft.left_out, twins, few)


class _Draft:
    """A plan in the making: the candidates as they are now, what was made smaller, what was left out."""

    def __init__(self, candidates: list[Candidate], images: Images | None, pace: Pace) -> None:
        self.candidates, self.images, self.pace = candidates, images, pace
        self.quick: list[str] = []
        self.left_out: dict[str, str] = {}
        ranks = {analysis.name(): analysis.rank for each in candidates for analysis in each.due}
        self.order = [name for name, _ in sorted(ranks.items(), key=lambda pair: -pair[1])]  # what tells least comes first

    def plan(self) -> RunPlan:
        rows = [row for candidate in self.candidates for row in network_rows(candidate, self.images, self.pace)]
        return RunPlan(tuple(rows), dict(self.left_out), tuple(self.quick))

    def shrink(self, budget: float, smaller: Callable[[Analysis], Analysis | None]) -> None:
        """Give analyses their quick sizes until the plan fits or all have them."""
        for name in self.order:
            if self.plan().seconds <= budget:
                return
            some = next(analysis for each in self.candidates for analysis in each.due if analysis.name() == name)
            if not isinstance(some, Collation) and smaller(some) is not None:
                self._replace(name, smaller)
                self.quick.append(name)

    def lower_twins(self, count: int) -> int:
        """Give every network fewer twins, and each as few images as that allows; how many there are now."""
        few = images_for_twins([each.pilot for each in self.candidates], count)
        self.candidates = [replace(each, specimen=each.specimen.with_twins(count, few)) for each in self.candidates]
        return count

    def leave_out(self, budget: float, where: str = "") -> None:
        """Drop analyses until the plan fits; the most telling one stays, whatever it takes. `where` names what sets the limit."""
        for name in self.order[:-1]:
            current = self.plan()
            if current.seconds <= budget:
                return
            takes = current.of(name)
            self._replace(name, lambda analysis: None)
            limit = f" {where}" if where else f" and the budget is {format_duration(budget)}"
            self.left_out[name] = f"it would take about {format_duration(takes)}{limit}"

    def _replace(self, name: str, by: Callable[[Analysis], Analysis | None]) -> None:
        self.candidates = [
            Candidate(
                each.specimen,
                each.pilot,
                tuple(new for due in each.due if (new := by(due) if due.name() == name else due)),
            )
            for each in self.candidates
        ]
