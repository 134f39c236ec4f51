"""`open`: a network by name, by file, by factory or as a module, with its weights, recipe, labels and family."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from torch import nn

from microtome._torchvision import timm, torchvision
from microtome.edit import apply_edits
from microtome.errors import BadOption, CheckpointError, UnknownName, did_you_mean, hint
from microtome.opening import checkpoints, factories, network_folders, saved, state_choice
from microtome.opening.describing import OpenedModel, fill_description
from microtome.opening.factories import SOURCES, Factory
from microtome.opening.hub import hub_call, load_from_hub
from microtome.opening.ready import (
    give_lazy_parts_their_shape,
    has_lazy_parts,
    other_precisions,
    refuse_unmeasurable,
    to_float32,
)
from microtome.opening.unwrapping import refuse_outside_networks, unwrap
from microtome.specimen.copying import copy_network
from microtome.specimen.families import FAMILIES, Family
from microtome.specimen.labels import given_labels as given_labels
from microtome.specimen.recipe import NAMED_RECIPES, Recipe
from microtome.specimen.specimen import Specimen
from microtome.specimen.twins import silent_branches_notes, untrained_network

Weights = str | Path | None
HUB_SOURCES = ("hf_hub", "hf-hub")  # timm's names for the Hugging Face hub


def open(
    what: str | Path | nn.Module,
    weights: Weights = "pretrained",
    *,
    state: str | None = None,
    seed: int = 0,
    recipe: Any = None,
    labels: Any = None,
    family: str | None = None,
    device: str = "cpu",
    edits: Sequence[Any] = (),
    output: str | int | None = None,
    **options: Any,
) -> Specimen:
    """The specimen that `what` names.

    `what`: "timm:NAME[.TAG]", "torchvision:NAME", "microtome:NAME", "microtome:NAME(depth=40)", a bare name (the mini zoo, timm,
    torchvision, microtome's others), "hf_hub:NAME", a folder in Hugging Face's form (`config.json` and weights), "pkg.mod:factory",
    "file.py:factory(depth=20)", a file that `Specimen.save` wrote, or an `nn.Module`.
    `weights`: "pretrained", None or "none" for untrained weights drawn under `seed`, or a file; `state` names the state dict of a file
    that holds several ("ema", "teacher"). `recipe`, `labels` and `family` replace what the network says of itself; `output` is the
    output to measure where the network gives several, by index, key or attribute name; `edits` are made in a row afterwards
    ("squeeze_excitation:ratio=8"); `options` go to the factory. Raises UnknownName, BadOption, CheckpointError, NoNetwork,
    SpecimenError or Uneditable.
    """
    if family is not None and family not in FAMILIES:
        raise UnknownName(f"There is no family '{family}'." + did_you_mean(family, FAMILIES))
    if _is_untrained(weights) or str(weights) == "pretrained":
        state_choice.refuse_state(state, weights)
    if saved.is_file_name(what):
        specimen = _open_saved(cast(str | Path, what), weights, seed, recipe, labels, family, options, state)
    elif saved.is_edited(weights) and not isinstance(what, nn.Module):
        specimen = _open_edited(what, cast(str | Path, weights), seed, recipe, labels, family, options, state)
    else:
        specimen = _open_named(what, weights, seed, recipe, labels, family, options, state)
    if output is not None:
        specimen = _with_output(specimen, str(output))
    if edits:
        specimen = apply_edits(specimen, edits)
    code = specimen.code  # as it was opened: running it may change attributes
    moved = specimen if device == "cpu" else specimen.to(device)
    moved.__dict__["code"] = code
    return moved


def _with_output(specimen: Specimen, output: str) -> Specimen:
    """The specimen with that output to measure. Raises UnknownName where it has no such output."""
    asked = specimen.opened_as and {**specimen.opened_as, "output": output}
    chosen = replace(specimen, output=output, opened_as=asked)
    _ = chosen.anatomy  # a wrong name is refused now
    return chosen


def _open_saved(
    what: str | Path,
    weights: Weights,
    seed: int,
    recipe: Any,
    labels: Any,
    family: str | None,
    options: dict[str, Any],
    state: str | None,
) -> Specimen:
    """The specimen in a file that `Specimen.save` wrote, with the caller's own values."""
    if options:
        raise BadOption(f"'{what}' stores how its network was built; leave out {', '.join(options)}.")
    path = Path(what).expanduser().absolute()
    architecture = saved.saved_architecture(path)
    base = _open_named(architecture["what"], None, seed, architecture["recipe"], None, None, architecture["options"])
    specimen = saved.reopen_specimen(path, base, None if _is_untrained(weights) else cast(str | Path, weights), state)
    return _with_overrides(specimen, recipe, labels, family, _request(path, weights, seed, labels, family, options, state))


def _open_edited(
    what: str | Path,
    weights: str | Path,
    seed: int,
    recipe: Any,
    labels: Any,
    family: str | None,
    options: dict[str, Any],
    state: str | None,
) -> Specimen:
    """The named architecture, with the edits recorded in the weights file, and those weights."""
    card = saved.read_network_header(weights)
    wanted = {**card["built"]["options"], **options}
    base = _open_named(what, None, seed, card["built"].get("recipe", card["recipe"]), None, None, wanted)
    specimen = saved.reopen_specimen(weights, base, state=state)
    return _with_overrides(specimen, recipe, labels, family, _request(what, weights, seed, labels, family, options, state))


def _with_overrides(specimen: Specimen, recipe: Any, labels: Any, family: str | None, asked: dict[str, Any]) -> Specimen:
    """The specimen with the caller's values instead of those in its file."""
    return replace(
        specimen,
        recipe=specimen.recipe if recipe is None else Recipe.of(recipe, specimen.recipe),
        names=specimen.names if labels is None else given_labels(labels),
        given_family=specimen.given_family if family is None else (cast(Family, family), "as given"),
        opened_as=asked,
    )


def _open_named(
    what: str | Path | nn.Module,
    weights: Weights,
    seed: int,
    recipe: Any,
    labels: Any,
    family: Any,
    options: dict[str, Any],
    state: str | None = None,
) -> Specimen:
    """The specimen that a name, a factory or a module gives."""
    if isinstance(what, nn.Module):
        opened = _from_module(what, weights, options, _pass_recipe(recipe), state)
    else:
        notes: list[str] = []
        factory = _factory(str(what), options, notes)
        factory = replace(factory, input=_pass_recipe(recipe))
        opened = _build_network(factory, weights, seed, state)
        opened.notes = [*notes, *opened.notes]
        refuse_outside_networks(opened.net)
    refuse_unmeasurable(opened.net)
    if other_precisions(opened.net):
        opened.net = copy_network(opened.net)
        opened.notes.append(to_float32(opened.net))
    fill_description(opened, recipe, labels)
    opened.notes += silent_branches_notes(opened.net) + [
        note for note in checkpoints.state_warnings(opened.net.state_dict()) if note not in opened.notes
    ]
    return Specimen(
        net=opened.net,
        name=opened.name,
        weights=opened.weights,
        trained=opened.trained,
        recipe=opened.recipe or NAMED_RECIPES["imagenet"],
        names=opened.names,
        remarks=tuple(opened.notes),
        given_family=(family, "as given") if family is not None else opened.family,
        maker=opened.factory,
        opened_as=None if isinstance(what, nn.Module) else _request(what, weights, seed, labels, family, options, state),
    )


def _pass_recipe(recipe: Any) -> Recipe:
    """The input that lazy modules are run on: the caller's recipe, else ImageNet's."""
    default = NAMED_RECIPES["imagenet"]
    return default if recipe is None else Recipe.of(recipe, default)


def _request(
    what: str | Path,
    weights: Weights,
    seed: int,
    labels: Any,
    family: str | None,
    options: dict[str, Any],
    state: str | None,
) -> dict[str, Any]:
    """How the specimen was asked for, as plain JSON values: enough to ask for it again (files by their full paths)."""
    path = None if weights is None else Path(weights).expanduser()
    asked = None if weights is None else str(path.absolute()) if path is not None and path.exists() else str(weights)
    return {
        "what": str(what),
        "weights": asked,
        "state": state,
        "seed": seed,
        "labels": labels if labels is None or isinstance(labels, str) else [str(label) for label in labels],
        "family": family,
        "options": options,
    }


def _factory(what: str, options: dict[str, Any], notes: list[str]) -> Factory:
    """The factory `what` names. Raises UnknownName."""
    if network_folders.is_network_folder(what):
        return network_folders.folder_factory(what, options)
    source, colon, name = what.partition(":")
    if not what.strip():
        raise UnknownName("The name of the network is empty; write for example timm:resnet50.")
    if not colon and not what.endswith(".py") and Path(what).is_file():
        raise UnknownName(
            f"'{what}' is a file, and does not say of which network; if it holds weights, name the network and give it as its weights: "
            + _as_weights(what)
        )
    if not colon and Path(what).is_dir():
        raise UnknownName(
            f"'{what}' is a folder without a {network_folders.CONFIG}, so nothing says which network it holds; name the network and give "
            "the folder as its weights: " + _as_weights(what)
        )
    if not colon and what.endswith(".py"):
        raise BadOption(f"'{what}' is a file; name the function in it that returns the network: {what}:NAME.")
    if not colon:
        return _bare_factory(what, options, notes)
    if not name:
        raise UnknownName(f"'{what}' names no network; write for example {source}:resnet50.")
    if source == "microtome":
        return factories.own_factory(name, options)
    if source == "timm":
        return factories.timm_factory(name, options)
    if source in HUB_SOURCES:
        return factories.timm_factory(f"hf-hub:{name}", options)
    if source == "torchvision":
        return factories.torchvision_factory(name, options)
    return factories.code_factory(what, options)


def _bare_factory(name: str, options: dict[str, Any], notes: list[str]) -> Factory:
    own = ("microtome", factories.own_factory)
    others = (("timm", factories.timm_factory), ("torchvision", factories.torchvision_factory))
    # what has weights comes first: a network of the literature that timm has too is timm's
    libraries: tuple[tuple[str, Callable[[str, dict[str, Any]], Factory]], ...] = (
        (own, *others) if factories.is_mini(name) else (*others, own)
    )
    hints: list[str] = []
    for source, maker in libraries:
        try:
            factory = maker(name, options)
        except UnknownName as error:
            hints.append(str(error))
            continue
        notes.append(f"'{name}' was taken as {source}:{name}.")
        return factory
    tagged = [hint for hint in hints if "no weights" in hint]
    if tagged:
        raise UnknownName(tagged[0])
    every = [*factories.own_names(), *cast(Any, timm()).list_models(), *cast(Any, torchvision()).models.list_models()]
    raise UnknownName(
        f"There is no network '{name}' in {', '.join(SOURCES)}." + did_you_mean(name, every) + " Your own: pkg.mod:factory."
    )


def _is_untrained(weights: Weights) -> bool:
    return weights is None or str(weights).lower() in ("none", "untrained")


def _from_module(
    given: nn.Module, weights: Weights, options: Mapping[str, Any], recipe: Recipe, state: str | None
) -> OpenedModel:
    """The user's own module: itself if it is in eval mode and keeps its weights, else a copy; never changed."""
    if options:
        raise BadOption(f"A module takes no options; leave out {', '.join(options)}.")
    net, notes = unwrap(given)
    name = type(net).__name__
    if _is_untrained(weights):
        raise BadOption("weights=None would have to redraw your module; open it as it is and take its .twin(seed) instead.")
    if has_lazy_parts(net):
        net = copy_network(net)
        notes.append(give_lazy_parts_their_shape(net, recipe))
    if any(module.training for module in net.modules()):
        net = copy_network(net).eval()
        notes.append("The module was in training mode; a copy in eval mode is used.")
    opened = OpenedModel(net, name, "as given", None, None, notes)
    if str(weights) != "pretrained":
        content = checkpoints.read_file(cast(str | Path, weights))
        opened.net = copy_network(net)
        _load_state(opened, content, cast(str | Path, weights), wanted=state)
    return opened


def _build_network(factory: Factory, weights: Weights, seed: int, state: str | None) -> OpenedModel:
    """A network from its factory with the wanted weights."""
    if factory.name.startswith("timm:hf-hub:") and str(weights) != "pretrained":  # its configuration lies on the hub, too
        factory = replace(factory, call=hub_call(factory.name, factory.call))
    if _is_untrained(weights):
        fresh, notes = factory.without_weights(), [f"Its weights are random (seed {seed})."]
        if factory.draws_from_seed:
            net = fresh.build(seed)
        else:
            net, more = untrained_network(lambda build: fresh.build(build, alone=True), seed)
            notes += more
        name = factory.folder.name if factory.folder is not None else factory.name
        return OpenedModel(net.eval(), name, f"untrained (seed {seed})", False, factory, notes)
    if str(weights) == "pretrained":
        return _load_pretrained(factory, seed)
    content = checkpoints.read_file(cast(str | Path, weights))
    if factory.source == "torchvision" and factory.name.endswith(("googlenet", "inception_v3")):
        first = checkpoints.find_state_dict(content, str(weights))
        if "aux_logits" not in factory.options and not any(key.startswith(("aux", "AuxLogits")) for key in first):
            factory = factory.with_options(aux_logits=False)
    opened = OpenedModel(factory.build(seed).eval(), factory.name, "", None, factory)
    _load_state(opened, content, cast(str | Path, weights), seed, state)
    return opened


def _load_pretrained(factory: Factory, seed: int) -> OpenedModel:
    if factory.folder is not None:
        return _load_folder(factory, factory.folder, seed)
    if factory.source == "code":
        net = factory.build(seed)
        return OpenedModel(net.eval(), factory.name, "as the factory made it", None, factory)
    if factory.source == "microtome":
        name = factory.name.partition(":")[2]
        path = factories.own_weights(name)
        opened = OpenedModel(factory.build(seed).eval(), factory.name, "", None, factory)
        _load_state(opened, checkpoints.read_file(path), path, seed)
        opened.weights, opened.trained = f"pretrained {name}", True
        return opened
    if factory.source == "timm":
        return _load_pretrained_timm(factory)
    models: Any = torchvision().models
    name = factory.name.partition(":")[2]
    best = models.get_model_weights(name).DEFAULT
    net = load_from_hub(factory.name, lambda: factory.build(weights=best, progress=False), str(best.url)).eval()
    return OpenedModel(net, factory.name, f"pretrained {best.name}", True, factory)


def _as_weights(what: str) -> str:
    """How to give a file or folder as the weights of a network."""
    return hint(f"timm:NAME --weights {what}", f"mt.open('timm:NAME', weights='{what}').")


def _load_folder(factory: Factory, folder: Path, seed: int) -> OpenedModel:
    """The network of a Hugging Face folder with the weights in it."""
    file = network_folders.folder_weights(folder)
    if factory.source == "transformers":
        net = network_folders.load_transformers(folder)
        return OpenedModel(net, folder.name, f"file {file.name}", True, factory)
    opened = OpenedModel(factory.build(seed).eval(), folder.name, "", None, factory)
    _load_state(opened, checkpoints.read_file(folder), file, seed)
    return opened


def _load_pretrained_timm(factory: Factory) -> OpenedModel:
    library: Any = timm()
    name = factory.name.partition(":")[2]
    config = library.models.get_pretrained_cfg(name) if not name.startswith(("hf", "local")) else None
    if config is not None and not (config.url or config.hf_hub_id or config.file):
        tags = list(library.list_pretrained(name.partition(".")[0] + "*"))[:3]
        raise UnknownName(
            f"timm has no weights for '{name}'; use {hint('--weights none', 'weights=None')} or a file."
            + (f" There are: {', '.join(tags)}." if tags else "")
        )
    address = None if config is None or config.hf_hub_id else config.url
    net = load_from_hub(factory.name, lambda: factory.build(pretrained=True), address).eval()
    tag = str((getattr(net, "pretrained_cfg", None) or {}).get("tag") or "")
    full = factory.name if "." in name or not tag else f"{factory.name}.{tag}"
    return OpenedModel(net, full, f"pretrained {tag}".strip(), True, factory)


def _load_state(opened: OpenedModel, content: Any, path: str | Path, seed: int = 0, wanted: str | None = None) -> None:
    """Fit a file's tensors to the network, with another number of classes where only that differs.

    Raises:
        CheckpointError: they do not fit.
        UnknownName: the file has no state dict of the wanted name.
    """
    file = Path(path)
    choice = state_choice.choose_state(content, opened.net, str(path), wanted)
    match = choice.fit
    classes = match.head_classes(opened.net)
    if classes is not None and opened.factory is not None and opened.factory.accepts("num_classes"):
        opened.factory = opened.factory.with_options(num_classes=classes)
        opened.net = opened.factory.build(seed).eval()
        choice = state_choice.choose_state(content, opened.net, str(path), wanted)
        match = choice.fit
        opened.notes.append(f"The file has {classes} classes; the network was built with as many.")
    if match.missing or match.unexpected or match.reshaped:
        raise CheckpointError(match.complaint(str(path), opened.name))
    opened.notes += checkpoints.state_warnings(
        {name: value for name, value in match.state.items() if getattr(value, "itemsize", 4) < 4}
    )
    opened.net.load_state_dict(match.state)
    opened.net.eval()
    if match.stripped:
        opened.notes.append(f"The names in the file begin with '{match.stripped}', which was taken off.")
    opened.notes += choice.notes
    opened.weights, opened.trained = f"file {file.name}" + (f" ({choice.name})" if choice.name else ""), True
