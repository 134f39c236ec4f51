"""Parameter groups for an optimiser: which parameters get weight decay, decided by the effect of scaling them."""

import copy
from collections.abc import Collection
from fnmatch import fnmatchcase
from typing import Any, Literal, cast

from torch import nn

from microtome.errors import BadOption, SpecimenError, did_you_mean
from microtome.instruments.norm_roles import Role, norm_roles
from microtome.instruments.scale_invariance import scale_invariance
from microtome.opening.opening import open as open_specimen
from microtome.specimen import Specimen

Policy = Literal["invariance", "timm", "all"]
POLICIES: tuple[Policy, ...] = ("invariance", "timm", "all")
DECAYED_ROLES: frozenset[Role] = frozenset(("internal", "branch end"))


def param_groups(
    net: nn.Module | Specimen,
    weight_decay: float = 1e-5,
    policy: Policy = "invariance",
    no_weight_decay_list: Collection[str] = (),
    *,
    recipe: Any = None,
) -> list[dict[str, Any]]:
    """Groups for an optimiser, without and with weight decay, as timm's `param_groups_weight_decay` gives them (no empty ones).

    "timm": everything with at most one axis, every bias, and what the network or `no_weight_decay_list` names (globs) is not decayed.
    "all": only what is named is not. "invariance": as "timm", but norm scales are decayed at the end of residual branches (towards
    identity), and, together with their shifts, where scaling both changes no output (only the effective learning rate); not on
    shortcuts, nor where they scale a stream or the logits. The classes are told by a gradient at random weights, in a copy
    (`recipe` says which input it is fed, as in `microtome.open`; without it what the network declares: timm's image size, its channels).

    Source: after Kim et al. 2024, arXiv:2205.07260, whose guidelines' wording was not at hand: classes and advice are ours.

    Raises:
        BadOption: another policy. SpecimenError: the network does not run on its recipe's input.
    """
    if policy not in POLICIES:
        raise BadOption(f"param_groups: there is no policy '{policy}'.{did_you_mean(policy, POLICIES)}")
    module = net.net if isinstance(net, Specimen) else net
    more = _decayed_norms(net, recipe) if policy == "invariance" else frozenset[str]()
    named: Any = getattr(module, "no_weight_decay", tuple)
    spared = {*no_weight_decay_list, *named()}
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        simple = (parameter.ndim <= 1 or name.endswith(".bias")) and policy != "all" and name not in more
        (plain if simple or any(fnmatchcase(name, pattern) for pattern in spared) or not weight_decay else decayed).append(
            parameter
        )
    groups = [{"params": plain, "weight_decay": 0.0}, {"params": decayed, "weight_decay": weight_decay}]
    return [group for group in groups if group["params"]]


def _decayed_norms(net: nn.Module | Specimen, recipe: Any) -> frozenset[str]:
    """The names of scales and shifts of norms that decay is for."""
    roles = _network_roles(net, recipe)
    scales = {f"{path}.weight" for path, role in roles.items() if role in DECAYED_ROLES}
    return frozenset(scales | {f"{path}.bias" for path, role in roles.items() if role == "internal"})


def _network_roles(net: nn.Module | Specimen, recipe: Any) -> dict[str, Role]:
    """The role of each norm; raises SpecimenError that names the input that was tried and how to give another."""
    specimen = net if isinstance(net, Specimen) else open_specimen(copy.deepcopy(net), recipe=recipe or _declared_input(net))
    try:
        return norm_roles(specimen, scale_invariance(specimen.net, specimen.recipe))
    except SpecimenError as error:
        rows, cols = specimen.recipe.size
        raise SpecimenError(
            f"param_groups: the policy 'invariance' runs a copy of the network once, and it did not run on an image of {rows} x {cols} px "
            f"with {specimen.recipe.channels} channels. Say what it takes, as in param_groups(net, 0.05, recipe={{'size': 64, "
            f"'channels': 3}}); or take policy='timm', which runs nothing. ({error})"
        ) from error


def _declared_input(net: nn.Module) -> dict[str, Any] | None:
    """The input that a network built for one size declares (timm's patch embeddings, torchvision's ViT), and its channels."""
    embedding: Any = getattr(net, "patch_embed", None)
    size: Any = getattr(embedding, "img_size", None) or getattr(net, "image_size", None)
    first = next((part for part in net.modules() if isinstance(part, nn.Conv2d)), None)
    declared: dict[str, Any] = {}
    if isinstance(size, int) or (isinstance(size, tuple) and len(cast(tuple[Any, ...], size)) == 2):
        declared["size"] = size
    if first is not None and first.groups == 1:
        declared["channels"] = first.in_channels
    return declared or None
