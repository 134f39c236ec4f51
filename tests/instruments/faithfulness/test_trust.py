"""What is known of a kind before it is shown: from a finding, measured here, or not at all; and the choice of the best."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import microtome as mt
from earlier_findings import pace_with, standing
from map_networks import opened, pooled
from microtome.errors import Unmeasurable
from microtome.instruments.faithfulness import trust
from microtome.instruments.faithfulness.ranking import BETTER
from microtome.instruments.faithfulness.trust import (
    NOT_TRIED,
    MapTrust,
    best_refusal,
    map_trust,
    most_faithful_kind,
    trust_facts,
    trust_forward,
)
from microtome.scan import Pace

IMAGES = mt.Images.tensors(torch.rand(8, 3, 12, 12, generator=torch.Generator().manual_seed(0)))


def specimen() -> mt.Specimen:
    return replace(opened(pooled()), names=("a", "b", "c", "d"))


KNOWN = {
    "inputgradient": standing(BETTER, False, ""), "hirescam": standing("not distinguishable from the centre blob", False),
    "gradcam": standing("worse than the centre blob", True),
}  # fmt: skip


def test_a_finding_answers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "_compare", lambda *_: pytest.fail("measured again"))
    of = {kind: trust_facts(specimen(), IMAGES, kind, pace_with(KNOWN)) for kind in KNOWN}
    text = "Input gradient is better than all baselines (12 of these images)."
    assert of["inputgradient"] == {"verdict": BETTER, "doubt": "", "warning": "", "text": text}
    assert of["hirescam"]["warning"] == "" and of["hirescam"]["doubt"] == (
        "HiResCAM is ahead of all baselines in the median, but not distinguishable from the centre blob (at layer4, 12 of these images)."
    )
    assert (
        of["gradcam"]["warning"]
        == of["gradcam"]["doubt"]
        == (
            "Warning: Grad-CAM is worse than the centre blob (at layer4, 12 of these images): its maps may not show what the network "
            "depends on."
        )
    )
    choice = most_faithful_kind(specimen(), IMAGES, pace_with(KNOWN))
    assert choice.kind == "inputgradient" and choice.reason.endswith("12 of these images (as faithfulness found)")
    assert most_faithful_kind(specimen(), IMAGES, pace_with(KNOWN), at=("3",)).kind == "hirescam"
    with pytest.raises(Unmeasurable):
        most_faithful_kind(specimen(), IMAGES, pace_with({"inputgradient": KNOWN["inputgradient"]}), at=("3",))


def test_without_a_finding_it_is_measured_once() -> None:
    network = specimen()
    found = map_trust(network, IMAGES, "hirescam", Pace())
    assert isinstance(found, MapTrust) and found.basis == "at 3, 8 of these images" and found.title == "HiResCAM"
    known = network.__dict__["_standings"]
    assert list(known) == [(IMAGES.digest(), ("hirescam",), 12)]
    assert map_trust(network, IMAGES, "hirescam", Pace()) == found
    choice = most_faithful_kind(network, IMAGES, Pace())
    assert choice.reason.endswith("on 8 of these images (measured here)") and len(known) == 2


def test_a_kind_that_the_finding_lacks_is_measured() -> None:
    found = map_trust(specimen(), IMAGES, "layercam", pace_with(KNOWN))
    assert found is not None and found.basis == "at 3, 8 of these images"


def test_nothing_is_said_of_few_images_or_without_classes() -> None:
    assert trust_facts(specimen(), IMAGES.take([0, 1]), "gradcam", Pace()) == NOT_TRIED
    features = mt.open(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)).eval(), recipe={"size": 12})
    assert map_trust(features, IMAGES, "gradcam", Pace()) is None
    assert "there are 2" in best_refusal(specimen(), IMAGES.take([0, 1])) and "there is 1;" in best_refusal(
        specimen(), IMAGES.take([0])
    )
    assert "no single score for each class" in best_refusal(features, IMAGES) and best_refusal(specimen(), IMAGES) == ""
    assert trust_forward(IMAGES.take([0, 1]), ("gradcam",)) == 0 and trust_forward(IMAGES, ("gradcam",)) == 8 * (3 + 4 * 6)


def test_several_kinds_are_read_from_one_finding_and_costly_ones_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[tuple[str, ...]] = []
    monkeypatch.setattr(trust, "_compare", lambda _, __, kinds, *___: measured.append(tuple(kinds)) or {})
    of = trust.trust_of_kinds(specimen(), IMAGES, (*KNOWN, "xgradcam", "scorecam"), pace_with(KNOWN))
    assert measured == [("xgradcam",)]
    assert of["xgradcam"] == of["scorecam"] == trust.NOT_TRIED
    assert of == {kind: trust_facts(specimen(), IMAGES, kind, pace_with(KNOWN)) for kind in KNOWN} | {
        "xgradcam": trust.NOT_TRIED,
        "scorecam": trust.NOT_TRIED,
    }


def test_a_standing_is_a_number() -> None:
    facts = trust.NOT_TRIED
    assert np.isnan(trust.standing_number(facts)) and np.isnan(trust.standing_number(facts | {"verdict": "no verdict"}))
    assert trust.standing_number(facts | {"verdict": BETTER}) == 1
    assert trust.standing_number(facts | {"verdict": "worse than the edge detector", "warning": "x"}) == -1
    assert trust.standing_number(facts | {"verdict": "not distinguishable from the edge detector"}) == 0


def test_best_at_a_layer_is_a_kind_that_applies_there() -> None:
    standings = {"cam": standing(BETTER, False), "layercam": standing(BETTER, False)}
    assert most_faithful_kind(specimen(), IMAGES, pace_with(standings), at=("3",)).kind == "cam"
    assert most_faithful_kind(specimen(), IMAGES, pace_with(standings), at=("0",)).kind == "layercam"
