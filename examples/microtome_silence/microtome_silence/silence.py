"""Fraction of exact zeros in the outputs of each layer.

Source: sparse rectifier networks, Glorot et al. 2011, sec. 3.
"""

from collections.abc import Sequence
from typing import Any, final

import torch

from microtome.analysis import Arrays, BatchValues, Census, option
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.key_numbers import FRACTION, KeyNumber
from microtome.panels import Bars, Panel
from microtome.scan import Batch
from microtome.specimen import Specimen
from microtome.tally import Rows


@final
class Silence(Census[Rows]):
    """Fraction of zeros by layer."""

    needs = "images"
    question = "understand"
    title = "Zero outputs"

    at: tuple[str, ...] = option(("blocks",), "layers to measure: names, globs or aliases")

    def layers_to_watch(self, specimen: Specimen) -> list[str]:
        return specimen.find(self.at)

    def empty_tally(self) -> Rows:
        return Rows()

    def reduce(self, specimen: Specimen, name: str, value: torch.Tensor, seen: BatchValues) -> Any:
        return (value == 0).flatten(1).double().mean(dim=1).cpu().numpy()

    def add(self, specimen: Specimen, tally: Rows, batch: Batch, seen: BatchValues, logits: torch.Tensor) -> None:
        tally.add(batch.index, seen)

    def to_arrays(self, specimen: Specimen, images: Images, tally: Rows, twin: Rows | None) -> Arrays:
        layers = self.layers_to_watch(specimen)
        zeros = [tally.column(layer).mean() for layer in layers]
        return {"zeros": array(zeros, ("layer",), FRACTION, {"layer": layers}, "zeros")}

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        zeros = finding["zeros"]
        most = str(zeros.idxmax("layer").item())
        return [
            KeyNumber(name="zeros, most", value=float(zeros.max()), unit=FRACTION, at=most),
            KeyNumber(name="zeros, mean over layers", value=float(zeros.mean()), unit=FRACTION),
        ]

    def headline(self, finding: Finding) -> str:
        most, mean = finding.key_numbers
        return f"{most.text} of the outputs of {most.at} are zero; {mean.text} on average over the layers."

    def panels(self, finding: Finding) -> Sequence[Panel]:
        return [Bars(title="Zero outputs", y=("zeros",), x="layer")]

    def caveats(self, finding: Finding) -> Sequence[str]:
        return ["Activations without an exact zero (GELU, SiLU) never count."]
