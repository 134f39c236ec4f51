"""The description of a network at opening: input recipe, labels and family, each with a note if it was assumed."""

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from microtome._torchvision import timm, torchvision
from microtome.errors import hint
from microtome.opening import factories, network_folders
from microtome.opening.factories import Factory
from microtome.opening.ready import has_lazy_parts
from microtome.specimen import labels
from microtome.specimen.families import Family
from microtome.specimen.input_channels import input_channels
from microtome.specimen.labels import Labels
from microtome.specimen.recipe import NAMED_RECIPES, Recipe, from_timm, from_torchvision, with_channels


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
    own, more = _with_own_channels(opened.net, own)
    if recipe is not None:
        opened.recipe = Recipe.of(recipe, own)
    else:
        opened.recipe = own
        opened.notes += source
    if opened.recipe.mean == own.mean:
        opened.notes += more
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
    if source == "transformers" and opened.factory is not None and opened.factory.folder is not None:
        declared = network_folders.folder_recipe(opened.factory.folder)
        if declared is not None:
            return declared
    elif getattr(opened.net, "pretrained_cfg", None):
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
    return default, [note]


def _with_own_channels(net: nn.Module, recipe: Recipe) -> tuple[Recipe, list[str]]:
    """The recipe with as many channels as the layer that reads the image takes, and a note where they are neither one nor three.

    The image is followed only where the first convolution by name does not take the recipe's channels.
    """
    first = next((module for module in net.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None or first.in_channels == recipe.channels or has_lazy_parts(net):
        return recipe, []
    channels = input_channels(net, recipe)
    if channels is None or channels == recipe.channels:
        return recipe, []
    if channels in (1, 3):
        return with_channels(recipe, channels), []
    note = (
        f"It takes {channels} channels, and nothing says their mean and std; 0 and 1 are used ("
        + hint(f"--recipe channels={channels},mean=…,std=…", f"recipe={{'channels': {channels}, 'mean': …}}")
        + " changes them)."
    )
    return with_channels(recipe, channels), [note]


def _own_labels(opened: OpenedModel) -> tuple[Labels | None, list[str]]:
    source = opened.factory.source if opened.factory else ""
    if source == "microtome":
        facts = factories.own_facts(opened.name.partition(":")[2])
        names = facts.labels
        opened.family = (facts.family, facts.reason) if facts.family else None
        return ((names, None) if names and not _has_other_classes(opened) else None), []
    if source == "transformers" and opened.factory is not None and opened.factory.folder is not None:
        return network_folders.folder_labels(opened.factory.folder), []
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
