"""Findings of every kind: what they call themselves, their caveats, fused maps, Gaussians, and the shift of plain upsampling."""

import pytest
import torch
from torch import nn

import microtome as mt
from map_networks import seeded
from microtome.analyses.cam import Cam
from microtome.analyses.cam.kinds import FUSED
from microtome.errors import Unmeasurable
from microtome.instruments.attribution import INPUT, map_kind
from microtome.map_kinds import map_kind_names, pixel_kind_names


@pytest.fixture(scope="module")
def findings(net: mt.Specimen, pics: mt.Images):
    """One finding of each kind, made when first asked for."""
    made = {}

    def of(kind: str, **options: object):
        key = kind, tuple(options.items())
        if key not in made:
            layers = {} if kind in pixel_kind_names() else {"at": "blocks.0,blocks.2"}
            made[key] = Cam(kind=kind, count=2, **layers, **options)(net, pics)
        return made[key]

    return of


@pytest.mark.parametrize("kind", map_kind_names())
def test_every_kind_calls_itself_by_its_own_name(findings, kind):
    finding = findings(kind)
    title = map_kind(kind).title
    texts = [finding.headline, *finding.caveats, *(panel.note for panel in finding.panels)]
    assert title in finding.headline or "no evidence" in finding.headline
    assert len(finding.headline.split()) <= 20
    if kind != "gradcam":
        assert not any("Grad-CAM" in text.replace(title, "") for text in texts)
    assert finding.panels[0].note.startswith(f"{title}: ")
    assert finding.facts["kind_source"]
    assert float(finding["heat"].max()) > 0


def test_cam_says_which_layers_it_leaves_out(findings):
    finding = findings("cam")
    assert finding["heat"].coords["layer"].values.tolist() == ["blocks.2"]
    assert "not what goes into the head head: take blocks.2 instead" in finding.facts["dropped"]["blocks.0"]
    assert any(caveat.startswith("Left out blocks.0: its mean over positions") for caveat in finding.caveats)


def test_a_kind_without_a_class_says_so(findings):
    caveat = "Eigen-CAM does not depend on the class: its maps show what dominates a layer, not evidence for a class."
    assert caveat in findings("eigencam").caveats
    assert findings("eigencam")["class_correlation"].values == pytest.approx(1.0)
    assert not any("does not depend on the class" in caveat for caveat in findings("layercam").caveats)


def test_gaussians_are_wide_as_asked_and_keep_constants(findings):
    plain, narrow, wide = (
        findings("hirescam"),
        findings("gaussian", gaussian_width=0.25),
        findings("gaussian", gaussian_width=4.0),
    )
    assert torch.allclose(torch.tensor(plain["heat/blocks.2"].values), torch.tensor(narrow["heat/blocks.2"].values))
    assert any("positions are drawn as Gaussians of σ" in caveat for caveat in narrow.caveats)
    roughness = [float(abs(found["smooth"].diff("row")).sum() / found["smooth"].sum()) for found in (narrow, wide)]
    assert roughness[1] < 0.5 * roughness[0]
    assert not any("Gaussians" in caveat for caveat in plain.caveats)


def test_fused_maps_come_last_and_have_no_layer_of_their_own(findings):
    finding = findings("layercam", fuse=True)
    assert finding["heat"].coords["layer"].values.tolist() == ["blocks.0", "blocks.2", FUSED]
    assert finding[f"heat/{FUSED}"].shape == (2, 56, 56)
    note = next(panel.note for panel in finding.panels if panel.title.startswith(FUSED))
    assert note == "The mean of the maps of several layers, each with equal say."
    assert findings("layercam")["heat"].sel(layer="blocks.0").values == pytest.approx(
        finding["heat"].sel(layer="blocks.0").values
    )


def test_the_shift_of_plain_upsampling_is_reported():
    specimen = mt.open("timm:resnet18", weights=None, num_classes=5, recipe={"size": 96}, zero_init_last=False)
    images = mt.Images.scenes(3, size=96)
    finding = Cam(at="layer4", count=2, kind="hirescam")(specimen, images)
    assert finding.facts["shifts"]["layer4"] == pytest.approx([15.5, 15.5])
    note = next(panel.note for panel in finding.panels if panel.title.startswith("layer4 on"))
    assert "Plain bilinear upsampling would draw it 15.5 px lower and 15.5 px further right." in note
    assert note.startswith("deep: the end of the last stage (3 x 3 positions)")
    even = Cam(at="layer4", count=2, kind="hirescam", place="even")(specimen, images)
    assert even.facts["shifts"]["layer4"] == pytest.approx([0.0, 0.0])


def test_cam_has_no_map_for_similarity(net: mt.Specimen, pics: mt.Images):
    with pytest.raises(Unmeasurable, match="CAM rests on the weights of a class, .* try kind='hirescam'"):
        Cam(kind="cam", target="embedding", reference=("0",))(net, pics)


@pytest.mark.parametrize("kind", ["ablationcam", "scorecam", "eigencam", "gaussian"])
def test_maps_of_a_segmentation_network(kind):
    net = seeded(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1)))
    specimen = mt.open(net, recipe={"size": (16, 24), "mean": (0.5,) * 3, "std": (0.25,) * 3}, labels=["a", "b", "c"])
    finding = Cam(kind=kind, at="1", count=2)(specimen, mt.Images.tensors(torch.rand(3, 3, 16, 24)))
    assert finding["heat/1"].shape == (2, 16, 24)
    assert map_kind(kind).title in finding.headline


@pytest.mark.parametrize("kind", pixel_kind_names())
def test_maps_of_pixels_are_drawn_as_they_are(findings, kind):
    finding = findings(kind)
    assert finding["heat"].coords["layer"].values.tolist() == [INPUT]
    assert finding["heat/input"].shape == finding["image"].shape[:3]
    assert finding["smooth"].sel(layer=INPUT).values == pytest.approx(finding["heat/input"].values)
    assert finding["extent/input"].values.tolist() == [[0.0, 1.0, 0.0, 1.0]] * 2
    assert [panel.title for panel in finding.panels if panel.kind == "Overlay"] == ["Where the evidence lies"]
    assert any("has no sign" in caveat for caveat in finding.caveats) == (not map_kind(kind).signed)


def test_a_layer_is_refused_where_the_pixels_are_mapped(net: mt.Specimen, pics: mt.Images):
    for options, message in (
        ({"at": "blocks.0"}, r"Input gradient maps the pixels, not a layer: leave out at \(blocks.0 given\)"),
        ({"fuse": True}, "nothing to fuse: leave out fuse"),
    ):
        with pytest.raises(Unmeasurable, match=message):
            Cam(kind="inputgradient", **options)(net, pics)
    assert Cam(kind="inputgradient", at="input", count=2)(net, pics)["heat"].coords["layer"].values.tolist() == [INPUT]
