"""The network with weights of its own: as the search judged it, the original untouched."""

import numpy as np
import pytest
import torch

import microtome as mt
from microtome.analyses.slimming import Slimming
from microtome.analyses.slimming.repaired_network import repair_set
from microtome.errors import BadOption
from microtome.scan import Pace

QUICK = {"repeats": 3, "cuts": False, "max_drop": "3%", "calibration": 0.2, "judging": 0.2}


@pytest.fixture(scope="module")
def scenes() -> mt.Images:
    return mt.Images.scenes(120)


def test_as_the_finding_says_and_the_original_untouched(scenes: mt.Images) -> None:
    resnet = mt.open("microtome:mini_resnet")
    before = {name: value.clone() for name, value in resnet.net.state_dict().items()}
    slimming = Slimming(**QUICK)
    finding = slimming(resnet, scenes)
    blocks = tuple(finding.facts["chosen_set"])
    assert blocks and finding.facts["images"] == {"chosen": 24, "judged": 24, "reported": 72}
    assert any("24 others served to repair by, and 24 to choose by" in each for each in finding.caveats)
    repaired = repair_set(slimming, resnet, scenes, Pace(), blocks, heal=3)
    assert repaired.repair in ("norms", "fine-tune")
    plain = repair_set(slimming, resnet, scenes, Pace(), blocks)
    assert plain.repair == "norms" and plain.by_head
    loss = float(finding["loss"].sel(candidate=" + ".join(blocks), repair="norms"))
    assert plain.before.mean() - plain.after.mean() == pytest.approx(loss)
    assert all(torch.equal(value, before[name]) for name, value in resnet.net.state_dict().items())


def test_three_parts_share_no_image(scenes: mt.Images) -> None:
    chosen, judged, reported = Slimming(**QUICK).places(scenes)
    every = np.concatenate([chosen, judged, reported])
    assert len(set(every.tolist())) == len(every) == 120
    assert scenes.labels is not None
    assert all(np.bincount(scenes.labels[part], minlength=10).min() >= 1 for part in (chosen, judged, reported))
    two = Slimming(calibration=0.4).places(scenes)
    assert len(two[1]) == 0 and sorted(two[0].tolist()) == sorted([*chosen.tolist(), *judged.tolist()])


def test_parts_that_leave_nothing_to_report_on() -> None:
    with pytest.raises(BadOption, match=r"calibration 0\.6 and judging 0\.4"):
        Slimming(calibration=0.6, judging=0.4)
