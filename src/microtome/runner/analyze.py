"""Open, plan, measure in two stages, compare: many networks, many analyses, one folder of findings.

The analyses that tell most are measured first on every network and compared; `finished` hears of it and can write the report, which
grows while the rest is measured. Times of several networks are taken in turn.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from microtome.analysis import Analysis
from microtome.errors import BadOption, hint, option_hint
from microtome.images import Images
from microtome.planning.effort import LARGEST_LIMIT, STANDARD_LIMIT, TWINS, check_effort
from microtome.planning.pilot import reference_pilot, take_pilot
from microtome.planning.plan import (
    OPENING,
    WRITING,
    Candidate,
    RunPlan,
    Sizes,
    images_for_twins,
    is_first,
    large_sizes,
    make_plan,
)
from microtome.prose import name_list, plural
from microtome.runner.choosing import Settings, choose_analyses, quick_version
from microtome.runner.outcome import Event, Outcome, ignore_event
from microtome.runner.run import MAX_BYTES_IN_TURN, Run
from microtome.scan import Pace, resolve_device
from microtome.specimen import Specimen
from microtome.specimen.distinct_names import distinguishing_words
from microtome.specimen.twins import TWIN_IMAGES, check_twins
from microtome.store import Store
from microtome.workload import EFFORTS, Effort

Opener = Callable[[], Specimen]


def analyze(
    specimens: Specimen | Sequence[Specimen | Opener],
    images: Images | None,
    out: str | Path,
    *,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    settings: Settings | None = None,
    pace: Pace | None = None,
    listener: Callable[[Event], None] = ignore_event,
    said: Mapping[str, Any] | None = None,
    twins: int | None = None,
    effort: str = "standard",
    budget: float | None = None,
    announce: Callable[[RunPlan], None] | None = None,
    finished: Callable[[Path], Any] | None = None,
) -> Outcome:
    """Measure everything that fits on every specimen, then compare; findings and run.json lie in `out` afterwards.

    A specimen may be given as a function that opens it: large networks are opened when their turn comes and forgotten afterwards.
    One alone need not be in a list. `settings` holds options by analysis and name; `said` goes into run.json; `twins` is the number of
    untrained twins that findings are compared with (by default 5, at quick effort 3). `effort` is "quick", "standard" or "full";
    `budget` is a number of seconds: what is not expected to fit is made smaller or left out. `announce` is given the plan before
    anything is measured, `finished` the folder whenever a stage is done.

    Raises:
        UnknownName, BadOption: an analysis, option or specimen that does not exist, or something else in its place, before anything
            is measured.
        FindingError: `out` cannot be written.
    """
    given = _specimens(specimens)
    if not isinstance(out, str | Path):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise BadOption(
            f"analyze writes into a folder and was given {_shown(out)} for it: mt.analyze(specimens, images, 'results')."
        )
    level = check_effort(effort)
    count = TWINS[level] if twins is None else twins
    check_twins(count)
    analyses, unloaded, later = choose_analyses(only, skip, settings or {}, level)
    store = Store.create(out)
    run = Run(store, replace(pace or Pace(), keep=store.tally_folder), listener, Outcome(store.root), images, len(given) > 1)
    for name, error in unloaded:
        run.record_crash("", name, error)
    run.record_left_out(
        later,
        f"the {level} effort leaves them out; measure one with {hint('--only NAME', 'only=[NAME]')}, "
        f"all with {option_hint('effort', EFFORTS[-1])}",
    )
    crew = _Crew(run, given, count, resolve_device(run.pace.device))
    session = _Session(run, crew, time.monotonic(), {"effort": level, "notes": [], **(said or {})}, finished)
    if level != "full" and not only:
        analyses = session.fit(analyses, settings or {}, level, twins is not None)
    if announce is not None or budget is not None:
        analyses = session.plan(analyses, settings or {}, budget, announce)
    session.measure(analyses)
    return run.outcome


class _Crew:
    """The networks of a run, each opened when it is first needed; kept ready to run while there is room for their weights."""

    def __init__(self, run: Run, given: Sequence[Specimen | Opener], twins: int, device: str) -> None:
        self.run, self.given, self.twins, self.twin_images, self.device = run, given, twins, TWIN_IMAGES, device
        self.names: dict[int, str] = {}
        self.words = distinguishing_words([_asked(each) for each in given])
        self._kept: dict[int, Specimen] = {}
        self._failed: set[int] = set()

    def members(self) -> Iterable[Specimen]:
        """The networks one after the other, ready to run; those that cannot be opened are written down once and left out."""
        for place in range(len(self.given)):
            member = self._kept.get(place) or self._open(place)
            if member is not None:
                yield member

    def _open(self, place: int) -> Specimen | None:
        given = self.given[place]
        specimen = given if isinstance(given, Specimen) else None if place in self._failed else self.run.open_specimen(given)
        if specimen is None:
            self._failed.add(place)
            return None
        if self.run.images is not None and (misfit := self.run.images.misfit(specimen.recipe.channels)):
            self.run.record_failure(specimen.name, "open", f"{misfit}.")
            self._failed.add(place)
            return None
        if place not in self.names:
            self.names[place] = self._name(specimen, self.words[place])
        if specimen.name != self.names[place]:
            specimen = specimen.with_name(self.names[place])
        worker = self._with_twins(specimen).on(self.device)
        if sum(kept.weight_bytes for kept in (*self._kept.values(), worker)) <= MAX_BYTES_IN_TURN:
            self._kept[place] = worker
        return worker

    def set_twins(self, count: int, images: int) -> None:
        """From now on compare every network with so many twins, each of which sees at most so many images."""
        self.twins, self.twin_images = count, images
        self._kept = {place: self._with_twins(member) for place, member in self._kept.items()}

    def _with_twins(self, specimen: Specimen) -> Specimen:
        same = (specimen.twin_count, specimen.twin_images) == (self.twins, self.twin_images)
        return specimen if same else specimen.with_twins(self.twins, self.twin_images)

    def _name(self, specimen: Specimen, words: str) -> str:
        """The name of a network in this run: with what tells it from others of its name, or with a number."""
        name = f"{specimen.name} ({words})" if words else specimen.name
        taken = set(self.names.values())
        numbered = (f"{name} ({number})" for number in range(2, len(self.given) + 2))
        return name if name not in taken else next(other for other in numbered if other not in taken)


def _asked(each: Specimen | Opener) -> tuple[str, Mapping[str, Any]]:
    """The name of a specimen, opened or still to be opened, and what it was or will be opened with."""
    if isinstance(each, Specimen):
        opened = each.opened_as or {}
        return each.name, {name: opened.get(name) for name in ("weights", "state", "options", "seed")} | {"recipe": None}
    name, _, options = str(getattr(each, "label", id(each))).partition("(")
    return name, {**getattr(each, "asked", {}), "options": options.rstrip(")")}


@dataclass(frozen=True)
class _Session:
    """The stages of one call of `analyze`."""

    run: Run
    crew: _Crew
    began: float
    record: Mapping[str, Any]
    finished: Callable[[Path], Any] | None

    def fit(self, analyses: list[Analysis], settings: Settings, level: Effort, fixed_twins: bool) -> list[Analysis]:
        """The analyses with quick sizes where the networks are too large for the standard ones, by their arithmetic; twins likewise.

        What is measured already counts as well, so that the same command takes the same sizes again.
        """
        candidates = [
            Candidate(member, reference_pilot(member), tuple(self.run.applicable(analyses, member)))
            for member in self.crew.members()
        ]
        if level == "quick":
            few = images_for_twins([each.pilot for each in candidates], self.crew.twins)
            self.crew.set_twins(self.crew.twins, few)
            return analyses
        limits = tuple(OPENING + WRITING + each * len(candidates) for each in (STANDARD_LIMIT, LARGEST_LIMIT))
        fewer = None if fixed_twins else TWINS["quick"]
        sizes = large_sizes(
            candidates, self.run.images, (limits[0], limits[1]), lambda each: quick_version(each, settings), fewer
        )
        self.crew.set_twins(self.crew.twins if sizes.twins is None else sizes.twins, sizes.twin_images)
        self._tell_sizes(sizes)
        return [
            (quick_version(each, settings) or each) if each.name() in sizes.quick else each
            for each in analyses
            if each.name() not in sizes.left_out
        ]

    def _tell_sizes(self, sizes: Sizes) -> None:
        """Write down what large networks had smaller, fewer, or not at all."""
        full = option_hint("effort", "full")
        if sizes.quick:
            self.record["notes"].append(
                f"Large networks: {name_list(sizes.quick, 40)} took quick sizes; {full} measures them with more images."
            )
        if sizes.twins is not None:
            self.record["notes"].append(f"Large networks: each is compared with {plural(sizes.twins, 'untrained twin')}.")
        self.run.record_left_out(
            sizes.left_out,
            f"they take too long on a network of this size; measure one with {hint('--only NAME', 'only=[NAME]')}, all with {full}",
        )

    def plan(
        self,
        analyses: list[Analysis],
        settings: Settings,
        budget: float | None,
        announce: Callable[[RunPlan], None] | None,
    ) -> list[Analysis]:
        """The analyses that the plan keeps, as it wants them; the plan is announced."""
        candidates: list[Candidate] = []
        for member in self.crew.members():
            due = tuple(self.run.due_quietly(analyses, member, self.crew.device))
            if due:
                candidates.append(Candidate(member, take_pilot(member), due))
        left = None if budget is None else max(1.0, budget - (time.monotonic() - self.began))
        plan = make_plan(candidates, self.run.images, self.run.pace, left, lambda analysis: quick_version(analysis, settings))
        if announce is not None and candidates:
            announce(plan)
        self.run.record_left_out(
            plan.left_out, f"they do not fit into the budget; measure one with {hint('--only NAME', 'only=[NAME]')}"
        )
        kept = [analysis for analysis in analyses if analysis.name() not in plan.left_out]
        return [(quick_version(each, settings) or each) if each.name() in plan.quick else each for each in kept]

    def measure(self, analyses: Sequence[Analysis]) -> None:
        """What tells most on every network, then the rest; run.json is true whenever this ends, by an interrupt too."""
        stages = [[each for each in analyses if is_first(each)], [each for each in analyses if not is_first(each)]]
        try:
            for number, stage in enumerate(stages):
                if not stage and number:
                    continue
                for member in self.crew.members():
                    self.run.specimen(member, stage)
                    (self._finish if number else self._write)()
                self.run.take_turns()
                self.run.collations(analyses)
                self._finish()
        except KeyboardInterrupt:
            self.run.collations(analyses)
            self._write()
            raise

    def _write(self) -> None:
        names = [self.crew.names[place] for place in sorted(self.crew.names)]
        self.run.write(names, self.began, self.record)

    def _finish(self) -> None:
        self._write()
        if self.finished is not None and self.run.outcome.findings:
            self.finished(self.run.store.root)


def _specimens(given: Any) -> list[Specimen | Opener]:
    """What `analyze` was given for its specimens, as a list. Raises BadOption where something else is in it."""
    several = isinstance(given, Iterable) and not (isinstance(given, Specimen | str) or callable(given))
    listed: list[Any] = list(cast("Iterable[Any]", given)) if several else [given]
    for each in listed:
        if not isinstance(each, Specimen) and (not callable(each) or isinstance(each, torch.nn.Module)):
            raise BadOption(
                f"analyze takes specimens, or functions that open one, and was given {_shown(each)}; open it: mt.open(…)."
            )
    return listed


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) < 60 and "\n" not in text else f"a {type(value).__name__}"
