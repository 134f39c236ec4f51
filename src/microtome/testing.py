"""The suites that every analysis and every edit must pass; published, so that other packages can be held to the same law.

    from microtome import testing
    def test_my_analysis(tmp_path): testing.check(MyAnalysis(), specimen, images, tmp_path)

It checks that the specimen is untouched, that two runs agree to the bit, that a run killed in the middle and resumed agrees to the
bit with one that was not, that shards merge to the whole, that the finding survives saving and loading, that every panel draws,
and that the line is a sentence with a number in it.

`check_edit` holds an edit to its own: see there.
"""

import copy
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from microtome.analysis import Analysis, AnyCensus, Arrays, Census, Collation, Measurement, discard_tally, survey_keys
from microtome.edit import Edit
from microtome.finding import Finding
from microtome.images import Images
from microtome.instruments.untrained_twins import untrained_twins
from microtome.numerics.graph.dispatching import slow_attention
from microtome.opening.opening import open as open_specimen
from microtome.panels import panel_from_json, panel_to_json
from microtome.scan import Pace, Step
from microtome.specimen import Specimen

MAX_WORDS = 20  # of a headline
COUNT = re.compile(r"\d|\b(?:no|none|only)\b", re.IGNORECASE)  # a number, or a count in words
# "none of", "the only" and "all" are written in words, see `prose.count_of`
STIFF_COUNT = re.compile(
    r"(?<![\d.,])0 of (?:these\b|(?:the )?\d)|(?<![\d.,])1 of (?:the )?1\b(?![.,]\d)|\b[Aa]ll 1\b(?![.,]\d)"
)
NEGATIVE_ZERO = re.compile(r"(?<![\w.])-0(\.0+)?(?!\.?\d)")  # -0.004 is a value of its own


class BrokenContract(AssertionError):
    """An analysis broke a law that every analysis keeps."""


class _Killed(Exception):  # not an error of ours: it stands for the end of the process
    """Stands for a kill -9 in the middle of a scan."""


def check(analysis: Analysis, specimen: Specimen, images: Images | None, folder: Path) -> Finding:
    """The finding, after every law was checked on it.

    Raises:
        Unlawful: a law is broken; the message says which and how.
    """
    if isinstance(analysis, Collation):
        raise BrokenContract("a collation reads findings; check it with `check_finding` on what `of` gives.")
    before = fingerprint(specimen.net)
    finding = analysis(specimen, images)
    if fingerprint(specimen.net) != before:
        raise BrokenContract(f"{analysis.name()} changed the specimen: {_changes(before, fingerprint(specimen.net))}")
    if analysis.reproducible:
        again = analysis(specimen, images)
        check_equal(finding.arrays, again.arrays, f"{analysis.name()}: a second run")
        if finding.facts != again.facts:
            raise BrokenContract(f"{analysis.name()}: a second run states other facts: {again.facts}, not {finding.facts}.")
    check_finding(finding, folder / "finding")
    if images is not None and analysis.needs != "weights" and analysis.reproducible:
        check_equal(finding.arrays, _resumed(analysis, specimen, images, folder / "kept"), f"{analysis.name()}: a resumed run")
    return finding


