"""The numbers of one trained network: its accuracy, and what the named analyses find, at the end and at every checkpoint."""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from microtome import catalog
from microtome.analyses.evolution.checkpoints import Checkpoint, load_checkpoint
from microtome.analysis import build_analysis
from microtome.errors import BadOption, ImagesError, Unmeasurable, did_you_mean
from microtome.finding import Finding
from microtome.images import Images
from microtome.key_numbers import KeyNumber
from microtome.scan import Pace
from microtome.specimen import Specimen
from microtome.store import Store
from microtome.training.experiment.definition import Experiment, MeasuredAnalysis, NumberQuery

Numbers = dict[str, dict[str, Any]]  # by the text of the number: value, low, high, unit, better
LAST = "last"  # the last coordinate of an array
ImageSets = Callable[[str], Images | None]  # the images that a word of an analysis stands for


def measure_network(
    specimen: Specimen, experiment: Experiment, images: ImageSets, checkpoints: Mapping[int, Path], store: Store
) -> dict[str, Any]:
    """The numbers of all analyses, those over epochs, the findings saved in `store`, and what could not be measured with its reason."""
    numbers: Numbers = {}
    over_epochs: dict[str, list[list[float]]] = {}
    findings: list[str] = []
    skipped: list[dict[str, str]] = []
    for measured in experiment.analyses:
        queries = [query for query in experiment.numbers if query.label == measured.label]
        try:
            finding = run_analysis(measured, specimen, images(measured.images))
        except (Unmeasurable, ImagesError) as error:
            skipped.append({"analysis": measured.label, "reason": str(error)})
            continue
        findings.append(str(store.save(finding)))
        numbers |= numbers_of(finding, queries)
        if not measured.over_epochs:
            continue
        for epoch, path in sorted(checkpoints.items()):
            moment = load_checkpoint(specimen, Checkpoint(f"epoch {epoch}", path))
            then = numbers_of(run_analysis(measured, moment, images(measured.images)), queries)
            for text, number in then.items():
                over_epochs.setdefault(text, []).append([epoch, number["value"]])
    return {"numbers": numbers, "over_epochs": over_epochs, "findings": findings, "skipped": skipped}


def run_analysis(measured: MeasuredAnalysis, specimen: Specimen, images: Images | None) -> Finding:
    """What the analysis finds of a network, on at most `limit` of the images.

    Raises: Unmeasurable, ImagesError.
    """
    analysis = build_analysis(catalog.analysis_entry(measured.analysis).load(), measured.options)
    chosen = images.limit(measured.limit) if images is not None else None
    twins = {} if measured.twins is None else {"twins": measured.twins}
    return analysis(specimen, chosen, Pace(device="cpu"), **twins)


def numbers_of(finding: Finding, queries: Sequence[NumberQuery]) -> Numbers:
    """The numbers that are asked of a finding: key numbers, or an array's values, one for each coordinate that was chosen.

    Raises: BadOption for a name that is neither, or coordinates that the array does not have.
    """
    numbers: Numbers = {}
    keys = {number.name: number for number in finding.key_numbers}
    for query in queries:
        if query.name in keys and not query.at:
            numbers[query.text] = _of_key_number(keys[query.name])
        elif query.name in finding.arrays:
            numbers |= _of_array(finding, query)
        else:
            raise BadOption(
                f"{finding.analysis} has no number '{query.name}'; it has {', '.join(keys)}, and arrays such as "
                f"{', '.join(list(finding.arrays)[:8])}.{did_you_mean(query.name, [*keys, *finding.arrays])}"
            )
    return numbers


def _of_key_number(number: KeyNumber) -> dict[str, Any]:
    return describe_number(number.value, number.low, number.high, number.unit, number.better, number.baseline)


def _of_array(finding: Finding, query: NumberQuery) -> Numbers:
    """The values of an array of one dimension, each under its coordinate; `query.at` chooses coordinates by glob, or the last."""
    values = finding[query.name]
    if values.ndim != 1:
        dims = ", ".join(map(str, values.dims)) or "none"
        raise BadOption(
            f"{query.name} of {finding.analysis} has the dimensions {dims}; a number of an experiment takes just one."
        )
    (dim,) = values.dims
    coords = [str(each) for each in (values.coords[dim].values if dim in values.coords else range(len(values)))]
    wanted = [at.strip() for at in query.at.split("|")] if query.at else ["*"]
    places = [
        place
        for place, name in enumerate(coords)
        if any(fnmatchcase(name, at) or (at == LAST and place == len(coords) - 1) for at in wanted)
    ]
    if not places:
        raise BadOption(f"{query.name} of {finding.analysis} has no {query.at} among {', '.join(coords[:12])}.")
    ends = [finding[f"{query.name}_{end}"].values if f"{query.name}_{end}" in finding else None for end in ("low", "high")]
    twins = finding[f"twin_{query.name}"].values if f"twin_{query.name}" in finding else None
    label = query.text.partition("[")[0].rstrip()
    alone = query.at == LAST
    numbers: Numbers = {}
    for place in places:
        low, high = (float("nan") if end is None else float(end[place]) for end in ends)
        twin = float("nan") if twins is None or twins.shape != values.shape else float(twins[place])
        name = query.text if alone else f"{label} [{coords[place]}]"
        numbers[name] = describe_number(float(values.values[place]), low, high, str(values.attrs["unit"]), "", twin)
    return numbers


def describe_number(
    value: float, low: float = np.nan, high: float = np.nan, unit: str = "1", better: str = "", baseline: float = np.nan
) -> dict[str, Any]:
    """A number as plain JSON values; None for what is not known."""
    known = {"value": value, "low": low, "high": high, "baseline": baseline}
    return {name: float(each) if np.isfinite(each) else None for name, each in known.items()} | {"unit": unit, "better": better}
