"""Slimming: against a slow twin that removes by edits and runs whole networks, exact cases, refusals, kill and resume."""

from contextlib import suppress
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

import microtome as mt
from microtome import testing
from microtome.analyses.slimming import Slimming
from microtome.analyses.slimming.slimming import parse_fraction
from microtome.analyses.slimming.split import split_places
from microtome.errors import BadOption, Unmeasurable
from microtome.finding import Finding
from microtome.scan import Pace, Step
from microtome.specimen.calibration import estimate_statistics

QUICK: dict[str, Any] = {"repeats": 3, "cuts": False, "search": "none"}


@pytest.fixture(scope="module")
def scenes() -> mt.Images:
    return mt.Images.scenes(120)


@pytest.fixture(scope="module")
def resnet() -> mt.Specimen:
    return mt.open("microtome:mini_resnet")


@pytest.fixture(scope="module")
def finding(resnet: mt.Specimen, scenes: mt.Images) -> Finding:
    return Slimming(repeats=6, heal=3)(resnet, scenes)


def right(net: torch.nn.Module, specimen: mt.Specimen, images: mt.Images, places: np.ndarray) -> np.ndarray:
    """The slow twin's answers: the whole network on these images."""
    x = specimen.recipe.normalise(torch.from_numpy(images.inputs(specimen.recipe, places.tolist())))
    with torch.no_grad():
        predicted = net(x).argmax(1).numpy()
    assert images.labels is not None
    return predicted == images.labels[places]


@pytest.mark.parametrize("block", ["layer3.1", "layer4.1", "layer4.2"])
def test_as_a_slow_twin_removes_and_repairs(block: str, finding: Finding, resnet: mt.Specimen, scenes: mt.Images) -> None:
    chosen, reported = split_places(scenes, 0.4, 2000, 0)
    full = right(resnet.net, resnet, scenes, reported).mean()
    edited = mt.edits.remove_blocks.RemoveBlocks(at=(block,))(resnet)
    loss = full - right(edited.net, resnet, scenes, reported).mean()
    assert float(finding["loss"].sel(candidate=block, repair="none")) == pytest.approx(loss)
    assert float(finding["plain_loss"].sel(candidate=block)) == pytest.approx(loss)
    later = {"layer3.1": ("layer4",), "layer4.1": ("layer4.2",), "layer4.2": ()}[block]
    norms = [module for name, module in edited.net.named_modules() if later and name.startswith(later)]
    x = resnet.recipe.normalise(torch.from_numpy(scenes.inputs(resnet.recipe, chosen.tolist())))
    estimate_statistics(edited.net, x.split(32), norms)
    repaired = full - right(edited.net, resnet, scenes, reported).mean()
    assert float(finding["loss"].sel(candidate=block, repair="norms")) == pytest.approx(repaired, abs=1.01 / len(reported))
    saved = 1 - sum(p.numel() for p in edited.net.parameters()) / sum(p.numel() for p in resnet.net.parameters())
    assert float(finding["parameters_saved"].sel(candidate=block)) == pytest.approx(saved)
    assert float(finding["operations_saved"].sel(candidate=block)) == pytest.approx(
        1 - edited.multiply_adds / resnet.multiply_adds
    )


def test_rows_and_facts(finding: Finding, resnet: mt.Specimen) -> None:
    assert list(finding["loss"].repair.values) == ["none", "norms", "linear", "fine-tune"]
    kinds = finding["kind"].values
    assert (kinds == "block").sum() == 7  # four of them only with a linear map in their place
    assert (kinds == "cut").sum() == 6
    assert int(finding["from_end"].sel(candidate="layer4.1")) == 2
    assert finding.facts["penultimate"] == "layer4.1"
    assert list(finding.facts["refused"]) == ["layer1.0", "layer2.0", "layer3.0", "layer4.0"]
    assert np.isnan(finding["loss"].sel(candidate="layer2.0", repair="none"))
    assert np.isfinite(finding["loss"].sel(candidate="layer2.0", repair="linear"))
    low, value, high = (finding[f"plain_{end}"].values for end in ("low", "loss", "high"))
    known = np.isfinite(value)
    assert ((low <= value) & (value <= high))[known].all()
    assert finding.facts["images"] == {"chosen": 48, "reported": 72}
    assert "not enough" in " ".join(finding.caveats)
    assert np.isnan(finding["correlation"].values).all()  # three blocks


