"""What an experiment is, read from a small TOML file: a recipe, variants of it, seeds, analyses, and the numbers to compare.

Everything that can be wrong in the file is refused here, before anything is trained.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from microtome import catalog
from microtome.analysis import build_analysis
from microtome.errors import BadOption, UnknownName, did_you_mean
from microtome.specimen.twins import check_twins
from microtome.store import slug
from microtome.training.recipe import TrainingRecipe, load_recipe, read_toml, recipe_from

BASELINE = "baseline"
VALIDATION, TRAINING, NO_IMAGES = "validation", "training", "none"
OWN_NUMBERS = ("accuracy", "mean IoU", "loss", "parameters")  # those that need no analysis
KEYS = ("title", "question", "source", "notes", "recipe", "variant", "seeds", "analyses", "numbers", "reference")
ANALYSIS_KEYS = ("analysis", "images", "limit", "twins", "over_epochs")  # beside the options of the analysis itself
_NUMBER = re.compile(r"(?P<label>[^:\[\]]+): *(?P<name>[^\[\]]+?) *(\[(?P<at>[^\[\]]*)\])?")


@dataclass(frozen=True, kw_only=True)
class TrainingVariant:
    """One way of training: its name, and what of the recipe is another, by dotted key."""

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def folder(self) -> str:
        """The name of its folder."""
        return slug(self.name)


@dataclass(frozen=True, kw_only=True)
class MeasuredAnalysis:
    """An analysis made of every trained network: its options, on which images, and whether at every checkpoint too."""

    label: str  # its name in `numbers`; two of one analysis differ by it
    analysis: str
    options: Mapping[str, Any]
    images: str = VALIDATION  # or training, none, or words for images
    limit: int | None = None
    twins: int | None = None  # None: as many as `analyze` takes
    over_epochs: bool = False

    def json(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        return {"label": self.label, "analysis": self.analysis, "options": dict(self.options), "images": self.images} | {
            name: getattr(self, name) for name in ("limit", "twins", "over_epochs")
        }


@dataclass(frozen=True)
class NumberQuery:
    """A number to compare: `accuracy`, or a key number or array of an analysis; `at` chooses coordinates of the array's one dimension."""

    text: str
    label: str = ""
    name: str = ""
    at: str = ""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A baseline against variants over seeds: what is trained, what is measured of it, what is compared."""

    name: str
    recipe: TrainingRecipe
    variants: tuple[TrainingVariant, ...]
    seeds: tuple[int, ...] = (0,)
    analyses: tuple[MeasuredAnalysis, ...] = ()
    numbers: tuple[NumberQuery, ...] = (NumberQuery("accuracy"),)
    reference: str = BASELINE
    title: str = ""
    question: str = ""
    source: str = ""
    notes: tuple[str, ...] = ()

    def variant_recipe(self, variant: TrainingVariant, seed: int) -> TrainingRecipe:
        """The recipe of one run. Raises: BadOption for a change that no recipe has."""
        return self.recipe.with_changes({"title": f"{variant.name}, seed {seed}", **variant.changes, "run.seed": seed})

    @cached_property
    def analyses_digest(self) -> str:
        """16 hex digits over what is measured of each run."""
        parts = [[analysis.json() for analysis in self.analyses], [number.text for number in self.numbers]]
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def load_experiment(path: str | Path) -> Experiment:
    """The experiment of a TOML file.

    Raises:
        BadOption: the file cannot be read, or a value is not what its key takes.
        UnknownName: a key, an analysis, an option or a variant that does not exist.
    """
    path = Path(path)
    return read_experiment(read_toml(path, "experiment"), path.stem, path.parent)


def read_experiment(content: Mapping[str, Any], name: str = "experiment", folder: Path = Path()) -> Experiment:
    """The experiment of a table as TOML gives it; a recipe named in it lies beside `folder`.

    Raises: as `load_experiment`.
    """
    _check_keys(content, KEYS, f"the experiment '{name}'")
    variants = _variants(content.get("variant", []), name)
    labels = content.get("analyses", {})
    if not isinstance(labels, Mapping):
        raise BadOption(f"analyses of '{name}' is no table; write [analyses.NAME] with the options of the analysis below it.")
    analyses = tuple(_analysis(str(label), table) for label, table in labels.items())
    experiment = Experiment(
        name=name,
        recipe=_recipe(content.get("recipe"), name, folder),
        variants=variants,
        seeds=check_seeds(content.get("seeds", [0])),
        analyses=analyses,
        numbers=tuple(_number(text, analyses) for text in _texts(content, "numbers", ["accuracy"])),
        reference=_reference(content.get("reference"), variants),
        notes=tuple(_texts(content, "notes", [])),
        **{key: str(content.get(key, "")) for key in ("title", "question", "source")},
    )
    for variant in variants:  # an unknown key is refused before anything is trained
        experiment.variant_recipe(variant, 0).require_names()
    return experiment


def check_seeds(seeds: object) -> tuple[int, ...]:
    """The seeds as a tuple. Raises: BadOption for anything but different whole numbers from 0 on."""
    given: list[Any] = list(cast("Sequence[Any]", seeds)) if isinstance(seeds, list | tuple) else []
    if not given or not all(type(seed) is int and seed >= 0 for seed in given) or len(set(given)) != len(given):
        raise BadOption(f"seeds is {seeds!r}; give different whole numbers from 0 on, for example [0, 1, 2].")
    return tuple(given)


def _recipe(given: object, name: str, folder: Path) -> TrainingRecipe:
    if isinstance(given, str):
        return load_recipe(folder / given)
    if isinstance(given, Mapping):
        return recipe_from(given)
    raise BadOption(
        f"The experiment '{name}' has no recipe; write [recipe.network], [recipe.data] … or recipe = \"recipe.toml\"."
    )


def _variants(given: Any, name: str) -> tuple[TrainingVariant, ...]:
    if not isinstance(given, list) or not all(isinstance(table, Mapping) for table in given):
        raise BadOption(f"variant of '{name}' is no list of tables; write [[variant]], name = \"…\", changes = {{ … }}.")
    variants: list[TrainingVariant] = []
    for table in given:
        _check_keys(table, ("name", "changes"), f"a variant of '{name}'")
        if not isinstance(table.get("name"), str) or not isinstance(table.get("changes", {}), Mapping):
            raise BadOption(
                f'A variant of \'{name}\' is {dict(table)}; give it a name and changes = {{ "network.edits" = ["…"] }}.'
            )
        variants.append(TrainingVariant(name=table["name"], changes=flatten_keys(table.get("changes", {}))))
    if all(variant.changes for variant in variants):
        variants.insert(0, TrainingVariant(name=BASELINE))
    taken = [variant.folder for variant in variants]
    if twice := next((variant.name for variant in variants if taken.count(variant.folder) > 1), ""):
        raise BadOption(f"Two variants of '{name}' would lie in the folder '{slug(twice)}'; give '{twice}' another name.")
    return tuple(variants)


def flatten_keys(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A table with dotted keys; a table under the quoted key "network.options" replaces all options of the factory, and stays one."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping) and key != "network.options":
            flat |= flatten_keys(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _reference(given: object, variants: tuple[TrainingVariant, ...]) -> str:
    names = [variant.name for variant in variants]
    if given is None:
        return next(variant.name for variant in variants if not variant.changes)
    if given not in names:
        raise UnknownName(
            f"The reference '{given}' is no variant; there are {', '.join(names)}.{did_you_mean(str(given), names)}"
        )
    return str(given)


def _analysis(label: str, table: Any) -> MeasuredAnalysis:
    if not isinstance(table, Mapping):
        raise BadOption(f"analyses.{label} is {table!r}; write a table of options, which may be empty: [analyses.{label}]")
    entry = catalog.analysis_entry(str(table.get("analysis", label)))
    if entry.kind == "Collation":
        raise BadOption(f"{entry.name} reads findings of several networks; an experiment makes analyses of one network each.")
    options = {key: value for key, value in table.items() if key not in ANALYSIS_KEYS}
    build_analysis(entry.load(), options)  # refuses what it does not have
    own = {key: table[key] for key in ("images", "limit", "twins", "over_epochs") if key in table}
    kinds: dict[str, type] = {"images": str, "limit": int, "twins": int, "over_epochs": bool}
    for key, value in own.items():
        if type(value) is not kinds[key] or (kinds[key] is int and value < (key == "limit")):
            raise BadOption(
                f"analyses.{label}: {key} is {value!r}; give {'a number' if kinds[key] is int else kinds[key].__name__}."
            )
    if "twins" in own:
        check_twins(own["twins"])
    own.setdefault("images", NO_IMAGES if entry.needs == "weights" else VALIDATION)
    return MeasuredAnalysis(label=label, analysis=entry.name, options=options, **own)


def _number(text: str, analyses: Sequence[MeasuredAnalysis]) -> NumberQuery:
    if text in OWN_NUMBERS:
        return NumberQuery(text)
    labels = [analysis.label for analysis in analyses]
    match = _NUMBER.fullmatch(text)
    if match is None or match["label"] not in labels:
        wanted = match["label"] if match else text
        known = (
            f"{', '.join(OWN_NUMBERS)}, and 'LABEL: NAME' for {', '.join(labels) or 'analyses, of which there are none here'}"
        )
        raise UnknownName(
            f"The number '{text}' is not known; there are {known}.{did_you_mean(wanted, [*OWN_NUMBERS, *labels])}"
        )
    return NumberQuery(text, match["label"], match["name"], match["at"] or "")


def _texts(content: Mapping[str, Any], key: str, default: list[str]) -> list[str]:
    texts = content.get(key, default)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise BadOption(f'{key} is {texts!r}; give a list of texts, for example {key} = ["accuracy"].')
    return texts


def _check_keys(table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise UnknownName(f"There is no '{key}' in {where}; there are {', '.join(known)}.{did_you_mean(str(key), known)}")
