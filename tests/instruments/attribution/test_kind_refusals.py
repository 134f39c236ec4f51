"""What is refused before anything runs, and the sentence for it."""

import pytest

from microtome.instruments.attribution import kind_refusal, map_kind
from microtome.instruments.attribution.kind_refusals import missing_package
from microtome.map_kinds import layer_kind_names, pixel_kind_names


@pytest.mark.parametrize("kind", pixel_kind_names())
def test_pixels_have_no_layer(kind):
    title = map_kind(kind).title
    assert kind_refusal(kind, layers="layer4") == f"{title} maps the pixels, not a layer: leave out at (layer4 given)"
    assert kind_refusal(kind, fuse=True) == f"{title} maps the pixels alone, so there is nothing to fuse: leave out fuse"
    assert kind_refusal(kind) == kind_refusal(kind, layers="input", target="embedding") == ""


@pytest.mark.parametrize("kind", layer_kind_names())
def test_layers_may_be_named(kind):
    assert kind_refusal(kind, layers="layer4", fuse=True) == ""
    assert bool(kind_refusal(kind, target="embedding")) == (kind == "cam")


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch):
    assert missing_package("gradcam") == ""
    monkeypatch.setattr(type(map_kind("gradcam")), "package", "no_such_package")
    reason = "Grad-CAM comes with no_such_package, which is not installed: pip install 'microtome[no_such_package]'"
    assert missing_package("gradcam") == kind_refusal("gradcam") == reason
