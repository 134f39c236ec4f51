"""The panel of several kinds side by side, and the verdict on each kind that stands beside its name."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from microtome.analyses.cam.side_by_side import KindMaps, method_arrays, missing_layers
from microtome.analyses.cam.targets import MapTarget
from microtome.errors import hint
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.attribution import INPUT, map_kind
from microtome.instruments.faithfulness.ranking import enough_images
from microtome.instruments.faithfulness.trust import NOT_TRIED, standing_number
from microtome.map_kinds import map_kind_entry
from microtome.numerics.statistics.medians import MIN_RUNS
from microtome.panels import Overlay
from microtome.prose import name_list
from microtome.specimen import Specimen

TITLE = "Methods side by side"


def verdict_arrays(trusts: Mapping[str, Mapping[str, Any]], why_unknown: str) -> dict[str, xr.DataArray]:
    """`standing` and `about` (method) from what is known of each kind by name; `why_unknown` stands where nothing is."""
    methods = {"method": [map_kind(name).title for name in trusts]}
    standing = [standing_number(facts) for facts in trusts.values()]
    about = [f"{line_about(name)} {_sentence(name, facts, why_unknown)}" for name, facts in trusts.items()]
    return {
        "standing": array(
            standing, ("method",), "1", methods, "better than all baselines (1), no better than one (-1), neither (0)"
        ),
        "about": array(np.array(about, dtype=object), ("method",), "text", methods, "about the method"),
    }


def line_about(name: str) -> str:
    """One line about a kind: what its maps are, and where it comes from."""
    entry = map_kind_entry(name)
    return f"{entry.summary} Source: {entry.source}"


def reason_unmeasured(images: Images, target: str) -> str:
    """Why nothing is known of the faithfulness of any kind here, as a clause; empty where it could be measured."""
    if target == "embedding":
        return "faithfulness is measured by the probability of a class"
    if not enough_images(len(images)):
        return f"a verdict takes {MIN_RUNS} images or more"
    return ""


def beside_arrays(
    specimen: Specimen,
    taken: Images,
    methods: Sequence[KindMaps],
    targets: Sequence[MapTarget],
    arrays: Mapping[str, xr.DataArray],
) -> dict[str, xr.DataArray]:
    """The arrays of `method_arrays`, and image and mask once for each image where the other arrays hold one for each class.

    `arrays` are those of the finding, where the classes of an image stand side by side.
    """
    count = len(targets)
    asked = arrays["target"].values.reshape(-1, count)
    if count > 1:
        names, titles, captions = list(taken.names), [str(title) for title in asked[0]], asked
    else:
        names = [str(name) for name in arrays["image"].coords["image"].values]
        titles = [targets[0].noun.removeprefix("the "), targets[0].rival]
        rival = arrays["runner_up"].values if "runner_up" in arrays else np.full(len(names), targets[0].rival, dtype=object)
        captions = np.stack([asked[:, 0], rival], 1)
    made = method_arrays(specimen, methods, names, titles, captions)
    for name in ("image", "mask"):
        if count > 1 and name in arrays:
            once = arrays[name][::count]
            made[f"methods_{name}"] = array(
                once.values, [str(dim) for dim in once.dims], once.attrs["unit"], {"image": names}, once.attrs.get("title", "")
            )
    return made


def beside_facts(
    specimen: Specimen, methods: Sequence[KindMaps], refused: Mapping[str, str], trusts: Mapping[str, Any]
) -> dict[str, Any]:
    """What the caveats say of the further kinds: their verdicts by title, those left out, and the layers that one does not map."""
    return {
        "beside": {map_kind(name).title: facts for name, facts in list(trusts.items())[1:]},
        "refused": dict(refused),
        "missing": missing_layers(specimen, methods) if len(methods) > 1 else {},
    }


def methods_panel(finding: Finding) -> Overlay | None:
    """All kinds side by side; None where there is one."""
    if "methods" not in finding:
        return None
    own = {name: f"methods_{name}" if f"methods_{name}" in finding else name for name in ("image", "mask")}
    mask = own["mask"] if own["mask"] in finding else ""
    note = "Positive evidence. Each map has its own colour scale, which ends where 99% of its values lie below."
    if INPUT not in finding["methods"].coords["layer"].values:
        note += " Maps of the pixels are the same at every layer."
    return Overlay(
        title=TITLE, note=note, base=own["image"], heat="methods", across="method", slide="layer", mask=mask, standing="standing",
        about="about", caption="methods_target",
    )  # fmt: skip


def beside_caveats(finding: Finding) -> list[str]:
    """What speaks against the further kinds, and where they are not drawn."""
    facts = finding.facts
    warned = [title for title, trust in facts["beside"].items() if trust["warning"]]
    unsure = [title for title, trust in facts["beside"].items() if trust["doubt"] and not trust["warning"]]
    caveats: list[str] = []
    if warned:
        fault = "in the median no better than a baseline, so they may not show what the network depends on"
        caveats.append(f"Warning: the maps of {name_list(warned, 20)} are {fault}.")
    if unsure:
        caveats.append(f"Not shown to be better than all baselines: {name_list(unsure, 20)}.")
    caveats += [f"{title} is left out: {reason}." for title, reason in facts["refused"].items()]
    caveats += [f"{title} has no map of {name_list(names, 6)}." for title, names in facts["missing"].items()]
    if facts["beside"]:
        caveats.append(f"Key numbers, the checks and the untrained twins are those of {facts['kind']} alone.")
    return caveats


def _sentence(name: str, facts: Mapping[str, Any], why_unknown: str) -> str:
    if facts != NOT_TRIED:
        return str(facts["text"])
    if why_unknown:
        return f"Faithfulness not measured: {why_unknown}."
    command = hint(
        f"microtome faithfulness SPECIMEN IMAGES --kinds {name}", f"mt.analyses.faithfulness.Faithfulness(kinds={name!r})"
    )
    return f"Faithfulness not measured; measure it with {command}."
