"""A training recipe: network, data, augmentation, optimiser and run, as frozen values and as a small TOML file.

Every key has a default except `network.name` and `data.images`. Source: TOML 1.0, toml.io.
"""

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

from microtome import options
from microtome.errors import BadOption, did_you_mean
from microtome.options import option


class _Section:
    """One table of a recipe: values are checked when it is made."""

    def __post_init__(self) -> None:
        table = _TABLES[type(self)]
        for name, hint in get_type_hints(type(self)).items():
            object.__setattr__(self, name, _plain_value(f"{table}.{name}", getattr(self, name), hint))
        options.validate_options(self, table)


@dataclass(frozen=True, kw_only=True)
class NetworkChoice(_Section):
    """Which network is trained, and from which weights."""

    name: str = option("", "whatever microtome.open takes: timm:resnet18, torchvision:vgg11, pkg.mod:factory")
    weights: str = option("none", "first weights: none (fresh, from the seed), default (the published ones), or a file")
    options: Mapping[str, Any] = field(
        default_factory=dict[str, Any], metadata={"help": "keyword arguments of the network's factory"}
    )
    edits: tuple[str, ...] = option((), "edits made before training, as for microtome edit")
    classes: int = option(0, "outputs of a new head; 0: the number of classes of the images", low=0, high=1_000_000)


@dataclass(frozen=True, kw_only=True)
class DataChoice(_Section):
    """Which images train it and which validate it."""

    images: str = option("", "training images: a folder, scenes:4000,seed=7, an .npz file")
    validation: str = option("", "validation images; left out, a fraction of the training images")
    validation_fraction: float = option(0.1, "fraction of each class kept for validation", low=0, high=0.9)
    per_class: int = option(0, "training images per class, at most; 0: all", low=0, high=100_000_000)
    size: int = option(0, "side of the input, px; 0: what the network asks for", low=0, high=8192)
    turn: Literal["none", "90", "180", "270", "random"] = option("none", "turns of all images, degrees anticlockwise")


