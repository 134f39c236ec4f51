"""Who can build a network: timm, torchvision, microtome's own, or a function of the user's."""

import importlib
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from torch import nn

from microtome import networks
from microtome._torchvision import timm, torchvision
from microtome.errors import BadOption, CheckpointError, SpecimenError, UnknownName, did_you_mean, option_name
from microtome.opening.call_arguments import call_arguments, unknown_option
from microtome.opening.ready import give_lazy_parts_their_shape, has_lazy_parts
from microtome.specimen.copying import copy_network
from microtome.specimen.families import Family
from microtome.specimen.own_initialisers import without_trained_weights
from microtome.specimen.recipe import NAMED_RECIPES, Recipe
from microtome.specimen.seeding import seed_generators

SOURCES = ("microtome", "timm", "torchvision")


@dataclass(frozen=True)
class Factory:
    """A named way to build one architecture. `source` is one of SOURCES or "code"; `call` takes keyword options.

    The name is not compared: it may be a path, and whatever it decides is in `call`.
    """

    source: str
    name: str = field(compare=False)
    call: Callable[..., Any] = field(repr=False)
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    folder: Path | None = field(default=None, repr=False)  # that says which network, and holds its weights
    input: Recipe = field(default=NAMED_RECIPES["imagenet"], repr=False)  # of the pass that lazy modules get their shapes from

    def build(self, seed: int = 0, alone: bool = False, **more: Any) -> nn.Module:
        """A network under `seed` (`alone`: whatever seeds the code sets), with the factory's options and `more`.

        Raises BadOption or SpecimenError.
        """
        options = {**self.options, **more}
        try:
            with seed_generators(seed, alone=alone), warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                made = self.call(**options)
        except TypeError as error:
            if "argument" not in str(error):
                raise SpecimenError(f"{self.name} could not be built ({_first_line(error)}).") from error
            near = unknown_option(error, self.call)
            raise BadOption(near or f"{self.name} does not take these options ({_first_line(error)}).") from error
        except (SpecimenError, BadOption):
            raise
        except Exception as error:  # user code and libraries raise anything
            raise SpecimenError(f"{self.name} could not be built ({type(error).__name__}: {_first_line(error)}).") from error
        if not isinstance(made, nn.Module):
            raise SpecimenError(f"{self.name} gave {type(made).__name__}, not an nn.Module.")
        if self.source == "code":  # which may keep it, or give the same one to others
            made = copy_network(made)
            if has_lazy_parts(made):
                give_lazy_parts_their_shape(made, self.input, seed)
        return made

    @property
    def draws_from_seed(self) -> bool:
        """Whether it is known to draw all weights from the global generators: a library's, not the user's own code."""
        return self.source != "code"

    def without_weights(self) -> "Factory":
        """The same factory with every option that brings trained weights switched off."""
        return replace(self, options=without_trained_weights(self.call, self.options))

    def fresh(self, seed: int) -> nn.Module:
        """The architecture with new weights under `seed`, with residual branches not zero-initialised if the factory allows that."""
        factory = self.without_weights()
        if self.source in ("timm", "microtome"):
            try:
                return factory.build(seed, alone=True, zero_init_last=False)
            except BadOption:  # most architectures have no such option, and none is needed
                return factory.build(seed, alone=True)
        return factory.build(seed, alone=True)

    def json(self) -> dict[str, Any]:
        """How to build it again: what to open (a file by its full path), and the options."""
        what = self.name
        if self.source == "code":
            place, colon, rest = _split_address(self.name)
            what = f"{Path(place).expanduser().absolute() if place.endswith('.py') else place}{colon}{rest}"
        return {"what": what, "options": self.options}

    def accepts(self, option: str) -> bool:
        """Whether the factory takes a keyword option of that name."""
        if self.source == "transformers":
            return False
        if self.source != "code":
            return True
        parameters = inspect.signature(self.call).parameters
        return option in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())

    def with_options(self, **more: Any) -> "Factory":
        """The same factory with more options."""
        return replace(self, options={**self.options, **more})


def own_names() -> tuple[str, ...]:
    """The names of microtome's own networks, the mini zoo first."""
    return tuple(str(name) for name in (*networks.SHIPPED, *networks.LITERATURE))


def is_mini(name: str) -> bool:
    """Whether a network of our own is one of the small ones that have weights."""
    return name in networks.SHIPPED


def own_recipe(factory: "Factory") -> dict[str, Any]:
    """The recipe's name, and its size where the network was built for one."""
    return dict(networks.input_recipe(_bare_name(factory.name), factory.options))


def own_weights(name: str) -> Path:
    """The weights file of one of microtome's own networks."""
    return Path(networks.weights_file(_bare_name(name)))


@dataclass(frozen=True)
class OwnFacts:
    """What is known of one of microtome's own networks before it runs; `reason` is that of the family."""

    family: Family | None
    reason: str
    labels: tuple[str, ...] | None


def own_facts(name: str) -> OwnFacts:
    """Family and labels of one of microtome's own networks; labels only where its weights' card is installed."""
    name = _bare_name(name)
    family = cast("Family | None", networks.FAMILIES.get(name))
    mini = "it is of the mini zoo, which has its families by design"
    reason = mini if is_mini(name) else f"{name} is a network of the '{family}' kind in the literature"
    try:
        labels = networks.weights_card(name).get("labels")
    except CheckpointError:  # the architecture can be had without the weights
        labels = None
    return OwnFacts(family, reason, tuple(str(label) for label in labels) if labels else None)


def _bare_name(name: str) -> str:
    """The name without "microtome:" and without options."""
    return name.removeprefix("microtome:").partition("(")[0]


