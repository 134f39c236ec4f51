"""Criteria by name: short ones (accuracy, latency …), and any key number as `analysis.key number`.

A criterion becomes one value for each network, with its interval where the finding gives one; what was not measured is not a number.
"""

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any, NamedTuple

import numpy as np

from microtome import catalog
from microtome.analyses.compare.criteria import EVIDENCE, Evidence, find_number
from microtome.errors import BadOption, UnknownName, did_you_mean, hint
from microtome.finding import Finding
from microtome.key_numbers import FRACTION

Values = np.ndarray[Any, Any]
ACCURACY = "accuracy"
# short name: analysis, key number. The accuracy is that of the answers that are compared (own head or probe, balanced or not).
SHORT: dict[str, tuple[str, str]] = {
    ACCURACY: ("", ""),
    "latency": ("cost", "latency of one image"),
    "batch_latency": ("cost", "latency per image in a batch"),
    "params": ("cost", "parameters"),
    "operations": ("cost", "multiply-adds"),
    "memory": ("cost", "memory peak"),
    "robustness": ("robustness", "accuracy under corruption"),
    "small_objects": ("objects", "accuracy on the smallest objects"),
    "localisation": ("objects", "localisation lift"),
    "probe": ("probe", "best probe accuracy"),
    "transfer": ("transfer", "LogME"),
}
COSTS = ("latency", "batch_latency", "params", "operations", "memory")
UNITS = {ACCURACY: FRACTION, "latency": "ms", "batch_latency": "ms", "memory": "MB"}  # where no finding says one
PRICE_NAMES = {"time": "batch_latency", "size": "params", "operations": "operations"}


def criterion_title(name: str) -> str:
    """The name of a criterion in a sentence: the key number that a short name stands for, else the name itself."""
    return SHORT.get(name, ("", ""))[1] or name


class Criterion(NamedTuple):
    """What is asked about: the name that the user wrote, and the analysis and key number behind it (both empty for accuracy)."""

    name: str
    analysis: str
    number: str


class CriterionColumn(NamedTuple):
    """A criterion of all networks: values and interval ends (network,), NaN where unknown.

    `exact` says that the number has no uncertainty; `of_images` that it would be another on other images; `ratio` that it is a cost,
    where factors count and not differences.
    """

    criterion: Criterion
    unit: str
    larger_is_better: bool
    values: Values
    low: Values
    high: Values
    exact: bool
    of_images: bool
    ratio: bool

    @property
    def name(self) -> str:
        """The name that the user wrote."""
        return self.criterion.name

    @property
    def is_measured(self) -> bool:
        """Whether any network has it."""
        return not np.isnan(self.values).all()

    def take(self, indices: Values) -> "CriterionColumn":
        """The column of some of the networks."""
        return self._replace(values=self.values[indices], low=self.low[indices], high=self.high[indices])


def parse_criterion(word: str, option: str) -> Criterion:
    """The criterion of that name.

    Raises:
        UnknownName: neither a short name nor an analysis with a key number behind a dot; the nearest are named.
    """
    name = word.strip()
    if name in SHORT:
        return Criterion(name, *SHORT[name])
    analysis, dot, number = name.partition(".")
    if dot and number.strip():
        if analysis in catalog.analysis_entries():
            return Criterion(name, analysis, number.strip())
        raise UnknownName(f"compare: {option} names '{name}', and there is no analysis '{analysis}'."
                          f"{did_you_mean(analysis, catalog.analysis_entries())}")  # fmt: skip
    raise UnknownName(
        f"compare: {option} names the criterion '{name}'.{did_you_mean(name, SHORT) or ' There are: ' + ', '.join(SHORT) + '.'} Any "
        "key number will do as well, written ANALYSIS.KEY NUMBER."
    )


def criterion_column(
    criterion: Criterion, byname: Mapping[str, Mapping[str, Finding]], evidence: Evidence, option: str
) -> CriterionColumn:
    """A criterion of all networks, from their findings.

    Raises:
        UnknownName: findings of the analysis are there, and none has that key number.
        BadOption: the key number has no better and worse.
    """
    analysis, name = _place(criterion, evidence)
    numbers = [find_number(findings.get(analysis), name) for findings in byname.values()]
    known = next((number for number in numbers if number is not None), None)
    if known is None and criterion.name not in SHORT:
        _refuse_unknown(criterion, byname, option)
    better = known.better if known is not None else ""
    if known is not None and not better and criterion.name not in SHORT:
        raise BadOption(
            f"compare: {option} names '{criterion.name}', of which neither more nor less is better; {_choices(byname)}"
        )
    values, low, high = (
        np.array([nan if number is None else getattr(number, end) for number in numbers], dtype=np.float64)
        for end in ("value", "low", "high")
    )
    return CriterionColumn(
        criterion=criterion,
        unit=known.unit if known is not None else UNITS.get(criterion.name, "1"),
        larger_is_better=(better or ("lower" if criterion.name in COSTS else "higher")) == "higher",
        values=values,
        low=low,
        high=high,
        exact=known is not None and not known.has_interval and bool(np.isnan(low).all()),
        of_images=analysis != "cost",
        ratio=analysis == "cost",
    )


def how_to_measure(criterion: Criterion) -> str:
    """What measures a criterion that no finding has."""
    analysis = criterion.analysis or ACCURACY
    return hint(
        f"microtome analyze SPECIMEN… IMAGES --only {analysis}",
        f"mt.analyze(specimens, images, 'results', only=['{analysis}'])",
    )


def _place(criterion: Criterion, evidence: Evidence) -> tuple[str, str]:
    """The analysis and the key number of a criterion; for the accuracy those of the answers that are compared."""
    if criterion.name != ACCURACY:
        return criterion.analysis, criterion.number
    analysis, plain, by_class = EVIDENCE.get(evidence.kind, EVIDENCE["own head"])
    return analysis, by_class if evidence.by_class else plain


def _refuse_unknown(criterion: Criterion, byname: Mapping[str, Mapping[str, Finding]], option: str) -> None:
    """Raise UnknownName where the analysis was measured and has no such key number."""
    names = _key_names(byname, criterion.analysis)
    if names:
        raise UnknownName(
            f"compare: {option} names '{criterion.name}', and these findings of {criterion.analysis} have no key number "
            f"'{criterion.number}'.{did_you_mean(criterion.number, names)}"
        )


def _key_names(byname: Mapping[str, Mapping[str, Finding]], analysis: str) -> list[str]:
    findings = [own[analysis] for own in byname.values() if analysis in own]
    return list(dict.fromkeys(number.name for finding in findings for number in finding.key_numbers))


def _choices(byname: Mapping[str, Mapping[str, Finding]]) -> str:
    """Key numbers with a direction that these findings have, as the end of a message."""
    directed = [
        f"{name}.{number.name}"
        for name in dict.fromkeys(name for own in byname.values() for name in own)
        for own in [next(own for own in byname.values() if name in own)]
        for number in own[name].key_numbers
        if number.better
    ]
    return f"there are for example {', '.join(directed[:4])}." if directed else f"there are {', '.join(SHORT)}."


def criteria_names(words: Sequence[str]) -> list[str]:
    """Names from the parts of a comma-separated list, where a name may itself hold a comma (`features.zeros, most`)."""
    names: list[str] = []
    for word in words:
        if names and word not in SHORT and "." not in word and "." in names[-1]:
            names[-1] = f"{names[-1]}, {word}"
        else:
            names.append(word)
    return names
