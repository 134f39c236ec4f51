"""The contract of an analysis: refusals before any measuring, keys that follow what can change a number, the finding concluded."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import microtome as mt
from microtome.analysis import Analysis, Measurement, Needs, build_analysis, option
from microtome.errors import BadOption, ImagesError, UnknownName, Unmeasurable
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.key_numbers import KeyNumber
from microtome.scan import Pace
from microtome.specimen import Specimen


class Sum(Analysis):
    """The sum of the weights."""

    needs: ClassVar[Needs] = "labels"
    times: int = option(1, "factor", low=1, high=9)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        total = sum(float(p.detach().sum()) for p in specimen.net.parameters())
        return Measurement({"sum": array([self.times * total], ("source",), "1")}, {"chosen": np.int64(3)})

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        return [KeyNumber(name="sum", value=float(finding["sum"][0]))]

    def headline(self, finding: Finding) -> str:
        return f"The sum is {finding.key('sum').text}."

    def panels(self, finding: Finding) -> Sequence[Any]:
        return []

    def caveats(self, finding: Finding) -> Sequence[str]:
        return [f"Of {finding.facts['chosen']}."]


CPU = Pace(device="cpu")


def unlabelled(channels: int = 3) -> mt.Images:
    return mt.Images.tensors(torch.zeros(2, channels, 8, 8, dtype=torch.uint8))


def test_the_finding_holds_numbers_headline_caveats_and_facts(net: mt.Specimen, pics: mt.Images) -> None:
    finding = Sum(times=2)(net, pics, CPU)
    total = sum(float(p.detach().double().sum()) for p in net.net.parameters())
    assert finding.key("sum").value == pytest.approx(2 * total, rel=1e-4)
    assert finding.headline == f"The sum is {finding.key('sum').text}." and finding.caveats[-1] == "Of 3."
    assert finding.facts == {"chosen": 3} and finding.options == {"times": 2} and finding.title == "Test contract"
    assert finding.origin["images"]["digest"] == pics.digest() and finding.origin["key"] == Sum(times=2).key(net, pics, "cpu")


def test_what_is_lacking_is_named_before_measuring(net: mt.Specimen) -> None:
    with pytest.raises(Unmeasurable, match="it needs images"):
        Sum()(net, None, CPU)
    with pytest.raises(Unmeasurable, match="it needs labelled images"):
        Sum()(net, unlabelled(), CPU)
    labelled = mt.Images.tensors(torch.zeros(2, 5, 8, 8, dtype=torch.uint8), labels=[0, 1])
    with pytest.raises(ImagesError, match="the network takes 3 channels and 'tensors' holds images of 5"):
        Sum()(net, labelled, CPU)


def test_a_shard_is_refused_since_a_finding_is_of_all_images(net: mt.Specimen, pics: mt.Images) -> None:
    with pytest.raises(BadOption, match="shard 1/2 sees a part of them"):
        Sum()(net, pics, Pace(device="cpu", shard=(1, 2)))


def test_the_key_follows_all_that_can_change_a_number(net: mt.Specimen, pics: mt.Images) -> None:
    keys = [
        Sum().key(net, pics, "cpu"),
        Sum(times=2).key(net, pics, "cpu"),
        Sum().key(net, pics, "cuda"),
        Sum().key(net, pics.take([0, 1]), "cpu"),
        Sum().key(net.with_twins(0), pics, "cpu"),
    ]
    assert len(set(keys)) == len(keys) and all(len(key) == 16 for key in keys)
    assert Sum().key(net, pics, "cpu") == keys[0]


def test_options_come_as_texts_and_wrong_ones_are_named() -> None:
    assert build_analysis(Sum, {"times": "3"}) == Sum(times=3)
    with pytest.raises(UnknownName, match="times"):
        build_analysis(Sum, {"tims": "3"})
    with pytest.raises(BadOption):
        Sum(times=10)
