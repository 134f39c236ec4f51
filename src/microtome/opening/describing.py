"""The description of a network at opening: input recipe, labels and family, each with a note if it was assumed."""

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from microtome._torchvision import timm, torchvision
from microtome.errors import hint
from microtome.opening import factories
from microtome.opening.factories import Factory
from microtome.specimen import labels
from microtome.specimen.families import Family
from microtome.specimen.labels import Labels
from microtome.specimen.recipe import NAMED_RECIPES, Recipe, from_timm, from_torchvision


@dataclass
class OpenedModel:
    """What is known of a network while it is being opened."""

    net: nn.Module
    name: str
    weights: str
    trained: bool | None
    factory: Factory | None
    notes: list[str] = field(default_factory=list[str])
    recipe: Recipe | None = None
    names: Labels | None = None
    family: tuple[Family, str] | None = None


def fill_description(opened: OpenedModel, recipe: Any, wanted: Any) -> None:
    """Fill in recipe and labels: what the caller gave, else what the network declares, else a default with a note."""
    own, source = _own_recipe(opened)
    if recipe is not None:
        opened.recipe = Recipe.of(recipe, own)
    else:
        opened.recipe = own
        opened.notes += source
    if wanted is not None:
        opened.names = labels.given_labels(wanted)
        return
    opened.names, notes = _own_labels(opened)
    opened.notes += notes


def _own_recipe(opened: OpenedModel) -> tuple[Recipe, list[str]]:
    source = opened.factory.source if opened.factory else ""
    if source == "microtome" and opened.factory is not None:
        recipe = factories.own_recipe(opened.factory)
        return Recipe.of(recipe["size"], NAMED_RECIPES[recipe["name"]]) if recipe["size"] else NAMED_RECIPES[recipe["name"]], []
    if getattr(opened.net, "pretrained_cfg", None):
        library: Any = timm()
        built = opened.factory.options if opened.factory is not None else {}
        words = {name: built[name] for name in ("in_chans", "img_size") if name in built}
        return from_timm(library.data.resolve_model_data_config(opened.net, args=words))
    if source == "torchvision" and opened.factory is not None:
        models: Any = torchvision().models
        return from_torchvision(models.get_model_weights(opened.factory.name.partition(":")[2]).DEFAULT.transforms())
    default, note = (
        NAMED_RECIPES["imagenet"],
        "Nothing says how it wants its input; ImageNet's recipe at 224 px is used ("
        + hint("--recipe size=224,mean=…,std=…", "recipe=…")
        + " changes it).",
    )
    first = next((module for module in opened.net.modules() if isinstance(module, nn.Conv2d)), None)
    if first is not None and first.in_channels == 1:
        return Recipe(channels=1), [note]
    return default, [note]


def _own_labels(opened: OpenedModel) -> tuple[Labels | None, list[str]]:
    source = opened.factory.source if opened.factory else ""
    if source == "microtome":
        facts = factories.own_facts(opened.name.partition(":")[2])
        names = facts.labels
        opened.family = (facts.family, facts.reason) if facts.family else None
        return ((names, None) if names and not _has_other_classes(opened) else None), []
    if getattr(opened.net, "pretrained_cfg", None):
        return labels.timm_labels(opened.net)
    if source == "torchvision" and opened.factory is not None:
        models: Any = torchvision().models
        meta = models.get_model_weights(opened.factory.name.partition(":")[2]).DEFAULT.meta
        names = meta.get("categories")
        if not names or _has_other_classes(opened):
            return None, []
        ids = labels.imagenet_labels()[1] if len(names) == 1000 else None
        return (tuple(str(name) for name in names), ids), []
    return None, []


def _has_other_classes(opened: OpenedModel) -> bool:
    """Whether the network was built with another number of classes than its own."""
    return opened.factory is not None and "num_classes" in opened.factory.options
