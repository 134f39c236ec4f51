"""MT4xx: positions, patch embeddings and gates. Measured on noise and flat colours."""

from typing import cast

import torch
from torch import Tensor, nn

from microtome.analyses.audit.rule import Fault, Rule, Subject
from microtome.errors import SpecimenError
from microtome.instruments.gates import find_gates
from microtome.key_numbers import FRACTION, format_value
from microtome.prose import name_list
from microtome.specimen import Specimen, watch
from microtome.specimen.noise_images import noise_images, to_network
from microtome.specimen.tracing import Call

FACTORS = (0.25, 1.0, 4.0)  # contrast, as factors on the normalised input
PROBE_IMAGES = 8  # of noise and flat colour
SATURATION_MARGIN = 1e-3  # from an end: the slope of a sigmoid is at most that there
PREFIX = 8  # class and register tokens at most


def check_colour_scale(subject: Subject) -> Fault | None:
    """A learnt position added to patches whose size follows the contrast: its fraction of the tokens' power follows it too."""
    embedding = _find_embedding(subject)
    if embedding is None:
        return None
    conv, path, position = embedding
    powers = [_scaled_output(subject.specimen, path, factor).double() for factor in FACTORS]
    gap = float((powers[2] - powers[1]).norm() / powers[1].norm())
    still = float(position.double().square().mean())
    if gap < 1e-3 or still == 0:
        return None
    shares = [still / (still + float(power.square().mean())) for power in powers]
    fractions = " / ".join(format_value(share, FRACTION) for share in shares)
    cure = _embedding_fix(subject.specimen, conv)
    return Fault(
        (path,),
        f"the position's fraction of the tokens' power at contrast 0.25 / 1 / 4 is {fractions} on noise; the embedding changes by "
        f"{format_value(gap, FRACTION)} when contrast is multiplied by 4",
        fix=cure[0],
        edit=cure[1],
    )


def _embedding_fix(specimen: Specimen, path: str) -> tuple[str, str]:
    """What mends the embedding by the convolution at `path`: words where they differ from the rule's, and the edit where one fits."""
    conv = cast(nn.Conv2d, specimen.net.get_submodule(path))
    parent = specimen.net.get_submodule(path.rpartition(".")[0])
    if parent is not specimen.net and any(isinstance(part, nn.LayerNorm) for part in parent.children()):
        return f"The embedded patches are normalised, but {path} has a bias, which spoils it: build it with bias=False.", ""
    apart = conv.kernel_size == conv.stride and not any(conv.padding) and conv.groups == 1 and set(conv.dilation) == {1}
    return "", "prelayernorm" if apart else ""


def check_stuck_gates(subject: Subject) -> Fault | str | None:
    """Gates that are the same, to the last bit, for images that have nothing in common."""
    values = _gate_values(subject)
    if isinstance(values, str):
        return values
    stuck = {name: count for name, gate in values.items() if (count := int(_constant_gates(gate).sum()))}
    if not stuck:
        return None
    return Fault(
        tuple(stuck),
        f"{sum(stuck.values())} of {_product(values)} gates without a change over {PROBE_IMAGES} images of noise and flat colour, "
        f"in {name_list(list(stuck))}",
    )


def check_saturated_gates(subject: Subject) -> Fault | str | None:
    """Gates between 0 and 1 that move, but stay at one end for images that have nothing in common."""
    values = _gate_values(subject)
    if isinstance(values, str):
        return values
    values = {name: gate for name, gate in values.items() if bool(((gate >= 0) & (gate <= 1)).all())}
    shut = {name: int(((gate.amax(0) < SATURATION_MARGIN) & ~_constant_gates(gate)).sum()) for name, gate in values.items()}
    open_ = {
        name: int(((gate.amin(0) > 1 - SATURATION_MARGIN) & ~_constant_gates(gate)).sum()) for name, gate in values.items()
    }
    hit = [name for name in values if shut[name] + open_[name]]
    if not hit:
        return None
    return Fault(
        tuple(hit),
        f"{sum(shut.values())} of {_product(values)} gates always below {SATURATION_MARGIN} and {sum(open_.values())} always above "
        f"{1 - SATURATION_MARGIN} for {PROBE_IMAGES} images of noise and flat colour, in {name_list(hit)}",
    )


def _gate_values(subject: Subject) -> dict[str, Tensor] | str:
    """The gates (image, unit) of images that have nothing in common, by name; or why they cannot be told."""
    specimen = subject.specimen
    if specimen.trained is False:
        return "the weights are untrained, and branches that begin at zero hold their gates still"
    try:
        gates, _ = find_gates(specimen)
    except SpecimenError as error:
        return str(error)
    values: dict[str, Tensor] = {}

    def look(name: str, value: Tensor) -> None:
        for gate in gates:
            if gate.watch == name:
                values[gate.name] = gate.values(value.detach().clone()).double()

    if gates:
        with torch.no_grad(), watch(specimen, list(dict.fromkeys(gate.watch for gate in gates)), each=look):
            specimen.net(_contrast_images(specimen))
    return {name: gate for name, gate in values.items() if gate.ndim == 2}