def check_finding(finding: Finding, folder: Path) -> None:
    """Saving, loading, panels, line.

    Raises:
        Unlawful: one of them does not hold.
    """
    loaded = Finding.load(finding.save(folder))
    check_equal(finding.arrays, loaded.arrays, f"{finding.analysis}: what was saved and loaded")
    again = (folder / "arrays.safetensors").read_bytes()
    finding.save(folder)
    if (folder / "arrays.safetensors").read_bytes() != again:
        raise BrokenContract(f"{finding.analysis}: the same arrays were saved as different bytes.")
    for panel in finding.panels:
        if panel_from_json(panel_to_json(panel)) != panel:
            raise BrokenContract(f"{finding.analysis}: panel '{panel.title}' does not survive being written down.")
    if not finding.panels:
        raise BrokenContract(f"{finding.analysis} shows nothing: it has no panel.")
    for title, figure in loaded.figures().items():
        if not figure.axes:
            raise BrokenContract(f"{finding.analysis}: panel '{title}' draws nothing.")
    if finding.key_numbers != loaded.key_numbers and str(finding.key_numbers) != str(loaded.key_numbers):
        raise BrokenContract(f"{finding.analysis}: key numbers do not survive saving.")
    if not 2 <= len(finding.key_numbers) <= 6 or len({number.name for number in finding.key_numbers}) < len(
        finding.key_numbers
    ):
        raise BrokenContract(
            f"{finding.analysis} has {len(finding.key_numbers)} key numbers; it takes 2 to 6, each with its own name."
        )
    if (words := len(finding.headline.split())) > MAX_WORDS:
        raise BrokenContract(f"{finding.analysis}: the headline has {words} words, more than {MAX_WORDS}: {finding.headline!r}")
    if NEGATIVE_ZERO.search(finding.headline):
        raise BrokenContract(f"{finding.analysis}: the headline shows a negative zero: {finding.headline!r}")
    if stiff := STIFF_COUNT.search(finding.headline):
        raise BrokenContract(
            f"{finding.analysis}: the headline says '{stiff.group()}'; write it in words (microtome.prose.count_of): "
            f"{finding.headline!r}"
        )
    if not COUNT.search(finding.headline) or not finding.headline.rstrip().endswith((".", "?")):
        raise BrokenContract(f"{finding.analysis}: the headline is no sentence with a number: {finding.headline!r}")
    if re.search(r"\bnan\b", finding.headline, re.IGNORECASE):
        raise BrokenContract(f"{finding.analysis}: the headline shows a value that is not a number: {finding.headline!r}")
    if not finding.source or not finding.summary:
        raise BrokenContract(f"{finding.analysis}: its docstring has no summary or no Source.")


def merge_shards(census: AnyCensus, specimen: Specimen, images: Images, parts: int = 2, pace: Pace | None = None) -> Arrays:
    """The census' arrays from tallies of `parts` shards, merged."""
    from microtome.analysis import collect_tallies

    pace = pace or Pace(batch=8, device="cpu")
    worker = specimen.on("cpu")
    whole = None
    for part in range(parts):
        tally = collect_tallies(worker, images, [census], replace(pace, shard=(part, parts)), "shard")[census.name()]
        if whole is None:
            whole = tally
        else:
            whole.merge(tally)
    assert whole is not None
    null_twins = list(untrained_twins(worker, images)) if census.with_twin else []
    twins = [collect_tallies(twin, images, [census], pace, "twin")[census.name()] for twin in null_twins]
    return _arrays(census.to_arrays(worker, images, whole, twins))


def _arrays(measured: Arrays | Measurement) -> Arrays:
    return measured.arrays if isinstance(measured, Measurement) else measured


