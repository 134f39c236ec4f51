"""A specimen in one file: its weights as safetensors, and in the header how to build the architecture they belong to.

So an edited network can be opened again by the name of its file alone. Nothing in the file is code, and nothing in it makes code
run that is not part of microtome, timm or torchvision: a network that somebody's own factory made is opened by naming that factory
oneself, with the file as its weights.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors
from torch import nn

from microtome.edit import rebuild
from microtome.errors import CheckpointError, SpecimenError, did_you_mean, hint, option_hint
from microtome.opening import checkpoints, state_choice
from microtome.specimen.labels import given_labels
from microtome.specimen.recipe import Recipe
from microtome.specimen.saving import HEADER_KEY, SUFFIX
from microtome.specimen.specimen import Change, Specimen

LIBRARY_SOURCES = ("microtome", "timm", "torchvision")
REFUSED_OPTIONS = (
    "checkpoint_path",
    "pretrained",
    "weights",
    "cache_dir",
)  # options of factories that read or fetch other files


def is_file_name(what: object) -> bool:
    """Whether what is to be opened is spelt as a file of weights."""
    return isinstance(what, str | Path) and str(what).endswith(SUFFIX)


def read_network_header(path: str | Path) -> dict[str, Any]:
    """The content of a saved specimen's header.

    Raises:
        CheckpointError: the file is missing, damaged, or holds weights without saying of which network.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        folder = file.parent if file.parent.is_dir() else Path()
        near = did_you_mean(file.name, [each.name for each in folder.glob(f"*{SUFFIX}")])
        raise CheckpointError(f"There is no file '{path}'.{near}")
    try:
        with safetensors.safe_open(str(file), "pt") as opened:
            header = opened.metadata() or {}
        return dict(json.loads(header[HEADER_KEY]))
    except KeyError:
        raise CheckpointError(
            f"'{path}' holds weights, but does not say of which network; name the network and give the file as its weights: "
            f"{option_hint('weights', str(path))}"
        ) from None
    except (safetensors.SafetensorError, ValueError, OSError, TypeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise CheckpointError(f"'{path}' is damaged or cut short ({first}); write or download it again.") from error


def is_edited(weights: object) -> bool:
    """Whether a file given as weights is that of an edited specimen, so that its network has to be edited before they fit."""
    if not is_file_name(weights) or not Path(str(weights)).expanduser().is_file():
        return False
    try:
        return bool(read_network_header(Path(str(weights)))["edits"])
    except CheckpointError:  # plain weights; what is damaged is said where they are read
        return False


def saved_architecture(path: str | Path) -> dict[str, Any]:
    """What to open for the network in a file, and how: {"what", "options", "recipe"}.

    Raises:
        CheckpointError: see `read_network_header`.
        SpecimenError: opening it would run somebody's own code, or read other files, because the file says so.
    """
    header = read_network_header(path)
    built = header["built"]
    what, options = str(built["what"]), dict(built["options"])
    if what.partition(":")[0] not in LIBRARY_SOURCES:
        own = Path(what).name if ".py:" in what else what
        raise SpecimenError(
            f"The network in '{path}' was made by {what}, which is code of its own; a file cannot have it run. Name it yourself, "
            "with the file as its weights: " + hint(f"{own} --weights {path}", f"mt.open('{own}', weights='{path}')")
        )
    if refused := [name for name in options if name in REFUSED_OPTIONS]:
        raise SpecimenError(
            f"'{path}' wants its network built with {refused[0]}={options[refused[0]]!r}, which a file cannot have."
        )
    return {"what": what, "options": options, "recipe": built.get("recipe", header["recipe"])}


def reopen_specimen(
    path: str | Path, base: Specimen, weights: str | Path | None = "pretrained", state: str | None = None
) -> Specimen:
    """The specimen that a file holds: the edits made again on `base`, its untrained architecture, and the weights loaded.

    `weights` None leaves the edited architecture untrained, a file loads that instead. Raises CheckpointError where they do not fit.
    """
    header = read_network_header(path)
    specimen = rebuild(base, header["built"].get("edits", []))
    changes = tuple(_read_change(record) for record in header["edits"])
    lines = [f"Edited: {change.line}" for change in changes]
    specimen = replace(
        specimen,
        edits=changes,
        output=header.get("output"),
        name=str(header["name"]),
        recipe=Recipe.of(header["recipe"]),
        remarks=(*specimen.remarks, *lines),
    )
    if weights is None:
        return specimen
    own = str(weights) == "pretrained"
    net = _fill_network(specimen.net, path if own else weights, specimen.name, state)
    facts = replace(
        specimen,
        net=net,
        weights=header["weights"] if own else f"file {Path(weights).name}",
        trained=header["trained"] if own else True,
        remarks=tuple(header["remarks"]),
        names=given_labels(header["names"][0]) if header["names"] else None,
        given_family=(header["family"][0], str(header["family"][1])),
    )
    if facts.names is not None and header["names"][1]:
        facts = replace(facts, names=(facts.names[0], tuple(header["names"][1])))
    return facts


def _fill_network(net: nn.Module, path: str | Path, name: str, state: str | None) -> nn.Module:
    """The network with the tensors of a file, every one of which has to fit."""
    match = state_choice.choose_state(checkpoints.read_file(path), net, str(path), state).fit
    if match.missing or match.unexpected or match.reshaped:
        raise CheckpointError(match.complaint(str(path), name))
    net.load_state_dict(match.state)
    return net.eval()


def _read_change(record: dict[str, Any]) -> Change:
    before, after = record["parameters"]
    fewer, more = record["multiply_adds"]
    return Change(record["edit"], record["options"], record["line"], record["preserves"], (before, after), (fewer, more))