@dataclass(frozen=True, kw_only=True)
class Augmentation(_Section):
    """Random changes of the training images."""

    flip: bool = option(True, "mirror half of the images left to right")
    flip_vertical: bool = option(False, "mirror half of the images top to bottom, such as images that lie on their side")
    shift: int = option(4, "largest shift, px", low=0, high=1000)
    crop_scale: tuple[float, ...] = option(
        (), "smallest and largest fraction of the image in a random resized crop; none without"
    )
    randaugment: bool = option(False, "two random operations of RandAugment for each image")
    mixup: float = option(0.0, "alpha of mixup; 0: none", low=0, high=100)
    cutmix: float = option(0.0, "alpha of CutMix; 0: none", low=0, high=100)
    erase: float = option(0.0, "probability of a random erased rectangle", low=0, high=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        ends = self.crop_scale
        if ends and not (len(ends) == 2 and 0 < ends[0] <= ends[1] <= 1):
            raise BadOption(
                f"augmentation.crop_scale is {list(ends)}; it takes the smallest and the largest fraction, as in [0.35, 1.0]."
            )


@dataclass(frozen=True, kw_only=True)
class OptimiserChoice(_Section):
    """How weights are updated."""

    name: Literal["sgd", "adamw", "muon"] = option("adamw", "update rule")
    lr: float = option(3e-3, "highest learning rate", low=0, high=1000)
    momentum: float = option(0.9, "momentum of sgd and muon; the first beta of adamw", low=0, high=0.9999)
    weight_decay: float = option(0.05, "weight decay", low=0, high=100)
    decay: Literal["kernels", "all", "auditor"] = option("kernels", "parameters that decay")
    schedule: Literal["cosine", "step", "one_cycle", "constant"] = option("cosine", "course of the learning rate")
    warmup: float = option(0.05, "fraction of all steps on which the learning rate rises", low=0, high=0.9)
    milestones: tuple[float, ...] = option((0.5, 0.75), "fractions of all steps at which step divides the rate by 10")
    label_smoothing: float = option(0.0, "fraction of each label spread over all classes", low=0, high=0.999)
    clip: float = option(1.0, "largest norm of the gradient; 0: no clipping", low=0, high=1e9)
    radius: float = option(0.0, "largest RMS of a filter after each update; 0: off", low=0, high=1e9)
    train_only: Literal["all", "head"] = option("all", "parameters that are trained")


@dataclass(frozen=True, kw_only=True)
class RunChoice(_Section):
    """How long and on what it runs."""

    epochs: int = option(10, "epochs", low=1, high=1_000_000)
    batch: int = option(64, "images per forward pass and device", low=1, high=1_000_000)
    accumulate: int = option(1, "forward passes per update", low=1, high=100_000)
    seed: int = option(0, "seed of first weights, order, augmentation and split", low=0, high=2**31 - 1)
    precision: Literal["32", "bf16"] = option("32", "numbers of the forward pass: 32 or bf16")
    compile: bool = option(False, "torch.compile the network")
    devices: int = option(1, "processes or GPUs that train together", low=1, high=4096)
    threads: int = option(1, "CPU threads", low=1, high=1024)


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """Everything that decides what a training becomes: on one device and thread, equal recipes give equal weights to the bit."""

    title: str = ""
    network: NetworkChoice = field(default_factory=NetworkChoice)
    data: DataChoice = field(default_factory=DataChoice)
    augmentation: Augmentation = field(default_factory=Augmentation)
    optimiser: OptimiserChoice = field(default_factory=OptimiserChoice)
    run: RunChoice = field(default_factory=RunChoice)

    def with_changes(self, changes: Mapping[str, Any]) -> "TrainingRecipe":
        """The recipe with other values, by dotted keys: {"optimiser.lr": 0.01, "run.epochs": 3}.

        Raises: BadOption for a key that no recipe has, or a value that it does not take.
        """
        tables: dict[str, dict[str, Any]] = {}
        title = self.title
        for key, value in changes.items():
            table, dot, name = key.partition(".")
            if key == "title":
                title = str(value)
            elif dot and key in recipe_keys():
                tables.setdefault(table, {})[name] = value
            elif key.startswith("network.options."):
                own = tables.setdefault("network", {}).setdefault("options", dict(self.network.options))
                own[key.removeprefix("network.options.")] = value
            else:
                raise BadOption(f"A training recipe has no '{key}'.{did_you_mean(key, recipe_keys())}")
        sections = {table: dataclasses.replace(getattr(self, table), **values) for table, values in tables.items()}
        return dataclasses.replace(self, title=title, **sections)

    def json(self) -> dict[str, Any]:
        """All values as plain JSON values, by table."""
        return json.loads(json.dumps(dataclasses.asdict(self), default=str))

    @property
    def digest(self) -> str:
        """sha256 over all that decides the weights: every value except the title."""
        facts = {name: value for name, value in self.json().items() if name != "title"}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def require_names(self) -> None:
        """Raise BadOption where the recipe names no network or no images."""
        for key, value, example in (
            ("network.name", self.network.name, "timm:resnet18"),
            ("data.images", self.data.images, "photos/"),
        ):
            if not value:
                raise BadOption(f'The recipe has no {key}; add it, as in {key} = "{example}".')


_TABLES: dict[type, str] = {
    NetworkChoice: "network",
    DataChoice: "data",
    Augmentation: "augmentation",
    OptimiserChoice: "optimiser",
    RunChoice: "run",
}


def recipe_keys() -> list[str]:
    """All dotted keys of a recipe, in the order of the file."""
    return ["title", *(f"{table}.{each.name}" for kind, table in _TABLES.items() for each in fields(cast(Any, kind)))]


def recipe_from(tables: Mapping[str, Any]) -> TrainingRecipe:
    """The recipe that nested tables describe; what they leave out has its default.

    Raises: BadOption for an unknown key, or a value that a key does not take.
    """
    changes: dict[str, Any] = {}
    for name, value in tables.items():
        if name in _TABLES.values() and isinstance(value, Mapping):
            changes |= {f"{name}.{key}": each for key, each in cast(Mapping[str, Any], value).items()}
        else:
            changes[name] = value
    return TrainingRecipe().with_changes(changes)


def read_toml(path: str | Path, kind: str) -> dict[str, Any]:
    """The tables of a TOML file; `kind` says in messages what it is: a recipe, an experiment.

    Raises: BadOption for a file that cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadOption(f"The {kind} '{path}' cannot be read ({error.strerror}); name a TOML file.") from None
    except ValueError as error:  # TOML and UTF-8 alike
        raise BadOption(f"The {kind} '{path}' is not TOML: {error}.") from None


def load_recipe(path: str | Path) -> TrainingRecipe:
    """The recipe in a TOML file.

    Raises: BadOption for a file that cannot be read, is not TOML, or has an unknown key or value.
    """
    tables = read_toml(path, "recipe")
    try:
        return recipe_from(tables)
    except BadOption as error:
        raise BadOption(f"{path}: {error}") from None


def parse_changes(words: Sequence[str]) -> dict[str, Any]:
    """Changes from words KEY=VALUE; the value is read as TOML, else as text.

    Raises: BadOption for a word of another form.
    """
    changes: dict[str, Any] = {}
    for word in words:
        key, sign, text = word.partition("=")
        if not (sign and key.strip()):
            raise BadOption(f"--set {word} is not understood; write --set run.epochs=3.")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text.strip()
        changes[key.strip()] = value
    return changes


def _plain_value(where: str, value: Any, hint: Any) -> Any:
    """`value`, refused where turning it into the declared type would hide a mistake."""
    if get_origin(hint) is Literal and isinstance(value, int | float) and str in map(type, get_args(hint)):
        return str(value).lower()
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    wrong = (
        (hint is int and isinstance(value, float | bool))
        or (hint is float and isinstance(value, bool))
        or (hint is str and not isinstance(value, str | Path))
        or (hint is bool and not isinstance(value, bool | str))
        or (get_origin(hint) is tuple and isinstance(value, Mapping))
    )
    if wrong:
        kind = getattr(hint, "__name__", str(hint))
        raise BadOption(f"{where} is {value!r}; it takes a value of type {kind}.")
    return value
