"""Right and wrong answers of candidates, before and after each repair, from the features before their first change."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from microtome.analyses.slimming.candidates import Slimmer, SmallerNetwork
from microtome.analyses.slimming.journal import Journal
from microtome.analyses.slimming.repairs import estimate_norms, fine_tune, fit_linear
from microtome.analyses.slimming.split import ImagePart, concatenate_batches
from microtome.instruments.feature_cut import pooled_map
from microtome.instruments.prefix_runs import PrefixRuns
from microtome.numerics.probes.ridge import ridge_scores
from microtome.specimen import Specimen, watch
from microtome.specimen.blocks import Unit
from microtome.specimen.calibration import estimate_statistics, has_statistics
from microtome.specimen.outputs import first_tensor

Repair = Literal["none", "norms", "linear", "fine-tune"]
Answers = np.ndarray[Any, Any]  # (image,) whether each is right
FULL = "full network"


@dataclass
class Bench:
    """A specimen's candidates on parts of the images: `chosen` to repair by, `judge_images` (or else `chosen`) to choose by, `reported`.

    `by_head` says whether the network's own head answers; otherwise a linear probe fitted on `chosen` does. `heal` is the number of steps
    of the fine-tune, 0 for none. `passed` hears of every row.
    """

    specimen: Specimen
    slimmer: Slimmer
    chosen: ImagePart
    reported: ImagePart
    by_head: bool
    heal: int
    journal: Journal
    passed: Callable[[], None]
    judge_images: ImagePart | None = None
    notes: set[str] = field(default_factory=set[str])

    @property
    def search_images(self) -> ImagePart:
        """The images that the search judges by."""
        return self.chosen if self.judge_images is None else self.judge_images

    @property
    def repairs(self) -> tuple[Repair, ...]:
        """The repairs that are tried on this network."""
        linear = any(plan.how == "linear" for plan in self.slimmer.linear_plans.values())
        tried: dict[Repair, bool] = {
            "none": True,
            "norms": has_statistics(self.specimen.net),
            "linear": linear,
            "fine-tune": self.heal > 0,
        }
        return tuple(repair for repair, wanted in tried.items() if wanted)

    def units(self, candidate: SmallerNetwork) -> list[Unit]:
        """The removed blocks of a candidate in execution order."""
        return [unit for unit in self.specimen.anatomy.units if unit.path in candidate.blocks]

    def full(self) -> Answers:
        """The answers of the full network on the reported images."""

        def measure() -> Answers:
            return self.answers_of(self.specimen.net)

        return self._row([FULL, "none"], measure)

    def answers_of(self, net: nn.Module) -> Answers:
        """The answers of any network on the reported images, the whole of it run."""
        return self._answers(net, *self._runs(net))

    def removals(self, candidates: Sequence[SmallerNetwork]) -> dict[str, dict[Repair, Answers]]:
        """The answers of candidates without blocks, by name and repair; their order is that of their first blocks."""
        runs: tuple[PrefixRuns, PrefixRuns] | None = None
        rows: dict[str, dict[Repair, Answers]] = {}
        for candidate in sorted(candidates, key=lambda each: self.units(each)[0].entry.begun):
            empty, linear = self.slimmer.can_be_empty(candidate), self.slimmer.can_be_linear(candidate)
            repairs: list[Repair] = [
                repair for repair in self.repairs
                if (linear if repair == "linear" else empty or (candidate.linear and repair == "fine-tune"))
            ]  # fmt: skip
            if not all(self.journal.knows(self._key(candidate, repair)) for repair in repairs):
                runs = runs or self._runs(self.specimen.net)
                for each in runs:
                    each.advance(self.units(candidate)[0])
            rows[candidate.name] = {
                repair: self._row(self._key(candidate, repair), partial(self._repaired, candidate, repair, runs))
                for repair in repairs
            }
        return rows

    def widths(self, candidates: Sequence[SmallerNetwork]) -> dict[str, dict[Repair, Answers]]:
        """The answers of narrower networks, by name and repair; the whole network runs, and all of its statistics are estimated."""
        repairs: list[Repair] = [repair for repair in self.repairs if repair != "linear"]
        return {
            candidate.name: {
                repair: self._row(self._key(candidate, repair), partial(self._narrowed, candidate, repair))
                for repair in repairs
            }
            for candidate in candidates
        }

    def _narrowed(self, candidate: SmallerNetwork, repair: Repair) -> Answers:
        """Measure one narrower network after one repair."""
        net = self.slimmer.network(candidate, own_weights=repair == "fine-tune")
        if repair in ("norms", "fine-tune"):
            estimate_statistics(net, self.chosen.batches)
        if repair == "fine-tune":
            fine_tune(net, self.specimen, self.chosen.batches, self.heal)
        return self._answers(net, *self._runs(net))

    def _key(self, candidate: SmallerNetwork, repair: str) -> list[Any]:
        heal = self.heal if repair == "fine-tune" else 0
        own = ["linear"] if candidate.linear and repair == "fine-tune" else []
        return [candidate.kind, list(candidate.blocks) or candidate.at, repair, heal, *own]

    def _row(self, key: Sequence[Any], measure: Callable[[], Answers]) -> Answers:
        answers = self.journal.answers(key, measure)
        self.passed()
        return answers

    def _repaired(self, candidate: SmallerNetwork, repair: Repair, runs: "tuple[PrefixRuns, PrefixRuns] | None") -> Answers:
        """Measure one candidate after one repair."""
        assert runs is not None
        chosen, reported = runs
        units = self.units(candidate)
        net = self.slimmer.network(candidate, linear=repair == "linear", own_weights=repair == "fine-tune")
        if repair == "linear" or candidate.linear:
            fit_linear(net, self.specimen, chosen, units)
        elif repair in ("norms", "fine-tune"):
            estimate_norms(net, chosen, units[0])
        if repair == "fine-tune":
            fine_tune(net, self.specimen, self.chosen.batches, self.heal)
            chosen, reported = self._runs(net)
        return self._answers(net, chosen, reported)

    def _runs(self, net: nn.Module) -> tuple[PrefixRuns, PrefixRuns]:
        return tuple(PrefixRuns(self.specimen, net, part.batches) for part in (self.chosen, self.reported))  # type: ignore[return-value]

    def _answers(self, net: nn.Module, chosen: PrefixRuns, reported: PrefixRuns) -> Answers:
        self.notes |= {runs.why for runs in (chosen, reported) if runs.why}
        if self.by_head:
            return self.predictions(net, reported) == self.reported.wanted
        fitted, shown = (self._head_inputs(net, runs) for runs in (chosen, reported))
        return self._probe(fitted, shown)

    def predictions(self, net: nn.Module, runs: PrefixRuns) -> np.ndarray[Any, Any]:
        """The class (image,) that the network's own head gives."""
        scores = [self.specimen.class_scores(self.specimen.pick(output)) for output in runs.runs(net)]
        return concatenate_batches([each.argmax(1) for each in scores]).long().numpy()

    def selection(self, net: nn.Module, runs: PrefixRuns) -> Answers:
        """The answers on the images to choose by; a probe is cross-validated in two halves."""
        if self.by_head:
            return self.predictions(net, runs) == self.search_images.wanted
        wanted = self.search_images.wanted
        features, half = self._head_inputs(net, runs), np.arange(len(wanted)) % 2 == 0
        right = np.zeros(len(wanted), dtype=bool)
        for part in (half, ~half):
            right[part] = _probe_answers(features[~part], wanted[~part], features[part], wanted[part])
        return right

    def _head_inputs(self, net: nn.Module, runs: PrefixRuns) -> np.ndarray[Any, Any]:
        """What the head reads (image, feature), averaged over positions; what the network gives, where it has no head."""
        kept: list[Tensor] = []
        path = self.specimen.head
        handle = (
            net.get_submodule(path).register_forward_pre_hook(lambda _module, inputs: kept.append(inputs[0].clone()))
            if path
            else None
        )
        try:
            outputs = [first_tensor(output) for output in runs.runs(net)]
        finally:
            if handle is not None:
                handle.remove()
        values = kept if kept else [each for each in outputs if each is not None]
        return concatenate_batches([_pooled(value) for value in values]).numpy().astype(np.float64)

    def _probe(self, fitted: np.ndarray[Any, Any], shown: np.ndarray[Any, Any]) -> Answers:
        return _probe_answers(fitted, self.chosen.wanted, shown, self.reported.wanted)

    def cuts(self, candidates: Sequence[SmallerNetwork]) -> tuple[dict[str, Answers], Answers]:
        """The answers of a probe at each cut, by name, and of one on what the full network's head reads; features in one pass."""
        keys = {candidate.name: self._key(candidate, "none") for candidate in candidates}
        base = [FULL, "probe"]
        features: dict[str, list[np.ndarray[Any, Any]]] = {}

        def all_features() -> dict[str, list[np.ndarray[Any, Any]]]:
            if not features:
                names = [candidate.at for candidate in candidates]
                for part in (self.chosen, self.reported):
                    for name, rows in self._watched(names, part.batches).items():
                        features.setdefault(name, []).append(rows)
            return features

        answers = {c.name: self._row(keys[c.name], lambda at=c.at: self._probe(*all_features()[at])) for c in candidates}
        return answers, self._row(base, lambda: self._probe(*all_features()[FULL]))

    def _watched(self, names: Sequence[str], batches: Iterable[Tensor]) -> dict[str, np.ndarray[Any, Any]]:
        rows: dict[str, list[Tensor]] = {}
        layers = {name: self.specimen.layer(name) for name in names}
        head = self.specimen.head
        for x in batches:
            with torch.no_grad(), watch(self.specimen, [*names, *([f"<{head}"] if head else [])]) as seen:
                output = first_tensor(self.specimen.net(x))
            for name, layer in layers.items():
                rows.setdefault(name, []).append(pooled_map(layer, seen[name]))
            last = seen[f"<{head}"] if head else output
            assert last is not None
            rows.setdefault(FULL, []).append(_pooled(last))
        return {name: concatenate_batches(parts).numpy().astype(np.float64) for name, parts in rows.items()}


def _pooled(value: Tensor) -> Tensor:
    """(image, feature): the mean over positions of maps (image, unit, row, col) or of tokens (image, token, unit)."""
    return (
        value.flatten(2).mean(2) if value.dim() == 4 else value.flatten(1, -2).mean(1) if value.dim() == 3 else value.flatten(1)
    )


def _probe_answers(
    fitted: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], shown: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]
) -> Answers:
    classes = np.unique(labels)
    targets = np.where(labels[:, None] == classes, 1.0, -1.0)
    scores, _ = ridge_scores(fitted, targets, shown)
    return classes[scores.argmax(1)] == wanted