def test_repairs_help_where_removal_hurts(finding: Finding) -> None:
    plain, norms, linear = (
        float(finding["loss"].sel(candidate="layer3.1", repair=each)) for each in ("none", "norms", "linear")
    )
    assert plain > 0.05
    assert norms < plain
    assert linear < plain


def test_a_block_that_does_nothing_costs_nothing(tiny) -> None:
    """By hand: a residual branch of scale 0 is the identity, so removing it changes no answer, and every predictor is 0."""
    net = mt.open(tiny(scales=(1.0, 0.0, 1.0), outputs=10), recipe={"size": 32})
    images = mt.Images.scenes(60, size=32)
    found = Slimming(**QUICK)(net, images)
    assert float(found["plain_loss"].sel(candidate="blocks.1")) == 0
    assert found["predictor"].sel(candidate="blocks.1", measure="block influence") == pytest.approx(0, abs=1e-9)
    assert found["predictor"].sel(candidate="blocks.1", measure="blocks away from the last but one") == 0


def test_a_linear_block_is_repaired_exactly() -> None:
    """By hand: a block that is a 1 x 1 convolution is its own linear map, so the closed form restores every answer."""

    class Mixing(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = torch.nn.Conv2d(8, 8, 1), torch.nn.Conv2d(8, 8, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.two(self.one(x))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        stem = torch.nn.Conv2d(3, 8, 3, 2, 1)
        body = torch.nn.Sequential(Mixing(), Mixing(), Mixing())
        head = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 10))
    net = mt.open(torch.nn.Sequential(stem, torch.nn.ReLU(), body, head).eval(), recipe={"size": 32})
    assert len(net.blocks) == 3
    found = Slimming(**QUICK)(net, mt.Images.scenes(60, size=32))
    assert found["loss"].sel(repair="linear").values.tolist() == [0, 0, 0]


def test_the_search_adds_one_block_at_a_time_and_keeps_the_budget(resnet: mt.Specimen, scenes: mt.Images) -> None:
    found = Slimming(repeats=3, cuts=False, max_drop="30%")(resnet, scenes)
    path = found.facts["path"]
    assert [len(each) for each in path] == [1, 2, 3]
    assert all(set(one) < set(two) for one, two in pairwise(path))
    assert found.facts["ended"] == "every removable block is gone"
    name = " + ".join(found.facts["chosen_set"])
    edited = mt.edits.remove_blocks.RemoveBlocks(at=tuple(found.facts["chosen_set"]))(resnet)
    _, reported = split_places(scenes, 0.4, 2000, 0)
    loss = right(resnet.net, resnet, scenes, reported).mean() - right(edited.net, resnet, scenes, reported).mean()
    assert float(found["loss"].sel(candidate=name, repair="none")) == pytest.approx(loss)
    wide = Slimming(repeats=3, cuts=False, max_drop="30%", search="beam", beam=9)(resnet, scenes)
    assert len(wide.facts["chosen_set"]) == 3
    none = Slimming(repeats=3, cuts=False, max_drop="0%", target_latency="99%")(resnet, scenes)
    assert len(none.facts["path"]) <= len(path)


def test_networks_of_other_classes_are_probed(scenes: mt.Images) -> None:
    net = mt.open("timm:resnet10t", weights=None, recipe={"size": 64}, zero_init_last=False)
    found = Slimming(**(QUICK | {"cuts": True}))(net, scenes)
    assert not found.facts["by_head"]
    assert "linear probe" in found.caveats[0]
    assert found.facts["full"] == pytest.approx(found.facts["full_probe"], abs=0.02)  # the same probe at the same place


def test_dense_layers_are_removed_too(scenes: mt.Images) -> None:
    found = Slimming(**QUICK)(mt.open("microtome:mini_densenet"), scenes)
    assert (found["kind"].values == "block").sum() == 16
    assert np.isfinite(found["plain_loss"].values).all()
    assert np.isfinite(found["correlation"].sel(measure="blocks away from the last but one"))
    assert np.isnan(found["correlation"].sel(measure="block influence"))  # no block keeps its shape


def test_the_common_suite(resnet: mt.Specimen, scenes: mt.Images, tmp_path) -> None:
    testing.check(Slimming(**QUICK), resnet, scenes, tmp_path)