def own_factory(name: str, options: dict[str, Any]) -> Factory:
    """The factory of one of microtome's own networks, "name" or "name(key=value)". Raises UnknownName or BadOption."""
    bare = name.partition("(")[0]
    if bare not in own_names():
        raise UnknownName(f"microtome has no network '{bare}'." + did_you_mean(bare, own_names()))
    written = call_arguments(name, f"microtome:{name}")[1] if bare != name else {}
    return Factory("microtome", f"microtome:{name}", lambda **opts: networks.build(bare, **opts), {**written, **options})


def _library_options(source: str, name: str, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name, and the options of "name(key=value)" with those that were given; weights are no option there."""
    bare, written = call_arguments(name, f"{source}:{name}")
    options = {**written, **given}
    for word in ("pretrained", "weights", "checkpoint_path"):
        if word in options:
            raise BadOption(
                f"{source}:{bare} takes its weights from {option_name('weights')}, not from {word}={options[word]!r}."
            )
    return bare, options


def timm_factory(name: str, options: dict[str, Any]) -> Factory:
    """The factory of a timm architecture, "name", "name.tag" or "name(num_classes=10)". Raises UnknownName or BadOption."""
    library: Any = timm()
    name, options = _library_options("timm", name, options)
    arch, _, tag = name.partition(".")
    if not name.startswith(("hf-hub:", "hf_hub:", "local-dir:")):
        if not library.is_model(arch):
            raise UnknownName(f"timm has no architecture '{arch}'." + did_you_mean(arch, library.list_models()))
        known = [str(full).partition(".")[2] for full in library.models.get_arch_pretrained_cfgs(arch)]
        if tag and tag not in known:
            raise UnknownName(f"timm's {arch} has no weights '{tag}'." + (did_you_mean(tag, known) or _some_names(known)))
    return Factory("timm", f"timm:{name}", lambda **opts: library.create_model(name, **opts), options)


def torchvision_factory(name: str, options: dict[str, Any]) -> Factory:
    """The factory of a torchvision architecture, "name" or "name(num_classes=10)". Raises UnknownName or BadOption."""
    models: Any = torchvision().models
    name, options = _library_options("torchvision", name, options)
    if name not in models.list_models():
        raise UnknownName(f"torchvision has no architecture '{name}'." + did_you_mean(name, models.list_models()))
    settings = dict(options)
    if name in ("googlenet", "inception_v3") and "init_weights" not in settings:
        settings["init_weights"] = True  # what is done anyway, without a warning
    if (
        ".segmentation" in models.get_model_builder(name).__module__
        or ".detection" in models.get_model_builder(name).__module__
    ):
        settings.setdefault("weights_backbone", None)  # would be downloaded even for an untrained network
    return Factory("torchvision", f"torchvision:{name}", lambda **opts: models.get_model(name, **opts), settings)


def code_factory(what: str, options: dict[str, Any]) -> Factory:
    """The factory that "pkg.mod:name", "file.py:name" or "mod:name(key=value)" stands for; runs the user's code.

    The working directory is on the import path only while the module is imported. Raises UnknownName, BadOption, SpecimenError.
    """
    place, _, rest = _split_address(what)
    name, written = call_arguments(rest, what)
    torchvision()  # user code imports it directly, which only works once the door has been opened
    module = _import_target(place, what)
    target: Any = module
    for part in name.split("."):
        if not hasattr(target, part):
            public = [each for each in dir(target) if not each.startswith("_")]
            raise UnknownName(f"'{place}' has no '{name}'." + did_you_mean(part, public))
        target = getattr(target, part)
    if isinstance(target, nn.Module):
        return Factory("code", what, lambda: target)
    if not callable(target):
        raise SpecimenError(f"'{what}' is {type(target).__name__}, neither a network nor a function that returns one.")
    return Factory("code", what, target, {**written, **options})


def _split_address(what: str) -> tuple[str, str, str]:
    """(module or file, ":", name): the last colon before any bracket."""
    head, bracket, tail = what.partition("(")
    place, colon, name = head.rpartition(":")
    return place, colon, name + bracket + tail


@contextmanager
def _working_directory() -> Generator[None]:
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        yield
    finally:
        if added and here in sys.path:
            sys.path.remove(here)


def _import_target(place: str, what: str) -> Any:
    try:
        with _working_directory():
            if place.endswith(".py"):
                return _load_file(Path(place).expanduser())
            return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name and (place == error.name or place.startswith(error.name + ".")):
            files = [each.stem for each in Path.cwd().glob("*.py")]
            near = did_you_mean(place, [*files, *SOURCES])
            raise UnknownName(f"There is no module '{place}' for '{what}' on the path or in this folder.{near}") from error
        raise SpecimenError(f"Importing '{place}' failed: {_first_line(error)}.") from error
    except (UnknownName, SpecimenError):
        raise
    except Exception as error:  # whatever the user's module raises while it is imported
        raise SpecimenError(f"Importing '{place}' failed ({type(error).__name__}: {_first_line(error)}).") from error


def _load_file(path: Path) -> Any:
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path()
        raise UnknownName(f"There is no file '{path}'." + did_you_mean(path.name, [each.name for each in folder.glob("*.py")]))
    name = f"microtome_given_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SpecimenError(f"'{path}' cannot be imported as Python code.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pickling and deep copies look classes up here
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _some_names(names: Sequence[str]) -> str:
    return f" There are: {', '.join(names[:8])}{', …' if len(names) > 8 else ''}."


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200].rstrip(".") if lines else type(error).__name__
