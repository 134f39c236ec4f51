"""Every analysis on one small network of every family of the study and its neighbours: a finding, or a true reason, never a crash."""

from pathlib import Path

import pytest

import microtome as mt
from key_number_names import NAMES, SOMETIMES, strange_names, varying_digits
from microtome import catalog, networks, testing
from microtome.runner import analyze
from microtome.scan import Pace

FAMILIES = {
    "microtome:mini_vgg": {},
    "microtome:mini_deeplab": {},
    "timm:resnet10t": {"zero_init_last": False},
    "timm:inception_v3": {"size": 128},
    "timm:hrnet_w18_small_v2": {},
    "timm:legacy_seresnet18": {},
    "timm:deit_tiny_patch16_224": {"img_size": 64},
    "timm:densenet121": {},
    "timm:convnext_atto": {},
    "timm:swin_tiny_patch4_window7_224": {"img_size": 64},
    "timm:efficientnet_b0": {},
    "timm:mobilenetv3_small_050": {},
    "timm:regnetx_002": {},
    "timm:vit_tiny_patch16_224": {"img_size": 64},
    "torchvision:squeezenet1_1": {},
}
# What is skipped, and nothing else may be: no second network and no concept is named, an ImageNet head does not answer the scenes'
# classes, dense layers keep no shape, and only they reuse features; gates are where the list of the gated says so; a class for every
# pixel is no score for the image.
SKIPPED = {name: {"accuracy", "concepts", "cross_similarity", "evolution", "reuse"} for name in FAMILIES} | {
    "microtome:mini_vgg": {"concepts", "cross_similarity", "evolution", "reuse"},
    "microtome:mini_deeplab": {
        "accuracy",
        "concepts",
        "cross_similarity",
        "evolution",
        "objects",
        "occlusion",
        "reuse",
        "supervision",
    },
    "timm:densenet121": {"accuracy", "concepts", "cross_similarity", "evolution", "redundancy"},
}
GATED = {"timm:legacy_seresnet18", "timm:efficientnet_b0", "timm:mobilenetv3_small_050"}
SKIPPED = {name: skipped if name in GATED else skipped | {"excitation"} for name, skipped in SKIPPED.items()}
# One spatial convolution with more than a channel for each unit, so none to expand weights to: transformers, depthwise networks.
SINGLE = ("timm:deit_tiny_patch16_224", "timm:swin_tiny_patch4_window7_224", "timm:vit_tiny_patch16_224",
          "timm:efficientnet_b0", "timm:mobilenetv3_small_050")  # fmt: skip
SKIPPED = {name: skipped | {"expanded_weights"} if name in SINGLE else skipped for name, skipped in SKIPPED.items()}

ATTENTIVE = ("timm:deit_tiny_patch16_224", "timm:swin_tiny_patch4_window7_224", "timm:vit_tiny_patch16_224")  # tokens on a grid
SKIPPED = {name: skipped if name in ATTENTIVE else skipped | {"position"} for name, skipped in SKIPPED.items()}
# One of them is dilated; tests/analyses/atrous/test_atrous.py looks at more families that are.
SKIPPED = {name: skipped if name == "microtome:mini_deeplab" else skipped | {"atrous"} for name, skipped in SKIPPED.items()}
# What only the full effort takes.
SKIPPED = {name: skipped | {"faithfulness", "robustness", "slimming"} for name, skipped in SKIPPED.items()}


@pytest.fixture(scope="module")
def few() -> mt.Images:
    """Twenty scenes of 64 px, five of each of four classes."""
    return mt.Images.scenes(20, seed=11, size=64, classes=("disc", "star", "cross", "heart"))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_analysis_finds_or_says_why_not(name: str, few: mt.Images, tmp_path: Path) -> None:
    options = dict(FAMILIES[name])
    net = mt.open(name, weights=None, recipe={"size": options.pop("size", 64)}, **options)
    settings = {  # fewer, where only the fit is asked
        "cost": {"repeats": 3, "batch": 2},
        "deconvnet": {"units": 2, "k": 2},
        "occlusion": {"count": 1, "stride": 16},
        "invariance": {"count": 2},
        "atrous": {"count": 2},
        "erf": {"count": 4},
        "dead_pixels": {"count": 4},
    }
    outcome = analyze([net], few, tmp_path, pace=Pace(batch=20, device="cpu"), settings=settings, twins=2)
    assert not outcome.failed
    assert {one["analysis"] for one in outcome.skipped} == SKIPPED[name], outcome.skipped
    for finding in outcome.findings.values():
        assert strange_names(finding) == [], finding.analysis
        assert "nan" not in finding.headline.lower().replace("finance", ""), finding.headline
        if finding.analysis != "compare":
            testing.check_finding(finding, tmp_path / "checked" / finding.analysis)
        else:
            assert finding.headline.startswith("No recommendation: none of these networks is trained.")
    assert len(outcome.of("cam")) == ("cam" not in SKIPPED[name])


@pytest.mark.parametrize("name", [name for name in networks.NAMES if name.startswith("mini_")])
def test_headlines_of_the_mini_networks_are_short_sentences(name: str, tmp_path: Path) -> None:
    """The analyses that need weights alone, on trained weights: at most 20 words, no negative zero."""
    alone = [entry.name for entry in catalog.analysis_entries().values() if entry.needs == "weights" and entry.name != "cost"]
    run = analyze([lambda: mt.open(f"microtome:{name}")], None, tmp_path, only=alone, pace=Pace(device="cpu"))
    assert run.failed == [] and len(run.findings) >= 5
    for (_, analysis), finding in run.findings.items():
        assert strange_names(finding) == [], analysis
        assert len(finding.headline.split()) <= 20, (analysis, finding.headline)
        assert not testing.NEGATIVE_ZERO.search(finding.headline), (analysis, finding.headline)
        assert not testing.STIFF_COUNT.search(finding.headline), (analysis, finding.headline)


def test_names_of_key_numbers_hold_no_number_of_what_was_measured() -> None:
    """The same names for every network, so that tables line up; the numbers of one network stand beside its value."""
    assert sorted(NAMES) == sorted(catalog.analysis_entries())
    names = [name for analysis in NAMES for name in (*NAMES[analysis], *SOMETIMES.get(analysis, ()))]
    assert [name for name in names if varying_digits(name)] == []
    assert varying_digits("weights in 6 of 48 channels") == "648" and varying_digits("top-1 accuracy") == ""