class _Killed(Exception):
    """Stands for a kill in the middle."""


def test_a_killed_search_goes_on_where_it_stopped(resnet: mt.Specimen, scenes: mt.Images, tmp_path) -> None:
    options: dict[str, Any] = {"repeats": 3, "cuts": True, "max_drop": "30%"}
    whole = Slimming(**options).measure(resnet.on("cpu"), scenes, Pace(device="cpu"))
    rows = 0

    def kill(step: Step) -> None:
        nonlocal rows
        rows += 1
        if rows == 9:
            raise _Killed

    pace = Pace(device="cpu", keep=tmp_path)
    with suppress(_Killed):
        Slimming(**options).measure(resnet.on("cpu"), scenes, Pace(device="cpu", keep=tmp_path, listener=kill))
    (journal,) = tmp_path.glob("slimming.*.jsonl")
    lines = len(journal.read_text().splitlines())
    assert 0 < lines < 15
    again = Slimming(**options).measure(resnet.on("cpu"), scenes, pace)
    timed = ("latency", "latency_low", "latency_high", "study_latency", "on_front", "front_kind")
    for name, values in whole.arrays.items():
        if name not in timed:
            np.testing.assert_array_equal(np.asarray(values.values), np.asarray(again.arrays[name].values), err_msg=name)
    before = journal.stat().st_size
    Slimming(**options).measure(resnet.on("cpu"), scenes, pace)
    assert journal.stat().st_size == before  # nothing was measured a second time


def test_the_two_parts_share_no_image_and_hold_every_class(scenes: mt.Images) -> None:
    chosen, reported = split_places(scenes, 0.4, 2000, 0)
    assert not set(chosen.tolist()) & set(reported.tolist())
    assert len(chosen) + len(reported) == len(scenes)
    assert scenes.labels is not None
    assert set(scenes.labels[chosen]) == set(scenes.labels[reported])
    fewer = split_places(scenes, 0.4, 60, 0)
    assert sum(map(len, fewer)) == 60


def test_refusals_and_words(resnet: mt.Specimen) -> None:
    assert parse_fraction("max_drop", "1%") == 0.01 == parse_fraction("max_drop", "0.01")
    with pytest.raises(BadOption, match="max_drop is 'much'"):
        Slimming(max_drop="much")
    with pytest.raises(Unmeasurable, match="20 labelled images to repair"):
        Slimming(**QUICK)(resnet, mt.Images.scenes(30))


def test_a_narrower_network_is_that_of_the_edit(resnet: mt.Specimen, scenes: mt.Images) -> None:
    found = Slimming(**QUICK, widths=(0.25, 0.5), count=60)(resnet, scenes)
    chosen, reported = split_places(scenes, 0.4, 60, 0)
    x = resnet.recipe.normalise(torch.from_numpy(scenes.inputs(resnet.recipe, chosen.tolist())))
    names = [name for name, kind in zip(found["kind"].candidate.values, found["kind"].values, strict=True) if kind == "width"]
    assert names == ["25% of channels pruned", "50% of channels pruned"]
    for name, ratio in zip(names, (0.25, 0.5), strict=True):
        edited = mt.edits.prune_channels.PruneChannels(ratio=ratio)(resnet)
        row = found["accuracy"].sel(candidate=name)
        assert float(row.sel(repair="none")) == pytest.approx(right(edited.net, resnet, scenes, reported).mean())
        estimate_statistics(edited.net, x.split(32))
        repaired = right(edited.net, resnet, scenes, reported).mean()
        assert float(row.sel(repair="norms")) == pytest.approx(repaired, abs=1.01 / len(reported))
        saved = float(found["operations_saved"].sel(candidate=name))
        assert saved == pytest.approx(1 - edited.multiply_adds / resnet.multiply_adds)
        assert np.isnan(row.sel(repair="linear"))
    assert "pruned by magnitude, without training" in " ".join(found.caveats)
    assert found.headline == Slimming(**QUICK, count=60)(resnet, scenes).headline


def test_widths_outside_their_range_are_refused() -> None:
    with pytest.raises(BadOption, match="option widths holds 1; write fractions of channels from 0.01 to 0.99"):
        Slimming(widths=(0.5, 1))
