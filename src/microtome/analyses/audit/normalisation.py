"""MT2xx: normalisation. Told by the scale-invariance test, not by names."""

from math import log

from torch import nn

from microtome.analyses.audit.gains import gain_curves, regroup_edit
from microtome.analyses.audit.rule import Fault, Rule, Subject
from microtome.instruments.norm_roles import ROLES, norm_roles
from microtome.key_numbers import format_value
from microtome.prose import name_list, plural

MIN_GAIN_IMPROVEMENT = 1.1  # by what ratio another number of groups has to be nearer to a gain of 1


def check_idle_biases(subject: Subject) -> Fault | str | None:
    """Biases that a norm, or a softmax over keys, takes out again."""
    invariance = subject.invariance
    if isinstance(invariance, str):
        return invariance
    if not invariance.biases:
        return None
    net = subject.specimen.net
    count = sum(_bias_size(net.get_submodule(path)) for path in invariance.biases)
    amount = f"{plural(count, 'bias value')} of {plural(len(invariance.biases), 'layer')}"
    return Fault(invariance.biases, f"{amount} without an effect on any output: {name_list(invariance.biases)}")


def check_decayed_scales(subject: Subject) -> Fault | str | None:
    """Norm scales for which one weight decay for all is wrong: some pull a branch towards identity, some a shortcut to zero."""
    invariance = subject.invariance
    if isinstance(invariance, str):
        return invariance
    roles = norm_roles(subject.specimen, invariance)
    counts = {role: sum(other == role for other in roles.values()) for role in ROLES}
    if not counts["branch end"] or not counts["shortcut"] + counts["free"]:
        return None
    against = tuple(path for path, role in roles.items() if role in ("shortcut", "free"))
    return Fault(
        against,
        f"of {plural(len(roles), 'norm')} {counts['internal']} are internal (decay changes no function), "
        f"{counts['branch end']} end a branch "
        f"(decay draws the block towards identity), {counts['shortcut']} lie on a shortcut and {counts['free']} scale the stream, the "
        "logits or the input of an activation that is no plain rectifier",
    )


def check_few_channels(subject: Subject) -> Fault | None:
    """Group norms whose groups hold so few values that they say little or nothing."""
    void: list[str] = []
    steep: dict[str, float] = {}
    for call in subject.calls:
        if not isinstance(call.module, nn.GroupNorm) or call.index or not call.inputs:
            continue
        shape = call.inputs[0]
        group = shape[1] // call.module.num_groups
        cells = 1
        for side in shape[2:]:
            cells *= side
        if group * cells <= 2:
            void.append(call.path)
        elif cells == 1 and group < 8:
            steep[call.path] = float("inf") if group <= 3 else (group - 2) / (group - 3)
    if not void and not steep:
        return None
    evidence: list[str] = []
    if void:
        evidence.append(
            f"{plural(len(void), 'group norm sees', 'group norms see')} one or two values a group, so that nothing or only a sign "
            f"is left: {name_list(void)}"
        )
    if steep:
        path, gain = next(iter(steep.items()))
        grows = "without bound" if gain == float("inf") else f"{format_value(gain)} times"
        evidence.append(f"{plural(len(steep), 'sees', 'see')} fewer than eight: {path} multiplies the gradient's power {grows}")
    return Fault((*void, *steep), "; ".join(evidence), severity="error" if void else "warning")


def check_uneven_gradient(subject: Subject) -> Fault | str | None:
    """Group norms for which another number of groups keeps the gradient's size better."""
    curves, others = gain_curves(subject.specimen)
    if others and not curves:
        return f"no group norm reads a layer's output ({name_list(others)}): the gain is that of a layer, its norm and its activation"
    hit = [curve for curve in curves if curve.gap > log(MIN_GAIN_IMPROVEMENT)]
    if not hit:
        return None
    worst = max(hit, key=lambda curve: curve.gap)
    more = plural(len(others), "more reads", "more read")
    left = (
        f"; {more} no layer's output but a sum, a norm or the like, so there is no gain of a layer and no edit"
        if others
        else ""
    )
    return Fault(
        tuple(curve.layer for curve in hit),
        f"{len(hit)} of {len(curves)} group norms that follow a layer could be nearer to a gain of 1, on noise; most, {worst.layer}: "
        f"the gradient's power is multiplied by {format_value(worst.gains[worst.now])} with {_groups_text(worst.now)}, with "
        f"{_groups_text(worst.best)} by "
        f"{format_value(worst.gains[worst.best])}{left}",
        edit=regroup_edit(hit),
        gains=tuple(hit),
    )


def _groups_text(count: int) -> str:
    return plural(count, "group")


def _bias_size(module: nn.Module) -> int:
    bias = getattr(module, "bias", None)
    return bias.numel() if isinstance(bias, nn.Parameter) else 0


RULES = (
    Rule(
        id="MT201",
        title="Biases that do nothing",
        severity="note",
        check=check_idle_biases,
        reason=(
            "What follows subtracts a mean that holds the bias (or is a softmax over keys), so it never "
            "reaches the output; it only costs memory and is blown about by the optimiser."
        ),
        source="Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.2; found by the gradient at random weights, ours.",
        cost="None: the function in training stays; in evaluation fold it into the running mean.",
        fix="Build these layers with bias=False.",
    ),
    Rule(
        id="MT202",
        title="One weight decay for all norm scales",
        severity="note",
        check=check_decayed_scales,
        reason=(
            "Decay on the scale at a branch's end regularises the block towards identity; on a shortcut or on the "
            "stream it does the opposite, and on internal scales it only changes the effective learning rate."
        ),
        source="After Kim et al. 2024, arXiv:2205.07260; the classes by invariance and the advice on each are ours.",
        cost="A training setting.",
        fix="optimizer = AdamW(microtome.param_groups(net, weight_decay))",
    ),
    Rule(
        id="MT203",
        title="Group norms with too few values",
        severity="warning",
        check=check_few_channels,
        reason=(
            "On single positions the backward pass of a group of c values multiplies the gradient's power by (c − 2) / "
            "(c − 3): it diverges at three; a group of one gives zero."
        ),
        source="Our closed form, checked by simulation; not the formula of Kim et al. 2023, arXiv:2302.03193.",
        cost="Training.",
        fix="Fewer groups: at least eight values in each.",
    ),
    Rule(
        id="MT204",
        title="Groups that change the gradient's size",
        severity="note",
        check=check_uneven_gradient,
        reason=(
            "Through a layer, group norm and activation the gradient's power is multiplied by a gain that grows with the number of "
            "groups, and over many layers by its power. Few groups keep its size, many keep spatial detail: a trade, not a law."
        ),
        source=(
            "Our gradient-isometry advisor: the gain measured for every number of groups, and our closed form; that the number of "
            "groups decides it is of Kim et al. 2023, arXiv:2302.03193, whose formula this is not."
        ),
        cost="Another function: it has to be trained.",
        fix=(
            "Give these layers the number of groups with the gain nearest to 1: the edit group_norm, with a number for each layer; "
            "then audit again, for later layers get something else."
        ),
    ),
)
