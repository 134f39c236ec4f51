"""Findings recorded while somebody else's loop trains: checkpoints kept, analyses measured on copies, one report that grows.

recorder = microtome.record(net, images, every=2, analyses=["weights", "evolution"], out="recorded")
for epoch in range(epochs):
    ...                       # your own training
    recorder.step(epoch + 1)
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import nn

from microtome import catalog
from microtome.errors import BadOption
from microtome.finding import Finding
from microtome.images import Images
from microtome.opening.opening import open as open_specimen
from microtome.report.html import write_report
from microtome.runner import analyze
from microtome.scan import Pace
from microtome.specimen import Specimen
from microtome.specimen.copying import copy_network
from microtome.specimen.saving import save_network
from microtome.specimen.seeding import seed_generators
from microtome.store import Store
from microtome.training.trained_run import CHECKPOINTS

Every = int | Literal["powers"]
EVOLUTION = "evolution"


class Recorder:
    """Measures a network while it is being trained; the network itself, its mode and all random states stay as they are."""

    def __init__(
        self,
        net: nn.Module,
        images: Images,
        out: str | Path,
        *,
        every: Every,
        analyses: Sequence[str],
        settings: Mapping[str, Mapping[str, Any]],
        recipe: Any,
        labels: Any,
        name: str,
        twins: int,
        device: str,
    ) -> None:
        self.net, self.images, self.folder, self.every = net, images, Path(out), every
        self.analyses = [catalog.analysis_entry(analysis).name for analysis in analyses]
        self.settings = {analysis: dict(options) for analysis, options in settings.items()}
        self.recipe, self.labels, self.name = recipe, labels, name or type(net).__name__
        self.twins, self.device = twins, device
        self.findings: list[Finding] = []  # of the last recorded epoch
        self._places: dict[tuple[str, str], str] = {}

    def due(self, epoch: int) -> bool:
        """Whether that epoch is recorded."""
        if isinstance(self.every, int):
            return epoch % self.every == 0
        return epoch.bit_count() <= 1

    def step(self, epoch: int) -> list[Finding]:
        """Record the epoch if it is due: its weights, and what the analyses find; the findings, none if it is not due.

        An analysis that fails or does not apply is written into the report with its reason, and training goes on.

        Raises: WriteError where the folder cannot be written; SpecimenError where the network does not run on its input.
        """
        if not self.due(epoch):
            return []
        with seed_generators(0):
            specimen = self._specimen(epoch)
            save_network(specimen.net, self._header(), self.folder / CHECKPOINTS / f"epoch-{epoch:04d}.safetensors")
            self.findings = self._measure(specimen, [name for name in self.analyses if name != EVOLUTION], {})
            if EVOLUTION in self.analyses and len(list((self.folder / CHECKPOINTS).iterdir())) > 1:
                series = {"checkpoints": str(self.folder / CHECKPOINTS)}
                self.findings += self._measure(specimen.with_name(self.name), [EVOLUTION], series)
        if self._places:
            write_report(self.folder)
        return self.findings

    def _specimen(self, epoch: int) -> Specimen:
        copied = copy_network(self.net).to("cpu").eval()
        specimen = open_specimen(copied, recipe=self.recipe, labels=self.labels)
        return specimen.with_name(f"{self.name} at epoch {epoch:04d}")

    def _header(self) -> dict[str, Any]:
        return {"name": self.name}

    def _measure(self, specimen: Specimen, names: Sequence[str], more: Mapping[str, Any]) -> list[Finding]:
        """The findings of those analyses, all earlier ones kept in the run file that the report reads."""
        if not names:
            return []
        settings = {name: {**self.settings.get(name, {}), **more} for name in names}
        with torch.enable_grad():
            outcome = analyze(
                [specimen],
                self.images,
                self.folder,
                only=list(names),
                settings=settings,
                twins=self.twins,
                pace=Pace(device=self.device),
                said={"title": f"{self.name} during training"},
            )
        store = Store(self.folder)
        run = store.run()
        for (subject, analysis), finding in outcome.findings.items():
            place = store.place(subject, analysis, str(finding.origin["key"]))
            self._places[subject, analysis] = str(place.relative_to(self.folder))
        subjects = list(dict.fromkeys(subject for subject, _ in self._places if subject))
        store.write_run({**run, "findings": list(self._places.values()), "specimens": subjects})
        return list(outcome.findings.values())


def record(
    net: nn.Module,
    images: Images,
    *,
    every: Every = "powers",
    analyses: Sequence[str] = (EVOLUTION,),
    out: str | Path = "recorded",
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    recipe: Any = None,
    labels: Any = None,
    name: str = "",
    twins: int = 2,
    device: str = "auto",
) -> Recorder:
    """A recorder whose `step(epoch)` a training loop calls after each epoch (and once before the first, with 0).

    `every`: a number of epochs, or "powers" for 0, 1, 2, 4, 8 …; `analyses` are measured on copies of `net` with these `images`, with
    options from `settings` by analysis; "evolution" is drawn over all checkpoints recorded so far. Everything lies in `out`.
    `recipe` and `labels` as for `microtome.open`; `twins` is the number of untrained twins.

    Raises: BadOption for another `every` or something that is not a network; UnknownName for an analysis that does not exist.
    """
    if not isinstance(cast(Any, net), nn.Module):
        raise BadOption(f"record takes the nn.Module that is being trained, and was given {type(net).__name__}.")
    if every != "powers" and (isinstance(every, bool) or not isinstance(cast(Any, every), int) or every < 1):
        raise BadOption(f"every is {every!r}; it takes a number of epochs from 1 on, or 'powers' for epochs 0, 1, 2, 4, 8 ….")
    return Recorder(
        net, images, out, every=every, analyses=analyses, settings=settings or {}, recipe=recipe, labels=labels, name=name,
        twins=twins, device=device,
    )  # fmt: skip
