"""The published law can fail: each fault planted in an analysis is found and named.

Source: none; the faults are planted.
"""

from pathlib import Path
from typing import Any, final

import numpy as np
import pytest

import microtome as mt
from microtome import testing
from microtome.analysis import Analysis, option
from microtome.finding import array
from microtome.key_numbers import KeyNumber
from microtome.panels import Bars
from microtome.testing import BrokenContract


@final
class Faulty(Analysis):
    """An analysis with the fault that its option names."""

    needs = "images"
    fault: str = option("", "what is wrong with it")

    def measure(self, specimen: Any, images: Any, pace: Any) -> Any:
        if self.fault == "changes the net":
            next(specimen.net.parameters()).data.add_(1.0)
        if self.fault == "leaves a hook":
            next(specimen.net.children()).register_forward_hook(lambda *_: None)
        number = np.random.default_rng().random() if self.fault == "is random" else 1.0
        return {"value": array([number], ("layer",), "1", {"layer": ["one"]}, "value")}

    def key_numbers(self, finding: Any) -> Any:
        names = ["value"] if self.fault == "has one key number" else ["value", "value again"]
        return [KeyNumber(name=name, value=float(finding["value"].values[0])) for name in names]

    def panels(self, finding: Any) -> Any:
        return [] if self.fault == "shows nothing" else [Bars(title="Value", y=("value",), x="layer")]

    def headline(self, finding: Any) -> str:
        faulty = {
            "tells nan": "It is nan of 3.",
            "tells no number": "It is so.",
            "talks": f"{20 * 'So '}it is 1.",
            "tells negative zero": "It is 1, less than -0.0.",
            "counts stiffly": "It holds in 0 of 3 layers.",
            "counts in words": "None of the layers has it.",  # no fault
            "tells a small number": "It is -0.004 points.",  # no fault
        }
        return faulty.get(self.fault, "It is 1 of 3.")

    def caveats(self, finding: Any) -> Any:
        return []


def checked(fault: str, folder: Path) -> Any:
    net = mt.open("microtome:mini_vgg")
    plain = Faulty(fault=fault)
    if fault in ("changes the net", "leaves a hook"):  # an analysis that goes round the working copy
        plain = _OnTheOriginal(fault=fault, original=net)  # type: ignore[assignment]
    return testing.check(plain, net, mt.Images.scenes(8), folder)


class _OnTheOriginal:
    """Calls the faulty measure on the very specimen, not on the copy that `Analysis` makes."""

    def __init__(self, fault: str, original: Any) -> None:
        self._inner, self._original = Faulty(fault=fault), original
        self.needs, self.reproducible = "images", True

    def name(self) -> str:
        return "faulty"

    def __call__(self, specimen: Any, images: Any) -> Any:
        self._inner.measure(self._original, images, None)
        return self._inner(specimen, images)


def test_a_lawful_analysis_passes(tmp_path: Path) -> None:
    assert checked("", tmp_path).headline == "It is 1 of 3."
    assert checked("counts in words", tmp_path / "words").headline == "None of the layers has it."
    assert checked("tells a small number", tmp_path / "small").headline == "It is -0.004 points."


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("changes the net", "changed the specimen: values"),
        ("has one key number", "has 1 key numbers"),
        ("talks", "23 words"),
        ("leaves a hook", "changed the specimen: hooks"),
        ("is random", "value differs in 1 of 1 places"),
        ("shows nothing", "it has no panel"),
        ("tells negative zero", "a negative zero"),
        ("counts stiffly", "the headline says '0 of 3'"),
        ("tells nan", "a value that is not a number"),
        ("tells no number", "no sentence with a number"),
    ],
)
def test_each_fault_is_named(fault: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(BrokenContract, match=told):
        checked(fault, tmp_path)


@pytest.mark.parametrize("stiff", ["0 of 12 layers", "0 of the 3 maps", "0 of these", "1 of 1 layer", "All 1 layer"])
def test_stiff_counts_are_known(stiff: str) -> None:
    assert testing.STIFF_COUNT.search(f"There {stiff} do.")


@pytest.mark.parametrize(
    "plain", ["10 of 12", "2.0 of 3", "1 of 12", "1 of 1.5 px", "all 12 layers", "0 of the strongest", "0%"]
)
def test_other_counts_are_not_taken_for_stiff_ones(plain: str) -> None:
    assert not testing.STIFF_COUNT.search(f"There {plain} do.")