def _resumed(analysis: Analysis, specimen: Specimen, images: Images, keep: Path) -> Arrays:
    """The arrays of a run that is killed after its second batch and started again, with the same batches as an unkilled one."""
    seen = 0

    def kill(step: Step) -> None:
        nonlocal seen
        seen += step.done > step.resumed
        if seen == 2:
            raise _Killed

    worker = specimen.on("cpu")
    pace = Pace(device="cpu", keep=keep, every=0.0)
    size = max(4, -(-len(images) // 4))
    small = replace(pace, batch=size)
    whole = _arrays(analysis.measure(worker, images, replace(small, keep=None)))
    with suppress(_Killed):
        analysis.measure(worker, images, replace(small, listener=kill))
    arrays = _arrays(analysis.measure(worker, images, small))
    check_equal(whole, arrays, f"{analysis.name()}: killed and resumed")
    if isinstance(analysis, Census):
        for key in survey_keys(worker, images, [analysis]):
            discard_tally(small, key)
    return _arrays(analysis.measure(worker, images, replace(pace, keep=None)))


def check_equal(one: Arrays | Measurement, other: Arrays | Measurement, what: str) -> None:
    """Compare two measurements: the same arrays to the bit.

    Raises:
        Unlawful: a name, shape or value differs; the message says where and by how much.
    """
    one, other = _arrays(one), _arrays(other)
    if list(one) != list(other):
        raise BrokenContract(f"{what}: the arrays are {list(other)} instead of {list(one)}.")
    for name, array in one.items():
        left, right = np.asarray(array.values), np.asarray(other[name].values)
        if left.shape != right.shape:
            raise BrokenContract(f"{what}: {name} has the shape {right.shape} instead of {left.shape}.")
        same = (left == right) | ((left != left) & (right != right))
        if not bool(np.all(same)):
            gap = (
                ""
                if left.dtype.kind not in "fiu"
                else f", by up to {np.nanmax(np.abs(left.astype(float) - right.astype(float))):.3g}"
            )
            raise BrokenContract(f"{what}: {name} differs in {int((~same).sum())} of {left.size} places{gap}.")


def check_edit(edit: Edit, specimen: Specimen, images: Images, folder: Path, steps: int = 3) -> Specimen:
    """The changed copy, after every law of edits was checked on it.

    The original is untouched and the copy shares no memory with it; the digest differs; the counts of the line are true; outputs
    on `images` differ by no more than the edit promises; the same edit made twice gives the same bytes; the copy, trained for
    `steps` steps of gradient descent, has a finite loss, and a gradient other than zero reached every parameter that the edit
    brought; what is saved opens again with equal outputs, to the bit, and with the same digest; the untrained twin has the same
    structure and other weights.

    Raises:
        Unlawful: a law is broken; the message says which and how.
    """
    before = fingerprint(specimen.net)
    edited = edit(specimen)
    if fingerprint(specimen.net) != before:
        raise BrokenContract(f"{edit.name()} changed the original: {_changes(before, fingerprint(specimen.net))}")
    held = {tensor.data_ptr() for tensor in specimen.net.state_dict().values() if tensor.numel()}
    if shared := [name for name, tensor in edited.net.state_dict().items() if tensor.numel() and tensor.data_ptr() in held]:
        raise BrokenContract(f"{edit.name()}: the copy shares memory with the original: {shared[0]}")
    if edited.digest() == specimen.digest():
        raise BrokenContract(f"{edit.name()}: the digest is that of the original.")
    if edit(specimen).digest() != edited.digest():
        raise BrokenContract(f"{edit.name()}: made twice, it gives different networks.")
    x = edited.recipe.normalise(torch.from_numpy(images.inputs(edited.recipe, range(min(len(images), 8)))))
    _counted(edit, specimen, edited)
    _preserved(edit, specimen, edited, images)
    _kept(edit, edited, x, folder)
    twin = edited.twin()
    if [type(module) for module in twin.net.modules()] != [type(module) for module in edited.net.modules()]:
        raise BrokenContract(f"{edit.name()}: the untrained twin has another structure.")
    if twin.digest() == edited.digest():
        raise BrokenContract(f"{edit.name()}: the untrained twin has the same weights.")
    _trained_text(edit, specimen, edited, x, steps)
    return edited


def _counted(edit: Edit, specimen: Specimen, edited: Specimen) -> None:
    """Raises Unlawful where the line does not hold what is counted here."""
    change = edited.edits[-1]
    for word, network in (("before", specimen), ("after", edited)):
        count = sum(parameter.numel() for parameter in network.net.parameters())
        zeros = torch.zeros(1, network.recipe.channels, *network.recipe.size)
        # with attention spelt out in matrix products, which torch's counter knows
        with torch.no_grad(), slow_attention(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            network.net(zeros)
        work = counter.get_total_flops() / 2
        place = 0 if word == "before" else 1
        if (change.parameters[place], change.multiply_adds[place]) != (count, work):
            raise BrokenContract(
                f"{edit.name()} says {change.parameters}, {change.multiply_adds}; {word} there are {count}, {work}."
            )
        if f"{count:,}" not in change.line or f"{work / 1e6:,.2f}" not in change.line:
            raise BrokenContract(
                f"{edit.name()}: the line does not contain the counts {word} ({count:,}, {work / 1e6:,.2f} M)."
            )
    if not change.line.endswith(".") or f"Edited: {change.line}" not in edited.notes:
        raise BrokenContract(f"{edit.name()}: the line is no sentence, or not among the specimen's notes: {change.line!r}")


def _preserved(edit: Edit, specimen: Specimen, edited: Specimen, images: Images) -> None:
    """Raises Unlawful where outputs differ by more than the edit promises."""
    promise = edit.with_choices(specimen).preserves(specimen)
    if not promise.why or promise.how != edited.edits[-1].preserves:
        raise BrokenContract(f"{edit.name()} does not state why the function is, or is not, preserved.")
    if promise.how == "no":
        return
    some = range(min(len(images), 8))
    inputs = (each.recipe.normalise(torch.from_numpy(images.inputs(each.recipe, some))) for each in (specimen, edited))
    one, two = (each.run(x) for each, x in zip((specimen, edited), inputs, strict=True))
    gap, spread = float((one - two).abs().max()), float(one.std())
    if not gap <= promise.within * spread:
        raise BrokenContract(
            f"{edit.name()} promises to preserve the function {promise.how}: outputs differ by {gap:.3g}, that is "
            f"{gap / spread:.3g} of their spread, where {promise.within:.3g} is allowed."
        )


def _kept(edit: Edit, edited: Specimen, x: torch.Tensor, folder: Path) -> None:
    """Raises Unlawful where what is saved and opened again is not the same network."""
    again = open_specimen(edited.save(folder / f"{edit.name()}.safetensors"))
    if again.digest() != edited.digest() or not torch.equal(again.run(x), edited.run(x)):
        raise BrokenContract(f"{edit.name()}: what was saved and opened again is another network.")
    if (again.name, again.edits, again.recipe, again.labels) != (edited.name, edited.edits, edited.recipe, edited.labels):
        raise BrokenContract(f"{edit.name()}: the saved and reopened network has another description.")


def _trained_text(edit: Edit, specimen: Specimen, edited: Specimen, x: torch.Tensor, steps: int) -> None:
    """Raises Unlawful where the copy cannot be trained, or no gradient reaches what the edit brought."""
    net = copy.deepcopy(edited.net).train().requires_grad_(True)
    old = {name: tuple(parameter.shape) for name, parameter in specimen.net.named_parameters()}
    new = {name for name, parameter in net.named_parameters() if old.get(name) != tuple(parameter.shape)}
    reached: set[str] = set()
    for step in range(steps):
        scores = edited.pick(net(x))
        wanted = torch.arange(len(x)).add(step).remainder(scores.shape[1])
        each = wanted.reshape(-1, *[1] * (scores.dim() - 2)).expand(
            -1, *scores.shape[2:]
        )  # of every pixel, where maps are given
        loss = torch.nn.functional.cross_entropy(scores, each)
        if not bool(torch.isfinite(loss)):
            raise BrokenContract(f"{edit.name()}: the loss of step {step + 1} is {float(loss)}.")
        named = [(name, parameter) for name, parameter in net.named_parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad(loss, [parameter for _, parameter in named], allow_unused=True)
        with torch.no_grad():
            for (name, parameter), gradient in zip(named, gradients, strict=True):
                if gradient is not None:
                    reached |= {name} if bool(gradient.any()) else set()
                    parameter -= 0.05 * gradient
    if missed := sorted(new - reached):
        raise BrokenContract(f"{edit.name()}: no gradient reaches {', '.join(missed[:5])} within {steps} steps.")


def fingerprint(net: torch.nn.Module) -> dict[str, Any]:
    """Everything about a module that looking must not change: values, gradients, flags, hooks."""
    hooks = sum(
        len(getattr(module, name))
        for module in net.modules()
        for name in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    )
    return {
        "values": {
            name: (float(value.double().sum()), float(value.double().abs().sum())) for name, value in net.state_dict().items()
        },
        "gradients": [name for name, p in net.named_parameters() if p.grad is not None],
        "flags": [p.requires_grad for p in net.parameters()],
        "training": [module.training for module in net.modules()],
        "modules": [id(module) for module in net.modules()],
        "hooks": hooks,
    }


def _changes(before: dict[str, Any], after: dict[str, Any]) -> str:
    return ", ".join(name for name in before if before[name] != after[name])
