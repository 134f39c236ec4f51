"""Which channels and heads of a specimen a pruning keeps: chosen step by step on a copy, which is tried before the choice is given.

In a network without attention every group of channels is narrowed by the same fraction. In a network with attention the residual stream
keeps its width: whole heads are removed, and hidden units that one layer gives and the next reads. There, the narrow network must answer as
the wide one whose removed weights are zero, which is tried on noise.

Source: groups and importance, Fang et al. 2023, arXiv:2301.12900, computed by Torch-Pruning; Taylor, Molchanov et al. 2019,
arXiv:1906.10771; scale of batch norms, Liu et al. 2017, arXiv:1708.06519.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from microtome.errors import Uneditable
from microtome.instruments.attention import all_attention_paths
from microtome.instruments.pruning.dependencies import ChannelGroup, ChannelPruner, Criterion, channel_groups, replay
from microtome.instruments.pruning.heads import Heads, find_heads, head_tensors, keep_heads, set_head_numbers
from microtome.instruments.pruning.widths import Widths, fill_with_indices, widths_between
from microtome.specimen import Specimen
from microtome.specimen.calibration import estimate_statistics
from microtome.specimen.copying import copy_network
from microtome.specimen.outputs import first_tensor
from microtome.specimen.tracing import example_input

TOLERANCE = 1e-3  # of the spread of the outputs, between the narrow network and the wide one with zeros


@dataclass(frozen=True)
class PruningPlan:
    """How to choose: the fraction of channels to remove, by what, in how many steps, and whether heads and hidden units are removed.

    `batches` are inputs on which the statistics of norms are estimated after each step, and `targets` the right outputs for Taylor.
    """

    ratio: float
    criterion: Criterion = "magnitude"
    steps: int = 1
    heads: bool = True
    hidden: bool = True
    batches: tuple[Tensor, ...] = ()
    targets: Tensor | None = None


def choose_widths(specimen: Specimen, plan: PruningPlan) -> Widths:
    """What a pruned network keeps of the specimen's, which is not changed.

    Raises:
        Uneditable: nothing can be removed, or what is left does not run or gives outputs of another shape.
        MissingExtra: Torch-Pruning is not installed.
    """
    reasons: list[str] = []
    for wide in (False, True):
        trial = _Trial(specimen, plan, wide)
        try:
            widths = trial.run()
        except Uneditable as error:
            reasons.append(str(error))
            if not trial.heads:
                break
        else:
            return widths
    raise Uneditable(reasons[0])


_KeptHeads = tuple[
    dict[str, tuple[int, int]], tuple[int, ...]
]  # the tensors cut along heads, and the heads kept, in order of removal


@dataclass
class _Trial:
    """One pruning of a copy; `wide` says how many numbers of attention modules are changed."""

    specimen: Specimen
    plan: PruningPlan
    wide: bool
    heads: list[Heads] = field(default_factory=list[Heads])
    kept_heads: list[_KeptHeads] = field(default_factory=list[_KeptHeads])

    def run(self) -> Widths:
        """The widths that are left."""
        specimen, plan = self.specimen, self.plan
        original = _plain_copy(specimen)
        x = example_input(original, specimen.recipe)
        groups = channel_groups(original, x, [])
        attention = all_attention_paths(specimen)
        attentive = bool(attention)
        all_heads = find_heads(original, groups, attention)
        self.heads = all_heads if plan.heads else []
        protected = self._protected(groups, all_heads, attentive)
        net = _plain_copy(specimen)
        pruner = ChannelPruner(net, x, plan.ratio, plan.criterion, plan.steps, protected, _outside(net, all_heads))
        for step in range(1, plan.steps + 1):
            if plan.criterion == "taylor":
                _set_gradients(specimen, net, plan)
            pruner.step()
            for heads in self.heads:
                self._prune_heads(net, pruner, heads, plan.ratio * step / plan.steps)
            if step < plan.steps and plan.batches:
                _try(net, lambda: estimate_statistics(net, plan.batches))
        widths = self._widths(original, net, x, pruner.history, all_heads)
        if not widths.tensors:
            raise Uneditable(_nothing_text(plan, attentive))
        _check(specimen, original, widths, x, exact=attentive)
        return widths

    def _protected(self, groups: Sequence[ChannelGroup], all_heads: Sequence[Heads], attentive: bool) -> list[str]:
        """The layers whose outputs keep their number: the head, and with attention all but hidden units."""
        head = self.specimen.head or _last_layer(self.specimen)
        protected = {head} if head else set[str]()
        if not attentive:
            return sorted(protected)
        attention = {path for heads in all_heads for path in heads.givers}
        inside = tuple(f"{path}." for path in all_attention_paths(self.specimen))
        for group in groups:
            hidden = group.plain and len(group.producers) == 1 and not group.producers[0].startswith(inside)
            if not (self.plan.hidden and hidden and group.readers) or attention & set(group.producers):
                protected |= set(group.producers)
        return sorted(protected)

    def _prune_heads(self, net: nn.Module, pruner: ChannelPruner, heads: Heads, ratio: float) -> None:
        """Remove the least important heads of one attention module, until `ratio` of them are gone."""
        reader = net.get_submodule(heads.reader)
        assert isinstance(reader, nn.Linear)
        original = self.specimen.net.get_submodule(heads.reader)
        units = int(original.in_features)  # type: ignore[arg-type]
        now = reader.in_features * heads.count // units
        gone = now - max(1, round(heads.count * (1 - ratio)))
        if gone <= 0:
            return
        if (scores := pruner.head_importance(heads.reader, now)) is None:
            return
        order = torch.argsort(scores, stable=True).tolist()
        pruner.remove_heads(heads.reader, now, order[:gone])
        kept = tuple(sorted(order[gone:]))
        current = Heads(heads.path, now, heads.givers, heads.reader)
        width = units // heads.count * now
        tensors = head_tensors(net, current, width)
        keep_heads(net, tensors, kept)
        self.kept_heads.append((tensors, kept))
        set_head_numbers(net, current, now - gone, width, self.wide)

    def _widths(
        self, original: nn.Module, net: nn.Module, x: Tensor, history: Sequence[object], all_heads: Sequence[Heads]
    ) -> Widths:
        """What is left of the original, read off a copy in which every entry is its own index."""
        indices = _plain_copy(self.specimen)
        replay(indices, x, history, _outside(indices, all_heads), lambda: fill_with_indices(indices))
        for tensors, kept in self.kept_heads:
            keep_heads(indices, tensors, kept)
        return widths_between(original, indices, net)


def _plain_copy(specimen: Specimen) -> nn.Module:
    """A copy of the network on the CPU, in float32, whose parameters all want gradients."""
    return copy_network(specimen.net).to("cpu").float().eval().requires_grad_(True)


def _outside(net: nn.Module, heads: Sequence[Heads]) -> list[Tensor]:
    """Parameters of attention modules outside their layers, which are cut along their heads, not by Torch-Pruning."""
    parameters = dict(net.named_parameters())
    layers = [(each, net.get_submodule(each.reader)) for each in heads]
    paths = [path for each, layer in layers for path in head_tensors(net, each, int(layer.in_features))]  # type: ignore[arg-type]
    return [parameters[path] for path in paths if path in parameters]


def _last_layer(specimen: Specimen) -> str:
    calls = [call for call in specimen.anatomy.trace.calls if isinstance(call.module, nn.Conv2d | nn.Linear)]
    return calls[-1].path if calls else ""


def _set_gradients(specimen: Specimen, net: nn.Module, plan: PruningPlan) -> None:
    """Give every parameter of `net` the gradient of the loss over all images."""
    assert plan.targets is not None
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    start = 0
    with torch.inference_mode(False), torch.enable_grad():
        for x in plan.batches:
            scores = specimen.class_scores(specimen.pick(net(x)))
            loss = nn.functional.cross_entropy(scores, plan.targets[start : start + len(x)], reduction="sum")
            loss.backward()
            start += len(x)


def _try(net: nn.Module, run: object) -> object:
    """What `run()` gives. Raises Uneditable where the network does not fit together any more."""
    try:
        return run()  # type: ignore[operator]
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:  # whatever its own code raises
        lines = str(error).strip().splitlines()
        reason = lines[0][:160].rstrip(".") if lines else type(error).__name__
        raise Uneditable(f"the narrower network does not run ({type(net).__name__}: {reason})") from error


def _check(specimen: Specimen, original: nn.Module, widths: Widths, x: Tensor, exact: bool) -> None:
    """Raises Uneditable where the narrow network does not run, or with `exact` answers otherwise than the wide one with zeros."""
    narrow, masked = _plain_copy(specimen), _plain_copy(specimen)
    widths.apply(narrow)
    widths.mask(masked)
    with torch.no_grad():
        given = first_tensor(_try(narrow, lambda: narrow(x)))
        wanted, before = first_tensor(masked(x)), first_tensor(original(x))
    assert wanted is not None and before is not None
    if given is None or given.shape != before.shape:
        shape = "nothing" if given is None else "×".join(map(str, given.shape[1:]))
        raise Uneditable(f"its output would have another shape ({shape} instead of {'×'.join(map(str, before.shape[1:]))})")
    spread = max(float(before.std()), float(wanted.abs().max()))
    if exact and not float((given - wanted).abs().max()) <= TOLERANCE * spread:
        raise Uneditable(
            "the narrower network does not compute what its remaining heads and units computed; its code holds numbers that "
            "could not be found; take heads=false"
        )


def _nothing_text(plan: PruningPlan, attentive: bool) -> str:
    if plan.criterion == "bn_scale":
        return "none of its channels has the scale of a batch norm; take criterion=magnitude"
    part = "heads or hidden units" if attentive else "channels"
    return f"a ratio of {plan.ratio:g} removes none of its {part}; take a larger one"
