"""The network of a recipe, ready to be trained: fresh or published weights, edits made, an output for each class."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from microtome.edit import apply_edits
from microtome.errors import BadOption, SpecimenError
from microtome.opening import saved
from microtome.opening.opening import open as open_specimen
from microtome.specimen import Specimen
from microtome.training.recipe import NetworkChoice

EDIT_SEED = 1_000_003  # added to the seed, so that new layers do not repeat the draws of the first ones
LIBRARIES = ("microtome", "timm", "torchvision")  # whose factories take num_classes


def predicts_pixels(choice: NetworkChoice, seed: int = 0, size: int = 0) -> bool:
    """Whether the network gives a class for every pixel."""
    specimen = _open(replace(choice, weights="none"), choice.classes or 2, seed, size)
    _require_run(specimen, size)
    return specimen.outputs is None


def open_network(choice: NetworkChoice, classes: int, seed: int, size: int = 0) -> Specimen:
    """The network of a recipe with `classes` outputs, or more where the recipe says so.

    Fresh weights are drawn by `seed`, those of layers that edits bring too. The network is a copy of its own, in eval mode.

    Raises: BadOption where its outputs cannot be made to fit or it does not take images of that size; whatever opening raises.
    """
    count = choice.classes or classes
    if count < classes:
        raise BadOption(f"network.classes is {count}, and the images have {classes} classes; give {classes} or more.")
    specimen = _open(choice, count, seed, size)
    _require_run(specimen, size)
    outputs = _output_count(specimen)
    if outputs != count:
        raise BadOption(
            f"{choice.name} gives {outputs} outputs, and {count} are wanted, one for each class; let its factory take num_classes, "
            "or give network.options what sets them."
        )
    return specimen


def _open(choice: NetworkChoice, count: int, seed: int, size: int) -> Specimen:
    """The network with its first weights and its edits."""
    fresh = choice.weights.lower() in ("none", "untrained", "")
    weights = None if fresh else "pretrained" if choice.weights.lower() in ("default", "pretrained") else choice.weights
    options: dict[str, Any] = dict(choice.options)
    own_file = saved.is_file_name(choice.name)
    if not own_file and _takes_count(choice):
        options["num_classes"] = count
    specimen = open_specimen(choice.name, None, seed=seed, **options)
    if weights is not None:
        given = open_specimen(choice.name, weights, seed=seed, **({} if own_file else choice.options))
        specimen = _filled(specimen, given)
    recipe = specimen.recipe
    if size:
        recipe = replace(recipe, size=(size, size))
    if fresh:  # nothing was learnt about how images are cropped
        recipe = replace(recipe, crop=1.0)
    specimen = replace(specimen, recipe=recipe)
    return apply_edits(specimen, choice.edits, seed=seed + EDIT_SEED) if choice.edits else specimen


def _takes_count(choice: NetworkChoice) -> bool:
    """Whether the factory has an option for the number of outputs."""
    source, colon, _ = choice.name.partition(":")
    if not colon or source in LIBRARIES or source in ("hf_hub", "hf-hub"):
        return True
    maker = open_specimen(choice.name, None, **choice.options).maker
    accepts: Any = getattr(maker, "accepts", None)
    return bool(accepts is not None and accepts("num_classes"))


def _filled(specimen: Specimen, given: Specimen) -> Specimen:
    """The specimen with all weights of another that fit it; what has another shape is the head, and stays fresh.

    Raises: BadOption where little fits.
    """
    state = specimen.net.state_dict()
    other = given.net.state_dict()
    fitting = {name: value for name, value in other.items() if name in state and state[name].shape == value.shape}
    strange = [name for name in state if name not in fitting]
    if len(strange) > max(4, len(state) // 4):
        raise BadOption(
            f"Most of the given weights do not fit {specimen.name}: {', '.join(strange[:3])} and others have other shapes."
        )
    specimen.net.load_state_dict({**state, **fitting})
    return replace(specimen, recipe=given.recipe, weights=given.weights, trained=given.trained)


def _require_run(specimen: Specimen, size: int) -> None:
    """Raise BadOption where the network does not take images of the recipe's size."""
    try:
        _ = specimen.anatomy
    except SpecimenError as error:
        rows, cols = specimen.recipe.size
        reason, _, other = str(error).partition(": it runs on ")
        wanted = (
            f"it runs on {other.partition(';')[0]}; give that as data.size"
            if other
            else f"{reason.rstrip('.')}; give another data.size"
        )
        raise BadOption(
            f"{specimen.name} does not take images of {rows} x {cols} px: {wanted}"
            + (", or the option of its factory for the size, such as network.options.img_size" if size else "")
            + "."
        ) from error


def _output_count(specimen: Specimen) -> int:
    """Scores for one image, or the classes of the map that it gives."""
    if specimen.outputs is not None:
        return specimen.outputs
    with torch.inference_mode():
        return int(specimen.pick(specimen.net(specimen.noise(1))).shape[1])


def open_trained(choice: NetworkChoice, options: dict[str, Any], path: Path) -> Specimen:
    """The trained network of a recipe from its file."""
    header = saved.read_network_header(path)
    if str(header["built"]["what"]).partition(":")[0] in saved.LIBRARY_SOURCES:
        return open_specimen(path)
    # made by code of the user's own, which only its name may run
    specimen = open_specimen(choice.name, path, recipe=header["recipe"], labels=header["names"][0], **options)
    return replace(specimen, trained=header["trained"], weights=header["weights"])


def train_mode(net: nn.Module, head: str | None) -> None:
    """Put the network into training mode; with `head` only that part, so that what is frozen keeps its statistics too."""
    net.train(head is None)
    if head is not None:
        net.get_submodule(head).train()


def freeze_all_but(net: nn.Module, head: str) -> None:
    """Let only the parameters of the head be trained."""
    net.requires_grad_(False)
    net.get_submodule(head).requires_grad_(True)