def _constant_gates(values: Tensor) -> Tensor:
    """Which gates (unit) give one number for all images."""
    return (values == values[:1]).all(0)


def _product(values: dict[str, Tensor]) -> int:
    return sum(gate.shape[1] for gate in values.values())


def _contrast_images(specimen: Specimen) -> Tensor:
    """Noise of four strengths and four flat colours."""
    generator = torch.Generator().manual_seed(2)
    shape = (specimen.recipe.channels, *specimen.recipe.size)
    rough = [factor * torch.randn(shape, generator=generator) for factor in (0.25, 0.5, 1.0, 2.0)]
    flat = [torch.randn((shape[0], 1, 1), generator=generator).expand(shape) for _ in range(4)]
    return to_network(specimen.net, torch.stack([*rough, *flat]))


def _find_embedding(subject: Subject) -> tuple[str, str, Tensor] | None:
    """The convolution that cuts patches, the module that gives them, and the learnt positions of equal shape that are added to them.

    None where there are none.
    """
    conv = next((call for call in subject.leaves if isinstance(call.module, nn.Conv2d) and len(call.outputs[0]) == 4), None)
    if conv is None:
        return None
    for call in (call for call in subject.calls if isinstance(call.module, nn.Conv2d) and len(call.outputs[0]) == 4):
        _, units, rows, cols = call.outputs[0]
        for parameter in subject.specimen.net.parameters():
            shape = tuple(parameter.shape)
            if (
                len(shape) == 3
                and shape[0] == 1
                and shape[2] == units
                and 0 <= shape[1] - rows * cols <= PREFIX
                and rows * cols > 1
            ):
                position = parameter.detach()[0, shape[1] - rows * cols :]
                return call.path, _outermost_module(subject.calls, call, rows * cols, units), position
    return None


def _outermost_module(calls: list[Call], conv: Call, cells: int, units: int) -> str:
    """The largest module around the convolution that still gives patches of the same shape."""
    around = [
        call.path
        for call in calls
        if conv.path.startswith(f"{call.path}.")
        and len(call.outputs) == 1
        and call.outputs[0][0] == conv.outputs[0][0]
        and call.outputs[0][1:] in ((cells, units), (*conv.outputs[0][2:], units), conv.outputs[0][1:])
    ]
    return min(around, key=len, default=conv.path)


def _scaled_output(specimen: Specimen, path: str, factor: float) -> Tensor:
    kept: list[Tensor] = []

    def look(_name: str, value: Tensor) -> None:
        kept.append(value.detach().clone())

    with torch.no_grad(), watch(specimen, specimen.layer(path).name, each=look):
        specimen.net(factor * noise_images(specimen.net, specimen.recipe, 4, seed=3))
    return kept[0]


RULES = (
    Rule(
        id="MT401",
        title="Patch embedding that follows the colour scale",
        severity="note",
        check=check_colour_scale,
        reason=(
            "Positions are added to embedded patches whose size is that of the contrast: strong contrast drowns "
            "them, weak contrast leaves little else."
        ),
        source="Kim et al. 2023, arXiv:2111.08413; the fraction of power is our measure.",
        cost="Another function: it has to be trained.",
        fix=(
            "Normalise the embedded patches before positions are added, with a projection without bias: the edit prelayernorm, then "
            "train (timm: embed_norm_layer, whose projection keeps its bias)."
        ),
    ),
    Rule(
        id="MT402",
        title="Gates that are stuck",
        severity="warning",
        check=check_stuck_gates,
        reason="A gate that does not depend on the image is a constant factor; its weights and its time are wasted.",
        source="Hu et al. 2018, arXiv:1709.01507v4, section 7.2, see such gates in the last stage; the test is ours.",
        cost="None for gates that are stuck on all images.",
        fix="Fold the factor into the next weights and remove the gate; `microtome excitation` measures it on real images.",
    ),
    Rule(
        id="MT403",
        title="Gates that are saturated",
        severity="note",
        check=check_saturated_gates,
        reason="At the end of a sigmoid hardly any gradient passes: a gate that is there for all images is a factor of 0 or 1.",
        source="Hu et al. 2018, arXiv:1709.01507v4, section 7.2, see the last stage's gates near 1; threshold and test are ours.",
        cost="Little: answers change by about a thousandth of these units.",
        fix="See whether real images move them (`microtome excitation`); if not, leave the gate out there, or train it less hard.",
    ),
)
